"""Never oversold, over HTTP: two services on one database, and far more buyers than tickets."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api import keys
from api.acts import HEADER
from api.operations import REPLAYED
from api.settings import sealed
from takings.database import Database
from takings.embedded import Server
from tests import box_office, processes, stories
from tests.conftest import PROVE
from ticketing.wishes import TierWish

ROUNDS = 100 if PROVE else 10
BUYERS, SIZE, AT_ONCE = 300, 10, 50
HANDS = 10  # clients of each service: httpx looks at all of a client's connections all the time


@dataclass(frozen=True)
class Desks:
    """Two services on one database; whoever comes is sent to them in turn."""

    database: Database
    clients: tuple[httpx.AsyncClient, ...]

    async def run(self, name: str, **named: Any) -> str:
        """A run with a tier of its own."""
        seat = TierWish("Seat", "fixed", 1000, f"tier_{name}")
        now = datetime.now(UTC)
        return await box_office.run(self.database, now, name=name, tiers=[seat], **named)

    async def ask(self, *wishes: dict[str, Any]) -> list[httpx.Response]:
        """What all of these are answered, who come at the same time; ``key`` is a wish's key."""
        asked = []
        for n, (client, wish) in enumerate(zip(cycle(self.clients), wishes, strict=False)):
            key = wish.pop("key", f"{wish['run']} {n}")
            asked.append(client.post("/v1/holds", json=wish, headers={HEADER: key}))
        return await asyncio.gather(*asked)


@pytest.fixture(scope="module")
async def desks(server: Server, template: str) -> AsyncIterator[Desks]:
    """Two services, for all that is told here."""
    name = f"desks_{os.getpid()}"
    await server.drop(name)
    await server.create(name, template=template)
    settings = sealed(
        database_url=server.url(name, "app"),
        owner_url=server.url(name, "owner"),
        rate_limit=1_000_000,
        stripe_api_key=SecretStr("sk_test_nobody"),
        stripe_api_base="http://127.0.0.1:9",
    )
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(Database(server.url(name, "app")))
        _, secret = await keys.issue(database, "tests", now=datetime.now(UTC))
        headers = {"Authorization": f"Bearer {secret}"}
        starting = [processes.serving(settings) for _ in range(2)]
        urls = [(await stack.enter_async_context(one))[1] for one in starting]
        told = {"headers": headers, "timeout": 60, "verify": httpx.create_ssl_context()}
        hands = [httpx.AsyncClient(base_url=url, **told) for _ in range(HANDS) for url in urls]
        clients = [await stack.enter_async_context(one) for one in hands]
        yield Desks(database, tuple(clients))
    await server.drop(name)


def codes(answers: list[httpx.Response]) -> Counter[str]:
    """How often what was answered: a hold's state, or what is wrong."""
    return Counter(one.json().get("code") or one.json()["state"] for one in answers)


HELD = """
SELECT count(*) AS holds, coalesce(sum(quantity), 0)::integer AS tickets
  FROM holds WHERE run_id = $1 AND state = 'held'
"""


async def held(database: Database, run: str) -> tuple[int, int]:
    """How many holds there are of a run, and of how many tickets."""
    (row,) = await database.fetch(HELD, run)
    return row.holds, row.tickets


async def test_of_three_hundred_buyers_exactly_ten_hold_one_of_ten_tickets(desks: Desks) -> None:
    for turn in range(ROUNDS):
        run = await desks.run(f"run_{turn}", size=SIZE)
        answers = await desks.ask(*({"run": run, "listener": f"lis_{n}"} for n in range(BUYERS)))
        assert codes(answers) == {"held": SIZE, "sold_out": BUYERS - SIZE}
        refused = [one for one in answers if not one.is_success]
        assert {one.status_code for one in refused} == {409}
        assert all(1 <= int(one.headers["Retry-After"]) <= 60 for one in refused)
        assert await held(desks.database, run) == (SIZE, SIZE)
        assert await box_office.left(desks.database, run) == (SIZE, SIZE, 0)
    assert await stories.guilty(desks.database) == {}


async def test_of_buyers_who_take_what_they_can_get_nobody_leaves_one_behind(
    desks: Desks,
) -> None:
    run = await desks.run("run_partial", size=101)
    wishes = [{"run": run, "listener": f"lis_{n}", "quantity": 4, "least": 1} for n in range(50)]
    answers = await desks.ask(*wishes)
    given = Counter(one.json()["quantity"] for one in answers if one.is_success)
    assert given == {4: 25, 1: 1}
    assert await box_office.left(desks.database, run) == (101, 101, 0)


@pytest.mark.parametrize("same", ["listener", "address"])
async def test_of_fifty_requests_at_once_one_buyer_holds_no_more_than_they_may(
    desks: Desks, same: str
) -> None:
    run = await desks.run(f"run_{same}", size=1000, **{f"per_{same}": 4})
    person = {"listener": "lis_bot", "address": "192.0.2.7"}
    wishes = [
        {"run": run, **person, **({"listener": f"lis_{n}"} if same == "address" else {})}
        for n in range(AT_ONCE)
    ]
    answers = await desks.ask(*wishes)
    assert codes(answers) == {"held": 4, "too_many_tickets": AT_ONCE - 4}
    assert await held(desks.database, run) == (4, 4)
    other = {"run": run, "listener": "lis_other", "address": "192.0.2.8", "quantity": 3}
    assert codes(await desks.ask(other | {"key": f"other {same}"})) == {"held": 1}


async def test_fifty_requests_with_one_key_are_one_hold(desks: Desks) -> None:
    for turn in range(ROUNDS // 4):
        run = await desks.run(f"run_key_{turn}")
        wish = {"run": run, "listener": "lis_zoe", "quantity": 2, "key": f"the key {turn}"}
        answers = await desks.ask(*(dict(wish) for _ in range(AT_ONCE)))
        assert set(codes(answers)) <= {"held", "in_flight"}
        (content,) = {one.content for one in answers if one.is_success}
        for again in await desks.ask(dict(wish)) + await desks.ask(dict(wish)):
            assert again.content == content
        assert again.headers[REPLAYED] == "true"
        assert await held(desks.database, run) == (1, 2)


async def test_fifty_requests_for_a_hold_of_one_id_are_one_hold(desks: Desks) -> None:
    run = await desks.run("run_id")
    wish = {"run": run, "listener": "lis_zoe", "id": "hold_mine"}
    answers = await desks.ask(*(dict(wish) for _ in range(AT_ONCE)))
    assert codes(answers) == {"held": AT_ONCE}
    assert len({one.content for one in answers}) == 1
    assert await held(desks.database, run) == (1, 1)


async def test_two_requests_under_one_key_at_once_are_not_both_done(desks: Desks) -> None:
    for turn in range(ROUNDS):
        run = await desks.run(f"run_two_{turn}")
        wishes = [
            {"run": run, "listener": "lis_zoe", "id": f"hold_{turn}_{n % 2}", "key": f"two {turn}"}
            for n in range(8)
        ]
        answers = await desks.ask(*wishes)
        assert set(codes(answers)) <= {"held", "in_flight", "idempotency_key_reused"}
        assert await held(desks.database, run) == (1, 1)
