"""Traps around payouts: what is taken back, refused or opened while one is under way."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.ledger import journal
from takings.ledger.entries import Entry, Posting
from takings.money import Money
from takings.payments import disputes, refunds
from takings.payouts import batches, funds, payouts, plans, reversals
from takings.policies import policies
from takings.policies.presets import PRESETS
from takings.spaces import hosts
from tests import paying, stories

BOB = (("host_bob", 10_000),)


async def refund(runtime: Runtime, payment: str, minor: int) -> None:
    """So much of a payment goes back."""
    money, now = Money(minor, "eur"), runtime.now()
    await refunds.refund(runtime.database, runtime.stripe, "ref_1", payment, money, now=now)


async def test_who_owes_by_now_is_not_paid_by_an_approval(runtime: Runtime, box: Sandbox) -> None:
    await paying.evening(runtime, box, 5_000, shares=BOB)
    [payment] = await paying.evening(runtime, box, 500)
    await paying.payee(runtime, box)
    assert (await paying.pay(runtime, approval={"eur": 100})).state == "waiting"
    await refund(runtime, payment, 500)
    now, named = runtime.now(), {"actor": "key_bob"}
    with pytest.raises(payouts.HostInDebt):
        await payouts.approve(runtime.database, runtime.stripe, "po_1", **named, now=now)
    await payouts.refuse(runtime.database, "po_1", why="refunded", now=now)
    assert await paying.available(runtime.database) == 0
    await paying.paying(runtime)
    assert not box.calls("POST", "/v1/transfers")
    assert await stories.guilty(runtime.database, short=True) == {}


async def test_a_debt_that_is_known_before_the_money_left_is_asked_back_afterwards(
    runtime: Runtime, box: Sandbox
) -> None:
    await paying.evening(runtime, box, 5_000, shares=BOB)
    [payment] = await paying.evening(runtime, box, 500)
    account = await paying.payee(runtime, box)
    box.faults.call("503", "/v1/transfers$", times=100)
    assert (await paying.pay(runtime)).state == "sending"
    box.faults.clear()
    await refund(runtime, payment, 500)
    await reversals.recover(runtime.database, runtime.stripe, now=runtime.now())
    for minutes in (2, 4, 6):
        await paying.paying(runtime, stories.later(minutes=minutes))
    await paying.hear(runtime, box)
    assert await paying.available(runtime.database) == 0
    assert box.balance("eur", account)["available"] == 0
    assert await stories.guilty(runtime.database, short=True) == {}


async def test_money_that_comes_between_the_lock_and_the_look_is_in_the_next_payout(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await paying.evening(runtime, box, 5_000)
    await hosts.register(runtime.database, "host_cat", "Cat", now=runtime.now())
    await paying.payee(runtime, box, "host_cat")
    whole, calls = funds.lock, [0]

    async def earned_meanwhile(session: AsyncSession, ids: list[str]) -> object:
        locked = await whole(session, ids)
        calls[0] += 1
        if calls[0] == 2:  # right before what is available is read
            await runtime.database.run(journal.post, [_earned(runtime, "host_cat")])
        return locked

    monkeypatch.setattr(funds, "lock", earned_meanwhile)
    with pytest.raises(payouts.NothingToPay):
        await paying.pay(runtime, host="host_cat")
    monkeypatch.undo()
    assert (await paying.pay(runtime, "po_2", host="host_cat")).minor == 100
    assert await paying.paid(runtime, "po_2") == [("earning", 100)]


def _earned(runtime: Runtime, host: str) -> Entry:
    charged = Posting("clearing:charges", Money(100, "eur"))
    earned = Posting(funds.available(host), Money(-100, "eur"))
    return Entry("a:first:one", "released", "x", runtime.now(), (charged, earned))


async def test_a_fee_that_comes_back_first_fills_what_the_refund_took_of_other_money(
    runtime: Runtime, box: Sandbox
) -> None:
    terms = replace(PRESETS[stories.CLUBHOUSE].terms["eur"], maximum=10_000)
    rules = replace(
        PRESETS[stories.CLUBHOUSE],
        name="gives-back",
        fee_bearer="host",
        refund_fee_bearer="platform",
        terms={"eur": terms},
    )
    await policies.publish(runtime.database, rules, now=runtime.now())
    await paying.evening(runtime, box, 500)
    account = await paying.payee(runtime, box)
    await paying.pay(runtime)
    await paying.hear(runtime, box)
    shares = [("host_ada", 10_000)]
    await stories.room(runtime.database, runtime.now(), shares=shares, policy="gives-back")
    sent = await stories.tip(runtime, 1000)
    box.pay(sent.payment.intent_id)
    await paying.hear(runtime, box)
    await refund(runtime, sent.payment.id, 1000)
    assert await stories.owed(runtime.database, "eur") == {"host_ada": 0}
    assert not await runtime.database.fetch("SELECT cause FROM recoveries")
    assert box.balance("eur", account)["available"] == 500


async def test_nobody_takes_the_name_of_a_days_own_batch(runtime: Runtime) -> None:
    tomorrow = runtime.now() + timedelta(days=1)
    name = f"pob_{tomorrow:%Y-%m-%d}"
    with pytest.raises(batches.DaysOwnBatch):
        await batches.start(runtime.database, name, actor="key_eve", now=runtime.now())
    assert await batches.of_today(runtime.database, now=tomorrow) == 1


async def test_a_payout_that_did_not_go_out_is_due_again_tomorrow(
    runtime: Runtime, box: Sandbox
) -> None:
    await paying.evening(runtime, box, 500)
    await paying.payee(runtime, box)
    day = runtime.now() + timedelta(days=1)
    await plans.edit(
        runtime.database,
        "host_ada",
        schedule="monthly",
        anchor=min(day.day, 28),
        now=runtime.now(),
    )
    while (await runtime.database.run(plans.get, "host_ada", day)).next_on != day.date():
        day += timedelta(days=1)
    box.faults.call("balance_insufficient", "/v1/transfers$")
    await paying.paying(runtime, day)
    assert await paying.available(runtime.database) == 500
    await paying.paying(runtime, day + timedelta(days=1))
    assert await paying.available(runtime.database) == 0


async def test_a_dispute_may_grow_and_be_taken_in_two_pieces(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await stories.paid_tip(runtime, box, 1000)
    made = box.dispute(payment_intent=sent.payment.intent_id, amount=300, inquiry=True)
    await stories.hear(runtime, box)
    found = await runtime.stripe.fetch("disputes", made["id"])
    lines = [
        {"id": f"txn_{n}", "amount": -450, "currency": "eur", "created": found["created"] + n}
        for n in (1, 2)
    ]
    shown = found | {"amount": 900, "status": "needs_response", "balance_transactions": lines}
    await runtime.database.run(disputes.heard, shown, sent.payment.id, runtime.now())
    known = await runtime.database.run(disputes.get, made["id"])
    assert (known.minor, known.taken, known.frozen) == (900, 900, 0)
    keys = await runtime.database.fetch("SELECT key FROM entry_keys WHERE key LIKE 'dispute:%'")
    assert sorted(row.key.split(":", 2)[2] for row in keys) == [
        "opened",
        "withdrawn",
        "withdrawn:2",
    ]
