"""Payments that come when the seat is on sale again: a ticket, or all the money, for everybody."""

import asyncio
from collections import Counter
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from api.runtime import Runtime
from api.settlement import SETTLEMENT
from sandbox.control import Sandbox
from takings.payments import payments
from tests import box_office, stories
from tests.conftest import PROVE
from tests.races.test_purchases import hear
from ticketing import holds, returns
from ticketing.holds import HoldOver
from ticketing.purchases import Bought

ROUNDS = 40 if PROVE else 4
SEATS = 6
PRICE = 1061  # with the card fee on top


async def given_up(runtime: Runtime, one: Bought) -> None:
    """Our side believes that a payment is over, and gives its seat back; unless it is paid."""
    assert one.payment is not None
    database, now = runtime.database, runtime.now()
    await database.run(payments.cancel, [one.payment.id], SETTLEMENT, now)
    with suppress(HoldOver):
        await holds.release(database, one.hold.id, one.hold.listener_id, now=now)


async def walk_in(runtime: Runtime, name: str, run: str) -> None:
    """Somebody else who wants a seat and keeps it, unpaid."""
    for n in range(3):
        at = runtime.now()
        if await box_office.claim(runtime.database, f"{name}_{n}", now=at, run=run) == "held":
            return


@pytest.mark.parametrize("first", ["the payment", "the end", "either"])
async def test_who_pays_for_a_seat_that_is_on_sale_again_has_a_ticket_or_all_their_money(
    runtime: Runtime, box: Sandbox, first: str
) -> None:
    chance, database = Random(first), runtime.database  # noqa: S311 - it has to replay
    for turn in range(ROUNDS):
        tiers = box_office.seat(turn)
        run = await box_office.run(
            database, runtime.now(), name=f"run_{turn}", tiers=tiers, size=SEATS
        )
        made = [await box_office.ordered(runtime, f"{turn}_{n}", run=run) for n in range(SEATS)]
        if first == "the end":
            await asyncio.gather(*(given_up(runtime, one) for one in made))
        for one in made:
            box.pay(one.payment.intent_id if one.payment else None)
        if first == "the payment":
            await hear(runtime, box)
        acts: list[Any] = [given_up(runtime, one) for one in made if first != "the end"]
        acts += [walk_in(runtime, f"walk_{turn}_{n}", run) for n in range(SEATS)]
        acts += [hear(runtime, box) for _ in range(2)]
        chance.shuffle(acts)
        await asyncio.gather(*acts)
        await hear(runtime, box)
        _, held, sold = await box_office.left(database, run)
        assert held + sold <= SEATS
    await stories.hear(runtime, box)
    while await returns.pay(database, runtime.stripe, now=stories.later(minutes=2)):
        pass
    await stories.hear(runtime, box, now=stories.later(minutes=3))
    found = Counter((row.ticket, row.kept) for row in await database.fetch(ENDS))
    assert set(found) <= {("valid", PRICE), ("void", 0)}
    assert found.total() == SEATS * ROUNDS
    assert (found["void", 0] > 0) == (first != "the payment")
    guilty = await stories.guilty(database)
    assert set(guilty) <= {"covered"}, "Stripe keeps its fees, and nobody here pays us for that"


ENDS = """
SELECT t.state AS ticket, l.minor + l.fees_covered - l.returned AS kept
  FROM purchases b JOIN tickets t ON t.purchase_id = b.id
  JOIN payments p ON p.id = b.payment_id AND p.state = 'paid'
  JOIN lines l ON l.subject = t.id
"""
