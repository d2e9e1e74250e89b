"""The money of tickets as the journal tells it: deferred until the room has been, then released."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.commission import Tier
from takings.money import Money
from takings.payments import cash, receipts, refunds, releases
from takings.policies import policies
from takings.policies.presets import PRESETS
from takings.spaces import spaces, standings
from takings.spaces.standings import Standing
from tests import box_office, stories
from ticketing import purchases
from ticketing.purchases import Bought
from ticketing.wishes import TierWish

CLUBHOUSE = PRESETS[stories.CLUBHOUSE]
TERMS = replace(CLUBHOUSE.terms["eur"], tiers=(Tier(up_to=None, rate_bps=300),), maximum=100_000)
HOST_BEARS = replace(
    CLUBHOUSE,
    name="host-bears",
    fee_bearer="host",
    refund_fee_bearer="host",
    terms={"eur": TERMS},
)


async def evening(runtime: Runtime, shares: Any = (("host_ada", 10_000),), **rules: Any) -> None:
    """A live Space with a run of ten tickets at 10.00, 3 % of which are the platform's."""
    policy = replace(HOST_BEARS, **rules)
    await policies.publish(runtime.database, policy, now=runtime.now())
    await stories.room(runtime.database, runtime.now(), shares=shares, policy=policy.name)
    await box_office.run(runtime.database, runtime.now())


async def over(runtime: Runtime, box: Sandbox) -> None:
    """The room ends, and Stripe makes the money available."""
    await stories.end(runtime, box)


def payment(bought: Bought) -> str:
    """The id of a purchase's payment."""
    assert bought.payment is not None
    return bought.payment.id


def txns(box: Sandbox) -> list[str]:
    """Stripe's balance transactions, oldest first."""
    return [row["id"] for row in box.state.table("balance_transaction").rows]


async def test_a_tickets_commission_is_deferred_and_is_income_when_the_room_has_been(
    runtime: Runtime, box: Sandbox
) -> None:
    await evening(runtime)
    paid = payment(await box_office.bought(runtime, box, "zoe"))
    (txn,) = txns(box)
    before = f"""\
payment:{paid}:earned
  clearing:charges +1000 eur
  liabilities:host:host_ada:held -970 eur
  liabilities:deferred:tickets -30 eur
payment:{paid}:fee_passed
  liabilities:host:host_ada:held +59 eur
  expenses:stripe_fees -59 eur
"""
    cash = f"""\
txn:{txn}
  assets:stripe:pending +941 eur
  expenses:stripe_fees +59 eur
  clearing:charges -1000 eur"""
    assert await stories.told(runtime.database) == before + cash
    assert await stories.guilty(runtime.database) == {}
    await over(runtime, box)
    assert (
        await stories.told(runtime.database)
        == f"""\
{before}payment:{paid}:released
  liabilities:host:host_ada:held +911 eur
  liabilities:host:host_ada:available -911 eur
  liabilities:deferred:tickets +30 eur
  income:commission:tickets -30 eur
{cash}
txn:{txn}:available
  assets:stripe:available +941 eur
  assets:stripe:pending -941 eur"""
    )
    assert await stories.guilty(runtime.database) == {}


async def test_several_tickets_are_a_line_each_and_two_hosts_share_every_one(
    runtime: Runtime, box: Sandbox
) -> None:
    await evening(runtime, (("host_ada", 6667), ("host_bob", 3333)), fee_bearer="platform")
    paid = payment(await box_office.bought(runtime, box, "zoe", quantity=2))
    one = """\
  liabilities:host:host_ada:held -647 eur
  liabilities:host:host_bob:held -323 eur
  liabilities:deferred:tickets -30 eur
"""
    told = await stories.told(runtime.database)
    assert f"payment:{paid}:earned\n  clearing:charges +2000 eur\n{one}{one}txn:" in told
    receipt = await runtime.database.run(receipts.of, paid)
    assert (receipt.commission, receipt.paid) == (Money(60, "eur"), Money(2000, "eur"))


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_refund_takes_deferred_commission_before_the_release_and_income_after(
    runtime: Runtime, box: Sandbox, when: str
) -> None:
    await evening(runtime)
    paid = payment(await box_office.bought(runtime, box, "zoe"))
    if when == "after":
        await over(runtime, box)
    done = await refund(runtime, paid, 500)
    drawer, platform = {
        "before": ("held", "liabilities:deferred:tickets"),
        "after": ("available", "income:commission:tickets"),
    }[when]
    taken = f"  liabilities:host:host_ada:{drawer} +485 eur\n  {platform} +15 eur"
    booked = f"refund:ref_one:booked\n{taken}\n  clearing:refunds -500 eur"
    assert booked in await stories.told(runtime.database)
    box.fail_refund(done)
    await stories.hear(runtime, box)
    back = taken.replace("+", "-")
    assert f"refund:ref_one:failed\n{back}\n  clearing:refunds +500 eur" in await stories.told(
        runtime.database
    )
    assert await stories.guilty(runtime.database) == {}


async def test_only_what_was_not_returned_is_released(runtime: Runtime, box: Sandbox) -> None:
    await evening(runtime)
    paid = payment(await box_office.bought(runtime, box, "zoe"))
    await refund(runtime, paid, 400)
    await over(runtime, box)
    assert (
        f"""\
payment:{paid}:released
  liabilities:host:host_ada:held +523 eur
  liabilities:host:host_ada:available -523 eur
  liabilities:deferred:tickets +18 eur
  income:commission:tickets -18 eur
"""
        in await stories.told(runtime.database)
    )
    assert await stories.guilty(runtime.database) == {}


async def test_what_was_returned_before_it_was_released_leaves_no_commission(
    runtime: Runtime, box: Sandbox
) -> None:
    await evening(runtime, fee_bearer="platform")
    paid = payment(await box_office.bought(runtime, box, "zoe"))
    await refund(runtime, paid, 1000)
    await over(runtime, box)
    told = await stories.told(runtime.database)
    assert "income:commission:tickets" not in told
    assert ":released" not in told
    # Stripe's fee is the platform's, which has no other money here.
    assert set(await stories.guilty(runtime.database)) == {"covered"}


async def refund(runtime: Runtime, paid: str, minor: int) -> str:
    """A refund by hand; its id at Stripe."""
    done = await refunds.refund(
        runtime.database,
        runtime.stripe,
        "ref_one",
        paid,
        Money(minor, "eur"),
        now=runtime.now(),
    )
    return done.stripe_id or ""


async def test_money_waits_for_the_refund_window_where_that_is_longer(
    runtime: Runtime, box: Sandbox
) -> None:
    await evening(runtime, release_days=2, refund_window_days=14)
    await box_office.bought(runtime, box, "zoe")
    ended = runtime.now()
    await spaces.move(runtime.database, "spc_one", "ended", now=ended)
    window = ended + timedelta(days=14)
    await stories.hear(runtime, box, now=window - timedelta(seconds=1))
    assert ":released" not in await stories.told(runtime.database)
    assert await releases.release(runtime.database, now=window) == 1


@pytest.mark.parametrize("when", ["before", "after"])
async def test_tickets_of_a_cancelled_space_are_never_released(
    runtime: Runtime, box: Sandbox, when: str
) -> None:
    """Also where nobody has carried the refunds out yet, for however long."""
    await evening(runtime)
    await box_office.bought(runtime, box, "zoe")
    paid_tip = await stories.paid_tip(runtime, box, 700)
    await spaces.move(runtime.database, "spc_one", "cancelled", now=runtime.now())
    month = stories.later(days=31)
    if when == "after":
        await stories.hear(runtime, box)
    await cash.mature(runtime.database, now=month)
    await releases.release(runtime.database, now=month)
    told = await stories.told(runtime.database)
    assert told.count(":released") == 1
    assert f"payment:{paid_tip.payment.id}:released" in told
    assert "income:commission:tickets" not in told


async def test_tips_and_tickets_move_one_lifetime_counter(runtime: Runtime, box: Sandbox) -> None:
    """Twitter's of 2021: 3 % to 50,000 USD in a host's lifetime, then 20 %."""
    preset = "twitter-ticketed-spaces-2021"
    database, now = runtime.database, runtime.now()
    shares = [("host_ada", 10_000)]
    await stories.room(database, now, shares=shares, policy=preset)
    known = Standing(followers=1000, age=18, spaces=3, spaces_within_days=30)
    await standings.state(database, "host_ada", known, now=now)
    seats = TierWish("Seat", "fixed", 900_00, "tier_seat")
    await box_office.run(database, now, size=60, tiers=(seats,), currency="usd")
    await stories.paid_tip(runtime, box, 500_00, currency="usd")
    for name in ("ann", "bea", "cyd"):
        await box_office.bought(runtime, box, name, quantity=18)
    rows = await database.fetch("SELECT minor FROM lifetime_sales")
    assert [row.minor for row in rows] == [500_00 + 54 * 900_00]
    rows = await database.fetch(COMMISSION)
    assert [(row.account, row.minor) for row in rows] == [
        ("income:commission:tips", 15_00),
        ("liabilities:deferred:tickets", 54 * 27_00),
    ]
    last = await box_office.bought(runtime, box, "dot")  # 49,100 so far: 900 at 3 %
    assert await commission(runtime, last) == 27_00
    beyond = await box_office.bought(runtime, box, "eve")
    assert await commission(runtime, beyond) == 180_00
    tip = await stories.paid_tip(runtime, box, 10_00, currency="usd")
    receipt = await database.run(receipts.of, tip.payment.id)
    assert receipt.commission == Money(2_00, "usd")
    assert await stories.guilty(database) == {}


COMMISSION = """
SELECT account, sum(credited)::bigint AS minor FROM allotments WHERE host_id IS NULL
 GROUP BY account ORDER BY account
"""


async def commission(runtime: Runtime, bought: Bought) -> int:
    """What the platform keeps of a purchase."""
    assert bought.state == "settled"
    return (await runtime.database.run(receipts.of, payment(bought))).commission.minor


async def test_free_tickets_post_nothing(runtime: Runtime, box: Sandbox) -> None:
    free = TierWish("Standing", "free", 0, "tier_free")
    await box_office.run(runtime.database, runtime.now(), tiers=(free,))
    bought = await box_office.bought(runtime, box, "zoe")
    assert (await purchases.get(runtime.database, bought.purchase.id)).state == "settled"
    assert await stories.told(runtime.database) == ""
