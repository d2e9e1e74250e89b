"""Two platforms' rules of 2021, told from the tip to money that can be paid out.

Whose rules they were, and where that can be read, stands in ``docs/why.md``.
"""

import re

import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.database import Database, fetch
from takings.ledger import balances
from takings.ledger.accounts import Drawer
from takings.money import Money
from takings.payments import receipts, refunds
from takings.payments.stripe import StripeRefused
from tests import stories
from tipping import presets

ADA = (("host_ada", 10_000),)
STARS = "facebook-stars-2021"


async def told(database: Database) -> str:
    """The journal as text, in the order in which it was posted."""
    lines: list[str] = []
    for row in await database.run(fetch, JOURNAL):
        if row.n == 1:
            lines.append(re.sub(r"(pay|txn)_\w+", "<id>", row.key))
        lines.append(f"  {row.name} {row.minor:+d} {row.currency}")
    return "\n".join(lines)


JOURNAL = """
SELECT e.key, p.n, a.name, p.minor, p.currency
  FROM entries e
  JOIN postings p ON p.entry_id = e.id AND p.posted_at = e.posted_at
  JOIN accounts a ON a.id = p.account_id
 ORDER BY e.posted_at, e.key, p.n
"""


async def has(database: Database, drawer: Drawer) -> int:
    """What Ada has in a drawer, in cents."""
    found = await database.run(balances.of_host, "host_ada")
    return found["usd"][drawer].minor


async def test_clubhouse_the_host_gets_all_and_the_sender_pays_the_card(
    runtime: Runtime, box: Sandbox
) -> None:
    database = runtime.database
    await stories.room(database, runtime.now(), shares=ADA)
    chips = await database.run(presets.of_space, "spc_one", "usd")
    assert [str(chip) for chip in chips] == ["5.00 USD", "10.00 USD", "20.00 USD"]
    sent = await stories.paid_tip(runtime, box, chips[1].minor, currency="usd")
    assert sent.payment.minor == 1061
    assert (await has(database, "held"), await has(database, "available")) == (1000, 0)
    await stories.end(runtime, box)
    assert (
        await told(database)
        == """\
payment:<id>:earned
  clearing:charges +1061 usd
  liabilities:host:host_ada:held -1000 usd
  income:fees_covered -61 usd
txn:<id>
  assets:stripe:pending +1000 usd
  expenses:stripe_fees +61 usd
  clearing:charges -1061 usd
txn:<id>:available
  assets:stripe:available +1000 usd
  assets:stripe:pending -1000 usd
payment:<id>:released
  liabilities:host:host_ada:held +1000 usd
  liabilities:host:host_ada:available -1000 usd"""
    )
    assert (await has(database, "held"), await has(database, "available")) == (0, 1000)
    assert await stories.guilty(database) == {}


async def test_clubhouse_a_refund_keeps_the_card_fee(runtime: Runtime, box: Sandbox) -> None:
    database = runtime.database
    await stories.room(database, runtime.now(), shares=ADA)
    sent = await stories.paid_tip(runtime, box, 1000, currency="usd")
    done = await refunds.refund(
        database, runtime.stripe, "ref_all", sent.payment.id, now=runtime.now()
    )
    assert done.minor == 1000  # of the 10.61 that were paid
    cent = Money(1, "usd")
    with pytest.raises(refunds.RefundTooLarge):
        await refunds.refund(
            database, runtime.stripe, "ref_more", sent.payment.id, cent, now=runtime.now()
        )
    await stories.end(runtime, box)
    assert (
        await told(database)
        == """\
payment:<id>:earned
  clearing:charges +1061 usd
  liabilities:host:host_ada:held -1000 usd
  income:fees_covered -61 usd
txn:<id>
  assets:stripe:pending +1000 usd
  expenses:stripe_fees +61 usd
  clearing:charges -1061 usd
refund:ref_all:booked
  liabilities:host:host_ada:held +1000 usd
  clearing:refunds -1000 usd
txn:<id>
  assets:stripe:pending -1000 usd
  clearing:refunds +1000 usd
txn:<id>:available
  assets:stripe:available +1000 usd
  assets:stripe:pending -1000 usd
txn:<id>:available
  assets:stripe:available -1000 usd
  assets:stripe:pending +1000 usd"""
    )
    assert await has(database, "available") == 0
    assert await stories.guilty(database) == {}


async def test_stars_the_host_gets_a_cent_a_star_and_the_packs_price_bears_the_fee(
    runtime: Runtime, box: Sandbox
) -> None:
    database, stars = runtime.database, 250
    await stories.room(database, runtime.now(), shares=ADA, policy=STARS)
    sent = await stories.paid_tip(runtime, box, stars, currency="usd")
    assert sent.payment.minor == stars
    await stories.end(runtime, box)
    assert (
        await told(database)
        == """\
payment:<id>:earned
  clearing:charges +250 usd
  liabilities:host:host_ada:held -250 usd
txn:<id>
  assets:stripe:pending +213 usd
  expenses:stripe_fees +37 usd
  clearing:charges -250 usd
txn:<id>:available
  assets:stripe:available +213 usd
  assets:stripe:pending -213 usd
payment:<id>:released
  liabilities:host:host_ada:held +250 usd
  liabilities:host:host_ada:available -250 usd"""
    )
    assert await has(database, "available") == stars
    (line,) = (await database.run(receipts.of, sent.payment.id)).lines
    assert (line.fee, line.fee_bearer) == (Money(37, "usd"), "platform")
    # What a pack costs beyond its stars was paid elsewhere, and has yet to be brought to Stripe.
    assert await stories.guilty(database) == {
        "covered": (("usd", "Stripe holds 213 for us, we owe hosts 250"),)
    }


async def test_stars_come_back_as_stars_and_stripe_keeps_its_fee(
    runtime: Runtime, box: Sandbox
) -> None:
    database = runtime.database
    await stories.room(database, runtime.now(), shares=ADA, policy=STARS)
    sent = await stories.paid_tip(runtime, box, 250, currency="usd")
    hundred = Money(100, "usd")
    await refunds.refund(
        database, runtime.stripe, "ref_stars", sent.payment.id, hundred, now=runtime.now()
    )
    await stories.end(runtime, box)
    journal = await told(database)
    assert (
        """\
refund:ref_stars:booked
  liabilities:host:host_ada:held +100 usd
  clearing:refunds -100 usd"""
        in journal
    )
    assert await has(database, "available") == 150
    assert journal.count("expenses:stripe_fees") == 1


async def test_a_single_star_is_less_than_a_card_can_pay(runtime: Runtime) -> None:
    await stories.room(runtime.database, runtime.now(), shares=ADA, policy=STARS)
    with pytest.raises(StripeRefused):
        await stories.tip(runtime, 1, currency="usd")
