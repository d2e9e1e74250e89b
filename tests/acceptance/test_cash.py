"""Cash: only from balance transactions, by their categories, once each."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.database import fetch
from takings.ledger import accounts
from takings.payments import cash
from takings.payments.objects import CashLine
from tests import stories


def line(now: datetime, category: str, minor: int = 1000, **more: object) -> CashLine:
    """A balance transaction of a category, with a fee of 10."""
    base = CashLine(
        id=f"txn_{category}",
        category=category,
        minor=minor,
        fee=10,
        net=minor - 10,
        currency="eur",
        created_at=now,
        available_on=now + timedelta(days=7),
        available=False,
        source={},
        source_id=f"obj_{category}",
    )
    return replace(base, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("category", [*cash.TARGETS, "a category of next year"])
async def test_every_category_has_its_account_and_an_unknown_one_waits_in_suspense(
    runtime: Runtime, category: str
) -> None:
    found = line(runtime.now(), category)
    for _ in range(2):
        await runtime.database.run(cash.book, [found], runtime.now())
    target = cash.TARGETS.get(category, accounts.SUSPENSE)
    disputed = target == accounts.DISPUTES
    fee = accounts.DISPUTE_FEES if disputed else accounts.STRIPE_FEES
    assert (
        await stories.told(runtime.database)
        == f"""\
txn:{found.id}
  assets:stripe:pending +990 eur
  {fee} +10 eur
  {target} -1000 eur"""
    )
    assert ("suspense" in await stories.guilty(runtime.database)) == (target == accounts.SUSPENSE)


async def test_what_stripe_has_made_available_moves_once_and_only_when_it_is_time(
    runtime: Runtime,
) -> None:
    found = line(runtime.now(), "charge")
    await runtime.database.run(cash.book, [found], runtime.now())
    assert await cash.mature(runtime.database, now=stories.later(days=6)) == 0
    assert await cash.mature(runtime.database, now=stories.later(days=8)) == 1
    assert await cash.mature(runtime.database, now=stories.later(days=8)) == 0
    assert (await stories.told(runtime.database)).endswith("""\
txn:txn_charge:available
  assets:stripe:available +990 eur
  assets:stripe:pending -990 eur""")


async def test_a_payment_that_stripe_settled_in_another_currency_goes_through_the_exchange(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await stories.tip(runtime, 500)
    source = {"object": "charge", "payment_intent": sent.payment.intent_id}
    found = line(runtime.now(), "charge", 600, currency="usd", source=source)
    await runtime.database.run(cash.book, [found], runtime.now())
    assert box.requests
    assert (
        await stories.told(runtime.database)
        == """\
txn:txn_charge
  assets:stripe:pending +590 usd
  expenses:stripe_fees +10 usd
  clearing:exchange -600 usd
  clearing:exchange +546 eur
  clearing:charges -546 eur"""
    )


async def test_stripes_own_balance_is_ours(runtime: Runtime, box: Sandbox) -> None:
    await stories.room(runtime.database, runtime.now())
    await stories.many_paid(runtime, box, 7, 1234)
    theirs = await runtime.stripe.balance()
    rows = await runtime.database.run(fetch, OURS)
    assert {(row.status, row.currency): row.minor for row in rows} == {
        key: minor for key, minor in theirs.items() if minor
    }


OURS = """
SELECT split_part(a.name, ':', 3) AS status, a.currency, sum(b.minor)::bigint AS minor
  FROM accounts a JOIN balances b ON b.account_id = a.id
 WHERE a.name LIKE 'assets:stripe:%' GROUP BY 1, 2 HAVING sum(b.minor) <> 0
"""
