"""What a run has left: told to all who ask, read once for them, and told again when it changes."""

import asyncio
import time
from dataclasses import replace
from datetime import datetime, timedelta

import httpx
import pytest

from api import keys, quotas, serving
from api.quotas import Board
from api.runtime import Runtime
from takings.database import Database
from takings.errors import NotFound
from tests import books, box_office
from tests.acceptance.test_feed import next_of, watching
from tests.acceptance.test_feed_endings import calling
from ticketing import pools
from ticketing.wishes import TierWish

QUOTA = "/v1/runs/run_one/quota"
FEED = "/v1/runs/{}/quota/feed"
TIERS = (
    TierWish("Early", minor=500, id="tier_early", size=4),
    TierWish("Late", minor=900, id="tier_late"),
)
OTHER = (TierWish("Seat", minor=500),)

WAIT = """
INSERT INTO waiting (id, run_id, listener_id, quantity, least, rank, state, created_at)
VALUES ('wait_one', 'run_one', 'lis_one', 3, 3, 1, 'waiting', now()),
       ('wait_two', 'run_one', 'lis_two', 2, 1, 2, 'waiting', now()),
       ('wait_off', 'run_one', 'lis_off', 9, 9, 3, 'left', now())
"""


@pytest.fixture
async def run(database: Database, runtime: Runtime) -> str:
    return await box_office.run(database, runtime.now(), tiers=TIERS)


async def later(runtime: Runtime) -> datetime:
    """When what was remembered is old."""
    await asyncio.sleep(quotas.FRESH.total_seconds())
    return runtime.now()


async def test_what_is_held_sold_and_waited_for_is_told_of_the_run_and_of_each_tier(
    client: httpx.AsyncClient, runtime: Runtime, run: str
) -> None:
    database, now = runtime.database, runtime.now()
    await box_office.claim(database, "ann", quantity=3, tier="tier_late", now=now)
    await box_office.claim(database, "bea", quantity=2, tier="tier_early", now=now)
    await box_office.sold(database, ["bea"], now)
    await database.fetch(WAIT)
    found = (await client.get(QUOTA)).json()
    assert abs(found.pop("as_of") - now.timestamp()) < 60
    assert found == {
        "object": "quota",
        "run": run,
        "size": 10,
        "sold": 2,
        "held": 3,
        "waiting": 5,
        "available": 5,
        "tiers": [
            {"tier": "tier_early", "size": 4, "sold": 2, "held": 0, "available": 2},
            {"tier": "tier_late", "size": None, "sold": 0, "held": 3, "available": 5},
        ],
    }


async def test_no_more_is_available_than_the_space_has_left(
    client: httpx.AsyncClient, runtime: Runtime, run: str
) -> None:
    database, now = runtime.database, runtime.now()
    await box_office.run(database, now, name="run_two", tiers=OTHER)
    await box_office.claim(database, "ann", run="run_two", quantity=6, now=now)
    await pools.cap_space(database, "spc_one", 9, now=now)
    found = (await client.get(QUOTA)).json()
    assert (found["size"], found["available"]) == (10, 3)
    assert [tier["available"] for tier in found["tiers"]] == [3, 3]
    await pools.cap_space(database, "spc_one", 6, now=await later(runtime))
    found = (await client.get(QUOTA)).json()
    assert (found["available"], found["held"]) == (0, 0)
    assert run


async def test_an_unknown_run_has_no_quota_and_no_feed(client: httpx.AsyncClient) -> None:
    for path in ("/v1/runs/run_none/quota", "/v1/runs/run_none/quota/feed"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_whoever_asks_at_the_same_time_is_answered_from_one_reading(
    runtime: Runtime, run: str
) -> None:
    board = Board(runtime)
    with books.counted(runtime.database) as sent:
        shown = await asyncio.gather(*(board.of(run) for _ in range(500)))
    assert len(sent) == 1
    assert len({id(one) for one in shown}) == 1
    with books.counted(runtime.database) as sent:
        asked = (board.of(name) for name in (run, "run_none", run, "run_nil"))
        found = await asyncio.gather(*asked, return_exceptions=True)
    assert len(sent) <= 1
    assert [isinstance(one, NotFound) for one in found] == [False, True, False, True]


async def test_an_answer_is_given_again_for_a_tenth_of_a_second_and_no_longer(
    runtime: Runtime, run: str
) -> None:
    start = clock = runtime.now()
    board = Board(replace(runtime, clock=lambda: clock))
    assert board.seen(run) is None
    assert (await board.of(run)).quota.available == 10
    await box_office.claim(runtime.database, "ann", quantity=4, now=start)
    clock = start + quotas.FRESH - timedelta(microseconds=1)
    assert (await board.of(run)).quota.available == 10
    seen = board.seen(run)
    assert seen is not None
    assert seen.as_of == start
    clock = start + quotas.FRESH
    assert board.seen(run) is None
    again = (await board.of(run)).quota
    assert (again.available, again.as_of) == (6, clock)
    assert again.frees_at == start + timedelta(seconds=600)
    clock = start - timedelta(seconds=1)  # a clock that was put back
    assert board.seen(run) is None


async def test_reading_waits_for_no_buyer_who_has_the_run_locked(
    runtime: Runtime, run: str
) -> None:
    async with runtime.database.transaction() as session:
        await (await session.connection()).exec_driver_sql("SELECT lock_run($1)", (run,))
        async with asyncio.timeout(2):
            assert (await Board(runtime).of(run)).quota.available == 10


async def test_every_watcher_is_told_how_it_is_and_then_each_change_once(
    client: httpx.AsyncClient, runtime: Runtime, run: str
) -> None:
    database = runtime.database
    await box_office.run(database, runtime.now(), name="run_two", tiers=OTHER)
    async with (
        watching(client, run, FEED) as one,
        watching(client, run, FEED) as another,
        watching(client, "run_two", FEED) as elsewhere,
    ):
        for watcher in (one, another, elsewhere):
            name, quota = await next_of(watcher)
            assert (name, quota["available"]) == ("quota", 10)
        await box_office.claim(database, "ann", quantity=4, now=runtime.now())
        for watcher in (one, another):
            name, quota = await next_of(watcher)
            assert (name, quota["held"], quota["available"]) == ("quota", 4, 6)
        await asyncio.sleep(3 * quotas.POLL_S)
        assert (one.qsize(), another.qsize(), elsewhere.qsize()) == (0, 0, 0)
    assert (await client.get(QUOTA)).json()["held"] == 4


async def test_all_runs_that_are_watched_are_read_in_one_statement_and_none_if_nobody_watches(
    runtime: Runtime, run: str
) -> None:
    board = Board(runtime)
    await box_office.run(runtime.database, runtime.now(), name="run_two", tiers=OTHER)
    with board.watching(run) as one, board.watching(run) as two, board.watching("run_two") as other:
        told = [await next_of(watcher) for watcher in (one, two, other)]
        assert [shown.quota.run for shown in told] == [run, run, "run_two"]
        with books.counted(runtime.database) as sent:
            await asyncio.sleep(4 * quotas.POLL_S)
        assert 2 <= len(sent) <= 5
    await asyncio.sleep(2 * quotas.POLL_S)
    with books.counted(runtime.database) as sent:
        await asyncio.sleep(2 * quotas.POLL_S)
    assert sent == []


async def test_who_may_have_missed_a_change_has_to_come_again(
    runtime: Runtime, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(runtime)

    async def fails(*_: object, **__: object) -> None:
        raise OSError

    with board.watching(run) as watcher:
        assert (await next_of(watcher)).quota.available == 10
        monkeypatch.setattr(quotas.quotas, "of", fails)
        async with asyncio.timeout(5):
            assert await watcher.get() is None
    monkeypatch.undo()
    with board.watching(run) as watcher:
        async with asyncio.timeout(5):
            assert await watcher.get() is not None


async def test_a_key_that_was_revoked_is_told_nothing_more(
    runtime: Runtime, service: str, run: str
) -> None:
    mine, secret = await keys.issue(runtime.database, "mine", now=runtime.now())
    async with calling(service, secret) as client, watching(client, run, FEED) as told:
        await next_of(told)
        await keys.revoke(runtime.database, mine.id, now=runtime.now())
        await asyncio.sleep(keys.REMEMBERED.total_seconds())
        await box_office.claim(runtime.database, "ann", now=runtime.now())
        assert await next_of(told) is None


async def test_the_service_stops_at_once_although_somebody_watches(
    runtime: Runtime, key: str, run: str
) -> None:
    async with serving.listening(runtime, "127.0.0.1", 0) as url:
        client = calling(url, key)
        watched = watching(client, run, FEED)
        told = await watched.__aenter__()
        await next_of(told)
        start = time.monotonic()
    assert time.monotonic() - start < serving.GRACE_S / 2
    assert await next_of(told) is None
    await watched.__aexit__(None, None, None)
    await client.aclose()
