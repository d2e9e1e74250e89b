"""Settled once: many proofs and their cash at once lead to one journal, and each wall is needed."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings import splits
from takings.commission import Tier
from takings.database import Database, LawBroken, fetch
from takings.errors import TakingsError
from takings.payments import cash, clawbacks, objects, payments, refunds, returns, webhooks
from takings.payments.objects import CashLine
from takings.payments.payments import Paid
from takings.policies import policies
from takings.policies.presets import PRESETS
from tests import stories
from tests.conftest import Fresh
from tipping import tips

MANY = 5
PRESET = PRESETS[stories.CLUBHOUSE]
TERMS = replace(PRESET.terms["eur"], tiers=(Tier(up_to=None, rate_bps=300),), maximum=10_000)
HOST_BEARS = replace(PRESET, name="host-bears", fee_bearer="host", terms={"eur": TERMS})


async def unheard(runtime: Runtime, box: Sandbox) -> list[str]:
    """Tips of 10.00 whose host bears the fee; paid, but nobody has told us; their payments."""
    await policies.publish(runtime.database, HOST_BEARS, now=runtime.now())
    await stories.room(
        runtime.database, runtime.now(), shares=[("host_ada", 10_000)], policy="host-bears"
    )
    sent = [await stories.tip(runtime, 1000) for _ in range(MANY)]
    for one in sent:
        box.pay(one.payment.intent_id)
    return [one.payment.id for one in sent]


def proofs(box: Sandbox, runtime: Runtime, *, charge: bool) -> list[Paid]:
    """What proves the payments: by their charges, or by something that does not name them."""
    return [
        Paid(
            payment=row["metadata"]["takings_payment"],
            minor=row["amount_captured"],
            currency=row["currency"],
            intent=row["payment_intent"],
            charge=row["id"] if charge else None,
            paid_at=runtime.now(),
        )
        for row in box.state.table("charge").rows
    ]


async def swept(runtime: Runtime) -> list[CashLine]:
    """The whole cash of Stripe's."""
    since = stories.later(days=-1)
    return [line async for page in runtime.stripe.cash_since(since) for line in page]


def settling(runtime: Runtime, facts: Sequence[Paid]) -> Awaitable[None]:
    """One transaction that settles these."""
    return runtime.database.run(payments.settle, facts, tips.SETTLEMENT, runtime.now())


def booking(runtime: Runtime, page: Sequence[CashLine]) -> Awaitable[int]:
    """One transaction that books this cash."""
    return runtime.database.run(cash.book, page, runtime.now())


async def expected(runtime: Runtime, box: Sandbox) -> str:
    """The one journal of these payments and their cash."""
    keys = "SELECT key FROM entry_keys ORDER BY key"  # in the database's own order
    texts: dict[str, str] = {}
    lines = {row["source"]: row["id"] for row in box.state.table("balance_transaction").rows}
    for charge in box.state.table("charge").rows:
        payment = charge["metadata"]["takings_payment"]
        for key, legs in (
            (f"payment:{payment}:earned", EARNED),
            (f"payment:{payment}:fee_passed", FEE_PASSED),
            (f"txn:{lines[charge['id']]}", CASH),
        ):
            texts[key] = f"{key}\n{legs}"
    found = [row.key for row in await runtime.database.fetch(keys)]
    assert sorted(found) == sorted(texts)
    return "\n".join(texts[key] for key in found)


EARNED = """\
  clearing:charges +1000 eur
  liabilities:host:host_ada:held -970 eur
  income:commission:tips -30 eur"""
FEE_PASSED = """\
  liabilities:host:host_ada:held +59 eur
  expenses:stripe_fees -59 eur"""
CASH = """\
  assets:stripe:pending +941 eur
  expenses:stripe_fees +59 eur
  clearing:charges -1000 eur"""


async def test_ten_at_once_settle_and_cash_the_same_payments_into_one_journal(
    runtime: Runtime, box: Sandbox
) -> None:
    await unheard(runtime, box)
    by_charge, by_session = (proofs(box, runtime, charge=named) for named in (True, False))
    page = await swept(runtime)
    assert len(page) == MANY
    tasks: list[Awaitable[Any]] = []
    for turned in (1, -1, 1, -1):  # as the batches come: in any order
        tasks += [settling(runtime, by_charge[::turned]), booking(runtime, page[::turned])]
    tasks += [settling(runtime, by_session), settling(runtime, by_session + by_charge)]
    await asyncio.gather(*tasks)
    assert await stories.told(runtime.database) == await expected(runtime, box)
    sold = await runtime.database.fetch("SELECT minor FROM lifetime_sales")
    assert [row.minor for row in sold] == [MANY * 1000]
    assert await stories.owed(runtime.database, "eur") == {"host_ada": MANY * 911}
    charges = await runtime.database.fetch("SELECT charge_id FROM payments")
    assert {row.charge_id for row in charges} == {fact.charge for fact in by_charge}
    assert await stories.guilty(runtime.database) == {}


async def test_two_workers_share_what_is_due_and_settle_each_payment_once(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await unheard(runtime, box)
    monkeypatch.setattr(webhooks, "BATCH", 3)  # so that both have something to do
    notices = [("account", objects.notice(event)) for event in box.events]
    await webhooks.receive(runtime.database, notices, now=runtime.now())

    async def work() -> int:
        done = 0
        while looked := await webhooks.process(
            runtime.database, runtime.stripe, tips.SETTLEMENT, now=runtime.now()
        ):
            done += looked
        return done

    shared = await asyncio.gather(work(), work())
    assert sum(shared) == len(notices)
    assert all(shared)
    await booking(runtime, await swept(runtime))
    assert await stories.told(runtime.database) == await expected(runtime, box)
    assert await stories.guilty(runtime.database) == {}


async def overlapping(runtime: Runtime, box: Sandbox, first: str, second: str) -> None:
    """Settle and book the cash, the second act while the first has not been committed."""
    await unheard(runtime, box)
    facts, page = proofs(box, runtime, charge=True), await swept(runtime)

    async def act(what: str, session: AsyncSession) -> None:
        if what == "settled":
            await payments.settle(session, facts, tips.SETTLEMENT, runtime.now())
        else:
            await cash.book(session, page, runtime.now())

    async def other() -> None:
        async with runtime.database.transaction() as session:
            await act(second, session)

    async with runtime.database.transaction() as session:
        await act(first, session)
        running = asyncio.ensure_future(other())
        await asyncio.sleep(0.2)  # it has come as far as it can
    await running
    await settling(runtime, facts)
    await booking(runtime, page)


@pytest.mark.parametrize("first", ["settled", "cashed"])
@pytest.mark.parametrize("second", ["settled", "cashed"])
async def test_whatever_overlaps_the_payments_are_earned_once_and_their_fee_is_passed_on_once(
    runtime: Runtime, box: Sandbox, first: str, second: str
) -> None:
    await overlapping(runtime, box, first, second)
    assert await stories.told(runtime.database) == await expected(runtime, box)
    assert await stories.guilty(runtime.database) == {}


async def test_control_without_the_lock_of_payments_only_a_law_stops_a_second_settlement(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payments, "LOCK", payments.LOCK.replace("FOR NO KEY UPDATE", ""))
    with pytest.raises(LawBroken) as caught:
        await overlapping(runtime, box, "settled", "settled")
    assert caught.value.facts["law"] == "allotments_pk"


@pytest.mark.parametrize("order", [("settled", "cashed"), ("cashed", "settled")])
async def test_control_without_the_lock_of_cash_neither_sees_the_other_and_no_fee_is_passed_on(
    runtime: Runtime, box: Sandbox, order: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cash, "PAYMENTS", cash.PAYMENTS.replace("FOR NO KEY UPDATE", ""))
    await overlapping(runtime, box, *order)
    told = await stories.told(runtime.database)
    assert (told.count(":earned"), told.count("txn:")) == (MANY, MANY)
    assert ":fee_passed" not in told


async def returned(runtime: Runtime) -> int:
    """How much the books say was returned."""
    rows = await runtime.database.fetch(RETURNED)
    return sum(row.minor for row in rows)


RETURNED = """
SELECT -p.minor AS minor FROM postings p
  JOIN accounts a ON a.id = p.account_id AND a.name = 'clearing:refunds'
  JOIN entries e ON e.id = p.entry_id AND e.posted_at = p.posted_at AND e.kind = 'refund_booked'
"""


async def refunded_by_ten(runtime: Runtime, box: Sandbox) -> set[str]:
    """Ten ask for all of a payment, of a Stripe that would always return it; what came of them."""
    await stories.room(runtime.database, runtime.now())
    (payment,) = await stories.many_paid(runtime, box, 1)
    box.state.table("charge").rows[0].update(amount=1_000_000, amount_captured=1_000_000)

    async def ask(number: int) -> str:
        try:
            done = await refunds.refund(
                runtime.database, runtime.stripe, f"ref_{number}", payment, now=runtime.now()
            )
        except TakingsError as error:
            return error.code
        return done.state

    return set(await asyncio.gather(*(ask(number) for number in range(10))))


async def test_no_more_is_returned_than_was_paid_even_if_stripe_would(
    runtime: Runtime, box: Sandbox
) -> None:
    assert await refunded_by_ten(runtime, box) == {"booked", "nothing_to_refund"}
    assert await returned(runtime) == 500
    assert len(box.calls("POST", "/v1/refunds")) == 1
    assert await stories.guilty(runtime.database) == {}


async def test_control_without_lock_law_and_reservation_more_is_returned_than_was_paid(
    runtime: Runtime, box: Sandbox, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    laws = {
        "lines_returns_no_more_than_paid": "lines",
        "lines_disputes_no_more_than_paid": "lines",
        "allotments_takes_no_more_than_credited": "allotments",
    }
    async with Database(fresh.owner) as owner:
        for law, table in laws.items():
            await owner.run(fetch, f"ALTER TABLE {table} DROP CONSTRAINT {law}")
    unlocked = returns.PAYMENT.replace("FOR NO KEY UPDATE", "")
    unreserved = returns.LEFT.replace("- l.returned - l.refunding", "")
    monkeypatch.setattr(returns, "PAYMENT", unlocked)
    monkeypatch.setattr(returns, "LEFT", unreserved.replace("FOR NO KEY UPDATE OF l", ""))
    endless = clawbacks.LINES.replace("l.minor + l.fees_covered AS paid", "1000000 AS paid")
    monkeypatch.setattr(clawbacks, "LINES", endless)
    monkeypatch.setattr(splits, "clawback", lambda total, weights, _: splits.divide(total, weights))
    # The counters would not go so low.
    monkeypatch.setattr(clawbacks, "counted", lambda gross, *_: gross)
    await refunded_by_ten(runtime, box)
    assert await returned(runtime) > 546
