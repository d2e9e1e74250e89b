"""kill -9 of a service that holds tickets: what it told is held, what it did not tell lapses."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx
import pytest
from pydantic import SecretStr

from api import keys
from api.acts import HEADER
from api.settings import Settings, sealed
from takings.database import Database
from tests import box_office, processes, stories
from tests.box_office import in_flight, standing_still
from tests.conftest import PROVE, Fresh
from ticketing import holds

CYCLES = 20 if PROVE else 2
SIZE, BUYERS = 40, 60


@dataclass(frozen=True)
class Caller:
    """Buyers who come with a key each, and come again with the same."""

    settings: Settings
    headers: dict[str, str]

    def client(self, url: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=url, headers=self.headers, timeout=60)


@pytest.fixture
async def caller(database: Database, fresh: Fresh) -> Caller:
    """A key, and the settings of services; Stripe is nowhere."""
    settings = sealed(
        database_url=fresh.app,
        owner_url=fresh.owner,
        stripe_api_key=SecretStr("sk_test_nobody"),
        stripe_api_base="http://127.0.0.1:9",
    )
    _, secret = await keys.issue(database, "tests", now=stories.later())
    return Caller(settings, {"Authorization": f"Bearer {secret}"})


async def ask(client: httpx.AsyncClient, key: str) -> httpx.Response | None:
    """What a buyer is told; None where the service died before it could say anything."""
    wish = {"run": "run_one", "listener": f"lis_{key}"}
    try:
        return await client.post("/v1/holds", json=wish, headers={HEADER: key})
    except httpx.TransportError:
        return None


async def every(asked: Sequence[Awaitable[httpx.Response | None]]) -> list[httpx.Response | None]:
    return list(await asyncio.gather(*asked))


def told(answers: Sequence[httpx.Response | None]) -> dict[str, bytes]:
    """The holds that buyers were told of, and how."""
    return {one.json()["id"]: one.content for one in answers if one and one.is_success}


async def live(database: Database) -> set[str]:
    """The holds that there are."""
    rows = await database.fetch("SELECT id FROM holds WHERE state = 'held'")
    return {row.id for row in rows}


async def test_a_hold_that_was_made_for_a_service_that_is_dead_is_its_keys_or_nobodys(
    database: Database, caller: Caller
) -> None:
    """PostgreSQL finishes the statement of a client who is gone: nobody has heard of the hold."""
    await box_office.run(database, stories.later(), hold_s=600)
    names = [f"buyer_{n}" for n in range(5)]
    async with (
        processes.serving(caller.settings) as (process, url),
        processes.serving(caller.settings) as (_, other),
        caller.client(url) as client,
        caller.client(other) as again,
    ):
        async with standing_still(database):
            first = [asyncio.create_task(ask(client, names[0]))]
            await in_flight(database)
            later = [asyncio.create_task(ask(client, name)) for name in names[1:]]
            await asyncio.sleep(0.2)  # they have come, and wait for the next statement
            await processes.kill(process)
            assert await every(first + later) == [None] * 5
        async with asyncio.timeout(10):
            while not (made := await live(database)):
                await asyncio.sleep(0.01)
        assert len(made) == 1, "those who waited have nothing"
        answers = await every([ask(again, name) for name in names[:3]])
        assert len(told(answers)) == 3
        assert made < set(told(answers)) == await live(database), "the first finds the hold"
    late = stories.later(seconds=601)
    assert await holds.sweep(database, now=late) == 3
    assert await box_office.left(database) == (10, 0, 0)
    assert await stories.guilty(database) == {}


async def test_of_services_that_are_killed_under_load_every_hold_that_was_told_is_held_once(
    database: Database, caller: Caller
) -> None:
    await box_office.run(database, stories.later(), size=SIZE, hold_s=600)
    died_busy = 0
    for cycle in range(CYCLES):
        names = [f"{cycle}_{n}" for n in range(BUYERS)]
        async with AsyncExitStack() as stack:
            process, url = await stack.enter_async_context(processes.serving(caller.settings))
            _, other = await stack.enter_async_context(processes.serving(caller.settings))
            client = await stack.enter_async_context(caller.client(url))
            again = await stack.enter_async_context(caller.client(other))
            asked = [asyncio.create_task(ask(client, name)) for name in names]
            asked += [asyncio.create_task(ask(again, name)) for name in names[:5]]
            while not await live(database):
                await asyncio.sleep(0.001)
            await processes.kill(process)
            before = await every(asked)
            died_busy += None in before
            assert told(before).keys() <= await live(database)
            after = await every([ask(again, name) for name in names])
        codes = Counter(one.status_code for one in after if one)
        assert codes == {200: SIZE, 409: BUYERS - SIZE}, "never more, and never fewer"
        assert told(before).items() <= told(after).items(), "the same hold for the same key"
        assert set(told(after)) == await live(database)
        assert await holds.sweep(database, now=stories.later(seconds=601)) == SIZE
        assert await box_office.left(database) == (SIZE, 0, 0)
    assert died_busy > 0
    assert await stories.guilty(database) == {}
