"""What Stripe's answers prove: the one object that an ask made, and money only when captured."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from api.runtime import Runtime
from sandbox import intents
from sandbox import payments as stripes_payments
from sandbox.control import Sandbox
from takings.database import fetch
from takings.money import Money
from takings.payments import asks, facts, refunds, sweeps
from takings.payments.stripe import Stripe
from tests import stories
from tipping import tips

NOW = stories.later(days=0)
RECENTLY = NOW - timedelta(minutes=5)


def made(box: Sandbox, **metadata: str) -> str:
    """An intent at Stripe that carries this metadata; its id."""
    row = intents.make(box.state, amount=500, currency="eur", metadata=metadata)
    return str(row["id"])


async def found(runtime: Runtime, **metadata: str) -> str | None:
    """The id of the intent that is found by this metadata."""
    answer = await runtime.stripe.find("payment_intents.create", metadata, RECENTLY)
    return None if answer is None else str(answer["id"])


async def test_what_an_ask_made_is_found_among_others_by_all_of_its_metadata(
    runtime: Runtime, box: Sandbox
) -> None:
    ids = {name: made(box, takings_payment=name) for name in ("pay_1", "pay_2", "pay_3")}
    made(box)
    made(box, takings_payment="pay_4")
    whole = made(box, takings_payment="pay_4", takings_refund="ref_1", colour="red")
    made(box, takings_refund="ref_1")
    for name, intent in ids.items():
        assert await found(runtime, takings_payment=name) == intent
    assert await found(runtime, takings_payment="pay_4", takings_refund="ref_1") == whole
    assert await found(runtime, takings_payment="pay_4", takings_refund="ref_2") is None
    assert await found(runtime, takings_payment="pay_5") is None


async def test_what_an_ask_made_is_found_on_a_later_page_and_missed_only_after_the_last(
    runtime: Runtime, box: Sandbox
) -> None:
    oldest = made(box, takings_payment="pay_oldest")
    for number in range(200):
        made(box, takings_payment=f"pay_{number}")
    assert await found(runtime, takings_payment="pay_oldest") == oldest
    assert len(box.calls("GET", "/v1/payment_intents")) == 3
    assert await found(runtime, takings_payment="pay_200") is None
    assert len(box.calls("GET", "/v1/payment_intents")) == 6


async def test_what_was_there_before_the_ask_is_not_what_it_made(
    runtime: Runtime, box: Sandbox
) -> None:
    made(box, takings_payment="pay_1")
    wanted = {"takings_payment": "pay_1"}
    since = stories.later(minutes=1)
    assert await runtime.stripe.find("payment_intents.create", wanted, since) is None


def crash_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the process dies between Stripe's answer and our note of it."""
    ask = Stripe.ask

    async def dying(self: Stripe, call: Any, params: Mapping[str, Any], key: str) -> Any:
        await ask(self, call, params, key)
        raise asyncio.CancelledError

    monkeypatch.setattr(Stripe, "ask", dying)


async def test_each_of_many_asks_whose_keys_are_forgotten_finds_its_own_payment(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stories.room(runtime.database, runtime.now())
    crash_after(monkeypatch)
    names = ["tip_1", "tip_2", "tip_3"]
    for name in names:
        with pytest.raises(asyncio.CancelledError):
            await stories.tip(runtime, 500, name=name)
    asked = len(box.calls("POST", "/v1/payment_intents"))
    much_later = stories.later(days=2)
    done = await sweeps.unanswered(
        runtime.database, runtime.stripe, tips.SETTLEMENT, now=much_later
    )
    assert done == len(names)
    assert len(box.calls("POST", "/v1/payment_intents")) == asked
    theirs = {
        row["metadata"]["takings_payment"]: row["id"]
        for row in box.state.table("payment_intent").rows
    }
    sent = [await tips.get(runtime.database, name) for name in names]
    assert {one.payment.id: one.payment.intent_id for one in sent} == theirs


async def test_each_of_many_refunds_whose_keys_are_forgotten_finds_its_own(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stories.room(runtime.database, runtime.now())
    (payment,) = await stories.many_paid(runtime, box, 1)
    crash_after(monkeypatch)
    for minor in (101, 7, 33):
        with pytest.raises(asyncio.CancelledError):
            await refunds.refund(
                runtime.database,
                runtime.stripe,
                f"ref_{minor}",
                payment,
                Money(minor, "eur"),
                now=runtime.now(),
            )
    much_later = stories.later(days=2)
    await sweeps.unanswered(runtime.database, runtime.stripe, tips.SETTLEMENT, now=much_later)
    rows = await runtime.database.fetch("SELECT id, state, stripe_id FROM refunds")
    assert {row.state for row in rows} == {"booked"}
    assert {row.id: row.stripe_id for row in rows} == {
        row["metadata"]["takings_refund"]: row["id"] for row in box.state.table("refund").rows
    }
    await stories.hear(runtime, box)
    assert await stories.guilty(runtime.database) == {}


async def state(runtime: Runtime, payment: str) -> str:
    """How far the payment is."""
    rows = await runtime.database.fetch("SELECT state FROM payments WHERE id = $1", payment)
    return str(rows[0].state)


async def test_a_charge_that_is_not_captured_proves_nothing_until_it_is(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await stories.tip(runtime, 500)
    intent = box.state.get("payment_intent", sent.payment.intent_id or "")
    intent["capture_method"] = "manual"
    box.pay(intent["id"])
    assert box.events[-2]["type"] == "charge.succeeded"
    assert box.events[-2]["data"]["object"]["captured"] is False
    await stories.hear(runtime, box)
    assert await stories.told(runtime.database) == ""
    assert await state(runtime, sent.payment.id) == "authorised"
    statuses = await runtime.database.fetch("SELECT DISTINCT status FROM events")
    assert [row.status for row in statuses] == ["done"]
    stripes_payments.capture(box.state, intent, None)
    await stories.hear(runtime, box)
    assert await state(runtime, sent.payment.id) == "paid"
    told = await stories.told(runtime.database)
    assert told.count(f"payment:{sent.payment.id}:earned\n  clearing:charges +546 eur") == 1
    assert await stories.guilty(runtime.database) == {}


@pytest.mark.parametrize(
    ("paid", "captured", "proves"),
    [(True, True, True), (True, False, False), (False, True, False), (False, False, False)],
)
def test_only_a_charge_that_is_paid_and_captured_is_a_proof(
    paid: bool, captured: bool, proves: bool
) -> None:
    charge = {
        "object": "charge",
        "id": "ch_1",
        "metadata": {"takings_payment": "pay_1"},
        "amount": 546,
        "amount_captured": 546,
        "currency": "eur",
        "payment_intent": "pi_1",
        "paid": paid,
        "captured": captured,
        "created": int(NOW.timestamp()),
    }
    assert (facts.by_charge(charge, NOW) is not None) == proves


async def test_what_stripe_did_not_do_is_asked_anew_later_and_later(runtime: Runtime) -> None:
    now, waits = runtime.now(), []
    async with runtime.database.transaction() as session:
        ask = await asks.write(session, "capture:pay_1", "payment_intents.capture", {}, now)
        for nth in range(2, 12):
            await asks.anew(session, ask, now)
            ask = replace(ask, key=f"capture:pay_1:{nth}")
            [row] = await fetch(session, "SELECT leased_until FROM asks WHERE key = $1", ask.key)
            waits.append((row.leased_until - now) // timedelta(minutes=1))
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
