"""Rules of 2021: what each gets by their published figures, and what the books then say.

Whose rules they were, and where that can be read, stands in ``docs/why.md``.
"""

import re
from typing import Any

import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.database import Database, fetch
from takings.ledger import balances
from takings.ledger.accounts import Drawer
from takings.money import Money
from takings.payments import previews, receipts, refunds
from takings.payments.previews import Offer, Sums
from takings.payments.stripe import StripeRefused
from takings.policies.presets import PRESETS
from takings.policies.rules import Channel, CurrencyNotOffered
from takings.spaces import standings
from takings.spaces.agreements import Share
from takings.spaces.standings import Standing
from tests import box_office, stories
from ticketing.wishes import TierWish
from tipping import presets

ADA = (("host_ada", 10_000),)
CLUBHOUSE = stories.CLUBHOUSE
TICKETED = "twitter-ticketed-spaces-2021"
FOLLOWS = "twitter-super-follows-2021"
STARS = "facebook-stars-2021"
DISCORD = "discord-2021"
FIFTY_THOUSAND = 50_000_00

PUBLISHED: list[tuple[str, str, int, Channel, int, tuple[int, int, int]]] = [
    # preset, kind, price, channel, earned before → the listener pays, the store and the host get
    (CLUBHOUSE, "tip", 5_00, "web", 0, (5_46, 0, 5_00)),
    (CLUBHOUSE, "tip", 10_00, "web", 0, (10_61, 0, 10_00)),
    (CLUBHOUSE, "tip", 20_00, "web", 10**9, (20_91, 0, 20_00)),
    (TICKETED, "ticket", 10_00, "ios", 0, (10_00, 3_00, 6_79)),
    (TICKETED, "ticket", 10_00, "android", FIFTY_THOUSAND, (10_00, 3_00, 5_60)),
    (TICKETED, "ticket", 10_00, "web", 0, (10_00, 0, 9_70)),
    (TICKETED, "ticket", 999_00, "web", FIFTY_THOUSAND, (999_00, 0, 799_20)),
    (TICKETED, "ticket", 1_00, "ios", 0, (1_00, 30, 68)),
    (FOLLOWS, "ticket", 2_99, "ios", 0, (2_99, 90, 2_03)),
    (FOLLOWS, "ticket", 4_99, "ios", 0, (4_99, 1_50, 3_39)),
    (FOLLOWS, "ticket", 9_99, "ios", FIFTY_THOUSAND, (9_99, 3_00, 5_59)),
    (STARS, "tip", 1, "web", 0, (1, 0, 1)),
    (STARS, "tip", 250, "web", 0, (2_50, 0, 2_50)),
    (DISCORD, "ticket", 10_00, "web", 0, (10_00, 0, 9_00)),
    (DISCORD, "ticket", 10_00, "web", FIFTY_THOUSAND, (10_00, 0, 9_00)),
]


@pytest.mark.parametrize(("preset", "kind", "price", "channel", "earned", "published"), PUBLISHED)
def test_each_gets_what_was_published(
    preset: str, kind: Any, price: int, channel: Channel, earned: int, published: tuple[int, ...]
) -> None:
    offer = Offer(kind, Money(price, "usd"), channel=channel)
    shares = [Share(host, weight) for host, weight in ADA]
    found = previews.of(offer, PRESETS[preset], shares, {"host_ada": earned})
    (ada,) = found.payees
    gets = (found.first.charged, found.first.store_fee, ada.first.net)
    assert tuple(one.minor for one in gets) == published


def test_every_preset_under_which_something_is_sold_has_published_figures() -> None:
    assert {preset for preset, *_ in PUBLISHED} == set(PRESETS) - {"spaces-2021"}
    with pytest.raises(CurrencyNotOffered):
        previews.of(Offer("tip", Money(500, "usd")), PRESETS["spaces-2021"], [], {})


async def test_twitters_boundary_inside_one_ticket(runtime: Runtime, box: Sandbox) -> None:
    database, now = runtime.database, runtime.now()
    await stories.room(database, now, shares=ADA, policy=TICKETED)
    known = Standing(followers=1000, age=18, spaces=3, spaces_within_days=30)
    await standings.state(database, "host_ada", known, now=now)
    await database.fetch("INSERT INTO lifetime_sales VALUES ('host_ada', 'usd', 4999400)")
    seat = (TierWish("Seat", "fixed", 10_00, "tier_seat"),)
    await box_office.run(database, now, tiers=seat, currency="usd")
    question = previews.Question(Offer("ticket", Money(10_00, "usd"), 2), space="spc_one")
    found = await database.run(previews.ask, question)
    assert sums(found.first) == {"charged": 1000, "card_fee": 59, "commission": 98, "platform": 39}
    assert sums(found.total) == {
        "charged": 2000,
        "card_fee": 118,
        "commission": 298,
        "platform": 180,
    }
    (crossing,) = found.payees[0].crossings
    assert (crossing.sale, crossing.below.minor, crossing.rate_bps) == (1, 600, 2_000)
    for name in ("zoe", "yan"):
        await box_office.bought(runtime, box, name)
    assert (
        await told(database)
        == """\
payment:<id>:earned
  clearing:charges +1000 usd
  liabilities:host:host_ada:held -902 usd
  liabilities:deferred:tickets -98 usd
txn:<id>
  assets:stripe:pending +941 usd
  expenses:stripe_fees +59 usd
  clearing:charges -1000 usd
payment:<id>:earned
  clearing:charges +1000 usd
  liabilities:host:host_ada:held -800 usd
  liabilities:deferred:tickets -200 usd
txn:<id>
  assets:stripe:pending +941 usd
  expenses:stripe_fees +59 usd
  clearing:charges -1000 usd"""
    )


def sums(found: Sums) -> dict[str, int]:
    """What of a preview's sums is not zero, in cents."""
    every = {name: getattr(found, name).minor for name in Sums.__dataclass_fields__}
    return {name: minor for name, minor in every.items() if minor}


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
