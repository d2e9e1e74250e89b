"""A payment and the end of its hold in the same instant; a hold bought by many at once."""

import asyncio
from collections import Counter
from random import Random
from typing import Any

import pytest

from api.runtime import Runtime
from api.settlement import SETTLEMENT
from sandbox.control import Sandbox
from takings.database import Database
from takings.errors import TakingsError
from takings.payments import objects, webhooks
from tests import box_office, stories
from tests.conftest import PROVE, Fresh
from ticketing import endings, holds, purchases
from ticketing.purchases import Bought, PurchaseWish

ROUNDS = 100 if PROVE else 12
BUYERS = 6


async def opened(runtime: Runtime, name: str, purchase: str | None = None) -> Bought:
    wish = PurchaseWish(purchase or f"pur_{name}", f"hold_{name}", f"lis_{name}", surface="intent")
    return await purchases.open(runtime.database, runtime.stripe, wish, now=runtime.now())


async def hear(runtime: Runtime, box: Sandbox) -> None:
    """The events come in and are handled."""
    now = runtime.now()
    notices = [("account", objects.notice(event)) for event in box.events]
    await webhooks.receive(runtime.database, notices, now=now)
    while await webhooks.process(runtime.database, runtime.stripe, SETTLEMENT, now=now):
        pass


async def lapse(runtime: Runtime) -> None:
    """The time of every hold is over."""
    late = stories.later(minutes=40)
    await holds.sweep(runtime.database, now=late)
    await endings.carry(runtime.database, runtime.stripe, now=late)


@pytest.mark.parametrize("first", ["the payment", "the expiry", "either"])
async def test_payment_and_expiry_in_the_same_instant_leave_a_ticket_or_all_the_money(
    runtime: Runtime, box: Sandbox, first: str
) -> None:
    chance = Random(first)  # noqa: S311 - it has to replay, not to be secret
    database = runtime.database
    await box_office.run(database, runtime.now(), size=ROUNDS * BUYERS)
    for n in range(ROUNDS):
        names = [f"{n}_{place}" for place in range(BUYERS)]
        for name in names:
            assert await box_office.claim(database, name, now=runtime.now()) == "held"
        bought = [await opened(runtime, name) for name in names]
        if first == "the expiry":
            await holds.sweep(database, now=stories.later(minutes=40))
        for one in bought:
            if first == "the payment" or chance.random() < 0.5:
                box.pay(one.payment.intent_id if one.payment else None)
        acts = [hear(runtime, box), lapse(runtime), lapse(runtime)]
        chance.shuffle(acts)
        await asyncio.gather(*acts)
    await stories.hear(runtime, box, now=stories.later(minutes=45))
    await stories.hear(runtime, box, now=stories.later(minutes=50))
    states = await database.fetch(ENDS)
    assert not [row for row in states if not row.good], states
    size, held, sold = await box_office.left(database)
    paid = [one for one in box.state.table("payment_intent").rows if one["status"] == "succeeded"]
    assert (size, held, sold) == (ROUNDS * BUYERS, 0, len(paid))
    rows = await database.fetch("SELECT number FROM tickets WHERE state = 'valid' ORDER BY number")
    assert [row.number for row in rows] == list(range(1, sold + 1))
    assert await stories.guilty(database) == {}


ENDS = """
SELECT b.id, h.state, p.state AS payment, t.state AS ticket,
       (p.state, h.state, t.state) IN (
         ('paid', 'sold', 'valid'), ('cancelled', 'expired', 'pending')) AS good
  FROM purchases b JOIN holds h ON h.id = b.hold_id JOIN payments p ON p.id = b.payment_id
  JOIN tickets t ON t.purchase_id = b.id
"""


async def test_of_twenty_purchases_of_one_hold_one_is_opened(
    runtime: Runtime, box: Sandbox
) -> None:
    await box_office.run(runtime.database, runtime.now())
    await box_office.claim(runtime.database, "zoe", now=runtime.now(), quantity=2)

    async def attempt(n: int) -> str:
        try:
            return (await opened(runtime, "zoe", f"pur_{n}")).state
        except TakingsError as error:
            return error.code

    found = await asyncio.gather(*(attempt(n) for n in range(20)))
    assert Counter(found) == {"open": 1, "purchase_open": 19}
    same = [opened(runtime, "zoe", f"pur_{found.index('open')}") for _ in range(10)]
    assert len({one.purchase.id for one in await asyncio.gather(*same)}) == 1
    assert len(box.calls("POST", "/v1/payment_intents")) == 1


async def test_a_hold_is_never_freed_while_its_payment_is_being_opened(
    runtime: Runtime, box: Sandbox
) -> None:
    """Release and purchase at the same time: no payment is open for a hold that is over."""
    database = runtime.database
    await box_office.run(database, runtime.now(), size=1000)
    for n in range(ROUNDS):
        names = [f"{n}_{place}" for place in range(BUYERS)]
        for name in names:
            await box_office.claim(database, name, now=runtime.now())

        async def either(name: str) -> Any:
            give_back = holds.release(database, f"hold_{name}", f"lis_{name}", now=runtime.now())
            return await asyncio.gather(give_back, opened(runtime, name), return_exceptions=True)

        for found in await asyncio.gather(*map(either, names)):
            wrong = [one for one in found if isinstance(one, BaseException)]
            assert all(isinstance(one, TakingsError) for one in wrong), wrong
    rows = await database.fetch(FLOATING)
    assert rows == []
    assert box.calls("POST", "/v1/payment_intents")


LAW = "h.state = 'expiring' OR h.state = 'held' AND NOT h.paying"


@pytest.mark.parametrize("law", ["on", "off"])
async def test_a_hold_that_is_being_paid_is_not_freed_whoever_wants_to(
    runtime: Runtime, fresh: Fresh, law: str
) -> None:
    """Control: without the law in free_holds somebody pays for a seat that another one takes."""
    database = runtime.database
    await box_office.run(database, runtime.now(), size=1)
    await box_office.claim(database, "zoe", now=runtime.now())
    await opened(runtime, "zoe")
    if law == "off":
        async with Database(fresh.owner) as owner:
            (found,) = await owner.fetch("SELECT pg_get_functiondef('free_holds'::regproc) AS f")
            assert LAW in found.f
            await owner.fetch(found.f.replace(LAW, "h.state IN ('held', 'expiring')"))
    freed = await holds.free(database, "run_one", "hold_zoe", now=runtime.now())
    assert (freed, await database.fetch(FLOATING) != []) == (
        (0, False) if law == "on" else (1, True)
    )


FLOATING = """
SELECT b.id FROM purchases b JOIN holds h ON h.id = b.hold_id
  JOIN payments p ON p.id = b.payment_id
 WHERE p.state = 'open' AND h.state NOT IN ('held', 'expiring')
"""
