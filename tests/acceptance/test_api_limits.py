"""One limit for all processes: never more than it says, nobody refused before, and nearly free.

The clock stands still, so that nothing comes back by itself.  The control: each process with a
database of its own keeps its own limit, and together they let in twice as many.
"""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from api import app, keys
from api.limits import BLOCKS, WINDOW, Limits
from api.runtime import Runtime
from takings.database import Database
from takings.embedded import Server
from tests.acceptance.world import calling, elsewhere
from tests.conftest import Fresh

POLICY = '"default";q={most};w=10'


class Stopped:
    """A clock that goes on only when it is told to."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def clock(runtime: Runtime) -> Stopped:
    """The clock of every service here."""
    return Stopped(runtime.now())


def limited(runtime: Runtime, clock: Stopped, most: int) -> Runtime:
    """The runtime of a service with that limit."""
    settings = runtime.settings.model_copy(update={"rate_limit": most})
    return replace(runtime, settings=settings, clock=clock)


@asynccontextmanager
async def processes(secret: str, *runtimes: Runtime) -> AsyncIterator[list[httpx.AsyncClient]]:
    """As many services, each with its own memory of the limit, called with one key."""
    headers = {"Authorization": f"Bearer {secret}"}
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(calling(app.create(runtime), headers))
            for runtime in runtimes
        ]


async def burst(clients: list[httpx.AsyncClient], many: int) -> list[httpx.Response]:
    """That many requests of each, all at once."""
    asking = [client.get("/v1/hosts", params={"limit": 1}) for client in clients * many]
    return await asyncio.gather(*asking)


def let_in(answers: list[httpx.Response]) -> int:
    """How many of them."""
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) <= {200, 429}
    return statuses[200]


@pytest.mark.parametrize("most", [1, 20, 300])
async def test_two_processes_let_in_together_exactly_as_many_as_the_limit_says(
    runtime: Runtime, key: str, clock: Stopped, most: int
) -> None:
    here = limited(runtime, clock, most)
    async with processes(key, here, here) as clients:
        assert let_in(await burst(clients, most)) == most
        assert let_in(await burst(clients, 2)) == 0
        for idle in (WINDOW, 3 * WINDOW):  # what is not used is not saved up
            clock.at += idle
            assert let_in(await burst(clients, most)) == most


async def test_control_with_a_database_each_two_processes_let_in_twice_as_many(
    runtime: Runtime, key: str, clock: Stopped, server: Server, template: str
) -> None:
    async with elsewhere(server, template) as other:
        copied = (
            "INSERT INTO api_keys SELECT * FROM jsonb_populate_record(null::api_keys, $1::jsonb)"
        )
        row = await runtime.database.fetch("SELECT to_jsonb(k)::text AS key FROM api_keys k")
        await other.runtime.database.fetch(copied, row[0].key)
        here, there = limited(runtime, clock, 20), limited(other.runtime, clock, 20)
        async with processes(key, here, there) as clients:
            assert let_in(await burst(clients, 20)) == 40


async def test_nobody_is_refused_before_the_limit_is_reached_however_many_come_at_once(
    runtime: Runtime, key: str, clock: Stopped
) -> None:
    async with processes(key, limited(runtime, clock, 400)) as [client]:
        assert let_in(await burst([client], 399)) == 399
        assert let_in(await burst([client], 2)) == 1


async def test_a_refusal_says_when_to_come_again_and_then_the_caller_is_let_in(
    runtime: Runtime, key: str, clock: Stopped
) -> None:
    async with processes(key, limited(runtime, clock, 20)) as [client]:
        first = await client.get("/v1/hosts")
        assert first.headers["ratelimit-policy"] == POLICY.format(most=20)
        assert first.headers["ratelimit"] == '"default";r=19;t=1'
        await burst([client], 19)
        refused = await client.get("/v1/hosts")
        told = refused.json()
        assert (refused.status_code, told["code"]) == (429, "too_many_requests")
        assert told["retryable"]
        assert refused.headers["ratelimit-policy"] == POLICY.format(most=20)
        assert refused.headers["ratelimit"] == '"default";r=0;t=10'
        wait = timedelta(seconds=int(refused.headers["retry-after"]))
        clock.at += wait
        assert (await client.get("/v1/hosts")).is_success


async def test_what_a_process_has_taken_ahead_is_worth_nothing_after_the_window(
    runtime: Runtime,
) -> None:
    now, most = runtime.now(), 300
    limits = Limits(runtime.database, most)
    (await limits.take("key_one", now)).check()
    waits = [(await limits.take("key_one", now + WINDOW)).wait_s for _ in range(most + 10)]
    assert waits.count(0) == most


async def test_one_callers_limit_is_not_anothers(
    runtime: Runtime, key: str, clock: Stopped
) -> None:
    here = limited(runtime, clock, 5)
    _, other = await keys.issue(runtime.database, "other", now=runtime.now())
    async with processes(key, here) as mine, processes(other, here) as theirs:
        assert let_in(await burst(mine, 9)) == 5
        assert let_in(await burst(theirs, 9)) == 5


def statements(database: Database) -> list[str]:
    """Every statement from now on."""
    asked: list[str] = []

    def heard(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", heard)
    return asked


async def test_a_request_asks_the_database_about_its_limit_once_in_a_block(
    database: Database, clock: Stopped
) -> None:
    asked = statements(database)
    most, many = 10_000, 1_000
    limits = Limits(database, most)
    waited = 0
    for _ in range(many):
        taking = asyncio.ensure_future(limits.take("key_one", clock()))
        await asyncio.sleep(0)
        waited += not taking.done()
        await taking
        await asyncio.sleep(0.0005)  # 2 000 requests a second at most
    assert len(asked) <= math.ceil(many / (most // BLOCKS)) + 1
    assert waited <= many // 100


async def test_a_refusal_costs_no_statement(database: Database, clock: Stopped) -> None:
    limits = Limits(database, 2)
    for _ in range(2):
        assert not (await limits.take("key_one", clock())).wait_s
    asked = statements(database)
    waits = [(await limits.take("key_one", clock())).wait_s for _ in range(50)]
    assert (set(waits), len(asked)) == ({5}, 0)


async def test_while_the_database_is_away_nobody_is_refused_for_it(
    fresh: Fresh, clock: Stopped
) -> None:
    away = fresh.app.replace("127.0.0.1", "127.0.0.2")
    async with Database(away, connections=1) as database:
        limits = Limits(database, 2)
        for _ in range(5):
            (await limits.take("key_one", clock())).check()
