"""The feed ends when it should: with its key, with the service, where something was missed."""

import asyncio
import time

import httpx
import pytest

from api import feed, keys, serving, streams
from api.feed import Feed
from api.runtime import Runtime
from tests import stories
from tests.acceptance.test_feed import next_of, watching

FEED = "/v1/spaces/spc_one/tips/feed"


async def test_a_key_that_was_revoked_is_told_nothing_more(runtime: Runtime, service: str) -> None:
    """Once a stream that was open stayed open, for as long as its holder liked."""
    await stories.room(runtime.database, runtime.now())
    mine, secret = await keys.issue(runtime.database, "mine", now=runtime.now())
    _, other = await keys.issue(runtime.database, "other", now=runtime.now())
    async with (
        calling(service, secret) as revoked,
        calling(service, other) as good,
        watching(revoked, "spc_one") as told,
        watching(good, "spc_one") as still,
    ):
        await keys.revoke(runtime.database, mine.id, now=runtime.now())
        await asyncio.sleep(keys.REMEMBERED.total_seconds())
        await stories.tip(runtime, 500)
        assert (await next_of(still))[0] == "tip.pending"
        assert await next_of(told) is None


def calling(url: str, secret: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {secret}"}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=30)


async def test_the_service_stops_at_once_although_somebody_watches(
    runtime: Runtime, key: str
) -> None:
    await stories.room(runtime.database, runtime.now())
    async with serving.listening(runtime, "127.0.0.1", 0) as url:
        client = calling(url, key)
        stream = client.stream("GET", FEED)
        watched = await stream.__aenter__()
        start = time.monotonic()
    assert time.monotonic() - start < serving.GRACE_S / 2
    assert [line async for line in watched.aiter_lines() if line] == []
    await client.aclose()


async def test_who_may_have_missed_something_has_to_come_again(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that failed once lost its tips for all who watched, and nobody knew."""
    await stories.room(runtime.database, runtime.now())
    live = Feed(runtime.database)

    async def fails(*_: object) -> None:
        raise OSError

    async with runtime.database.listening({feed.CHANNEL: live.ring}):
        with live.audience.watching("spc_one") as watcher:
            monkeypatch.setattr(feed, "_tips", fails)
            await stories.tip(runtime, 500)
            async with asyncio.timeout(5):
                assert await watcher.get() is None


async def test_a_watcher_who_is_too_slow_for_what_changes_has_to_come_again(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stories.room(runtime.database, runtime.now())
    names = [(await stories.tip(runtime, 500)).tip.id for _ in range(3)]
    monkeypatch.setattr(streams, "WAITING", 2)
    live = Feed(runtime.database)
    with live.audience.watching("spc_one") as watcher:
        live.ring(" ".join(names))
        async with asyncio.timeout(5):
            assert await watcher.get() is None


# Ids as long as they may be: of more than a hundred in one note PostgreSQL takes none.
MANY = """
INSERT INTO tips (id, payment_id, space_id, agreement_version, listener_id, minor, currency,
                  anonymous, created_at)
SELECT rpad('tip_' || n || '_', 64, 'x'), payment_id, space_id, agreement_version, listener_id,
       minor, currency, anonymous, created_at
  FROM tips, generate_series(1, 250) AS n
"""


async def test_however_many_tips_change_at_once_all_are_told(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stories.room(runtime.database, runtime.now())
    await stories.tip(runtime, 500)
    monkeypatch.setattr(feed, "AT_ONCE", 70)
    live = Feed(runtime.database)
    async with runtime.database.listening({feed.CHANNEL: live.ring}):
        with live.audience.watching("spc_one") as watcher:
            await runtime.database.fetch(MANY)
            async with asyncio.timeout(10):
                told = [await watcher.get() for _ in range(250)]
    assert len({tip.id for tip in told if tip is not None}) == 250
