"""One ticket, many hands: it is passed on, given back or used, never two of them."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.errors import TakingsError
from tests import at_the_door, box_office, stories
from tests.conftest import PROVE
from ticketing import door_keys, returns, tickets
from ticketing.sale_tables import Ticket
from ticketing.tickets import Transfer

ROUNDS = 100 if PROVE else 20
BY_ZOE = {"listener": "lis_zoe"}


async def owned(runtime: Runtime, box: Sandbox, many: int) -> list[str]:
    """So many tickets of one purchase, that can be given back for a month."""
    start = runtime.now() + timedelta(days=30)
    await box_office.planned(runtime, starts_at=start, size=200, refund_until_h=0)
    made = await box_office.bought(runtime, box, "zoe", quantity=many)
    return [ticket.id for ticket in made.tickets]


async def outcome(act: Any) -> str:
    """What becomes of it: done, or the code of the refusal."""
    try:
        await act
    except TakingsError as error:
        return error.code
    return "done"


def give_back(runtime: Runtime, ticket: str) -> Any:
    return outcome(
        returns.give_back(runtime.database, runtime.stripe, ticket, **BY_ZOE, now=runtime.now())
    )


async def test_a_ticket_that_is_passed_to_many_at_once_is_one_listeners_in_the_end(
    runtime: Runtime, box: Sandbox
) -> None:
    (ticket,) = await owned(runtime, box, 1)
    answers = await asyncio.gather(
        *(
            outcome(tickets.transfer(runtime.database, ticket, Transfer(f"lis_{n}"), **BY_ZOE))
            for n in range(30)
        )
    )
    assert Counter(answers) == {"done": 1, "not_your_ticket": 29}
    found = (await tickets.get(runtime.database, ticket)).ticket
    assert (found.listener_id, found.serial) == (f"lis_{answers.index('done')}", 2)


async def test_a_ticket_that_is_given_back_many_times_at_once_is_refunded_once(
    runtime: Runtime, box: Sandbox
) -> None:
    (ticket,) = await owned(runtime, box, 1)
    answers = await asyncio.gather(*(give_back(runtime, ticket) for _ in range(20)))
    assert set(answers) == {"done"}
    assert len(box.calls("POST", "/v1/refunds")) == 1
    assert await box_office.left(runtime.database) == (200, 0, 0)


async def test_two_workers_pay_back_what_is_owed_once(runtime: Runtime, box: Sandbox) -> None:
    await box_office.planned(runtime, size=200)
    for n in range(ROUNDS):
        made = await box_office.ordered(runtime, f"l{n}")
        assert made.payment is not None
        box.pay(made.payment.intent_id)
    await stories.hear(runtime, box)
    void = "SELECT void_tickets('run_one', ARRAY(SELECT id FROM tickets), 'cancelled', $1)"
    await runtime.database.fetch(void, runtime.now())
    for _ in range(4):
        await asyncio.gather(
            *(returns.pay(runtime.database, runtime.stripe, now=runtime.now()) for _ in range(2))
        )
    assert len(box.calls("POST", "/v1/refunds")) == ROUNDS
    rows = await runtime.database.fetch("SELECT count(done_at) AS n FROM ticket_refunds")
    assert rows[0].n == ROUNDS
    assert await stories.owed(runtime.database, "eur") == {"host_ada": 0, "host_bob": 0}


async def used_and_given_back(runtime: Runtime, box: Sandbox) -> int:
    """How many tickets were both, of those that were scanned and given back in one instant."""
    both = 0
    for ticket in await owned(runtime, box, ROUNDS):
        text = await runtime.database.run(door_keys.sign, ticket, now=runtime.now())
        scan = at_the_door.scanned(runtime.database, text, runtime.now())
        scanned, given = await asyncio.gather(scan, give_back(runtime, ticket))
        assert scanned in ("admitted", "ticket_void")
        assert given in ("done", "ticket_used")
        both += scanned == "admitted" and given == "done"
    return both


@pytest.fixture
def door_is_quicker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has seen that a ticket is not used yet takes their time from there."""
    used = tickets.admissions.used

    async def slowly(session: Any, ticket_id: str) -> Any:
        found = await used(session, ticket_id)
        await asyncio.sleep(0.02)
        return found

    monkeypatch.setattr(tickets.admissions, "used", slowly)


@pytest.mark.usefixtures("door_is_quicker")
async def test_a_ticket_is_used_or_given_back_and_never_both(
    runtime: Runtime, box: Sandbox
) -> None:
    assert await used_and_given_back(runtime, box) == 0


@pytest.mark.usefixtures("door_is_quicker")
async def test_control_without_the_tickets_lock_some_are_used_and_given_back(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unlocked(session: Any, ticket_id: str) -> Ticket:
        ticket: Ticket = await session.get_one(Ticket, ticket_id)
        return ticket

    monkeypatch.setattr(tickets, "lock", unlocked)
    assert await used_and_given_back(runtime, box) > 0
