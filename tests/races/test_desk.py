"""The desk under fire: who gives up while waiting leaves nothing, a batch is one and all's own."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from api.acts import Act
from api.desk import Desk, hold_id
from takings.database import Database, fetch
from takings.errors import TakingsError
from tests import box_office, stories
from tests.box_office import left
from tests.conftest import PROVE
from ticketing import codes
from ticketing.codes import CodeWish
from ticketing.holds import Claim

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ROUNDS = 100 if PROVE else 10


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


def act(key: str, now: datetime = NOON, body: str = "") -> Act:
    return Act(f"req_{key}{body}", "key_one", key, "holds.claim", "/v1/holds", body.encode(), now)


async def claim(desk: Desk, key: str, run: str = "run_one", **named: Any) -> str:
    """What becomes of a claim: held, the code of the refusal, or that it is known."""
    name = named.pop("id", None) or hold_id("key_one", key)
    try:
        held = await desk.claim(act(key), Claim(name, run, f"lis_{key}", **named), named=True)
    except TakingsError as error:
        return error.code
    return "known" if held is None else held.state


def asked(desk: Desk, *keys: str, **named: Any) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(claim(desk, key, **named)) for key in keys]


@asynccontextmanager
async def standing_still(database: Database, run: str = "run_one") -> AsyncIterator[None]:
    """Nobody can hold anything of the run, so that all who come have to wait."""
    async with database.transaction() as session:
        await fetch(session, "SELECT lock_run($1)", run)
        yield


WAITING = """
SELECT count(*) AS n FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


async def in_flight(database: Database, many: int = 1) -> None:
    """Until so many statements wait for the run's lock."""
    async with asyncio.timeout(10):
        while (await database.fetch(WAITING))[0].n < many:
            await asyncio.sleep(0.005)


async def settled(desk: Desk) -> None:
    """Until what was held for those who are gone has been let go."""
    async with asyncio.timeout(10):
        while desk._regrets:  # noqa: SLF001 - nobody else can see that it is done
            await asyncio.sleep(0.005)


async def test_who_gives_up_while_the_statement_is_in_flight_leaves_nothing_held(
    database: Database, desk: Desk
) -> None:
    await box_office.run(database, NOON)
    for turn in range(ROUNDS):
        async with standing_still(database):
            tasks = asked(desk, *(f"{turn}_{n}" for n in range(3)))
            await in_flight(database)  # with the first three
            tasks += asked(desk, *(f"{turn}_{n}" for n in range(3, 6)))
            await asyncio.sleep(0)
            for gone in (tasks[0], tasks[1], tasks[4]):
                gone.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        cancelled = [isinstance(one, asyncio.CancelledError) for one in answers]
        assert cancelled == [True, True, False, False, True, False]
        assert [one for one in answers if isinstance(one, str)] == ["held"] * 3
        await settled(desk)
        assert await left(database) == (10, 3, 0)
        states = await database.fetch("SELECT state FROM holds WHERE ended_at IS DISTINCT FROM $1", None)
        assert len(states) >= 0
        live = await database.fetch("SELECT id FROM holds WHERE state = 'held'")
        for one in live:
            await database.fetch("SELECT free_holds('run_one', ARRAY[$1], 'released', $2)", one.id, NOON)
    assert await stories.guilty(database) == {}
