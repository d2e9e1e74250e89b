"""Commission by tiers, at each host's own lifetime counter, which a refund turns back."""

from dataclasses import replace

import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.commission import Tier
from takings.database import Database
from takings.money import Money
from takings.payments import payments, refunds
from takings.payments.payments import Paid
from takings.policies import policies
from takings.policies.presets import PRESETS
from tests import stories
from tipping import tips

THEN_A_FIFTH = (Tier(up_to=1000, rate_bps=300), Tier(up_to=None, rate_bps=2000))
THEN_ALL = (Tier(up_to=1000, rate_bps=300), Tier(up_to=None, rate_bps=10_000))
ADA = (("host_ada", 10_000),)
ADA_AND_BOB = (("host_ada", 6000), ("host_bob", 4000))


async def room(
    runtime: Runtime,
    box: Sandbox,
    shares: tuple[tuple[str, int], ...],
    *,
    tiers: tuple[Tier, ...] = THEN_A_FIFTH,
    least: int = 0,
    space: str = "spc_one",
) -> None:
    """A live Space under a policy with these tiers; cards cost nothing."""
    for currency in ("eur", "usd"):
        box.fee(currency, basis_points=0, fixed=0)
    preset = PRESETS[stories.CLUBHOUSE]
    terms = {
        currency: replace(preset.terms[currency], tiers=tiers, commission_minimum=least)
        for currency in ("eur", "usd")
    }
    tiered = replace(preset, name="tiered", fee_bearer="platform", terms=terms)
    await policies.publish(runtime.database, tiered, now=runtime.now())
    await stories.room(runtime.database, runtime.now(), shares=shares, policy="tiered", space=space)


async def counters(database: Database) -> dict[tuple[str, str], int]:
    """What each host has sold in their lifetime, by currency."""
    rows = await database.fetch("SELECT host_id, currency, minor FROM lifetime_sales")
    return {(row.host_id, row.currency): row.minor for row in rows}


async def commissions(database: Database) -> list[int]:
    """What the platform has kept of each payment, smallest first."""
    rows = await database.fetch(KEPT)
    return [row.minor for row in rows]


KEPT = """
SELECT -p.minor AS minor FROM postings p
  JOIN accounts a ON a.id = p.account_id AND a.name = 'income:commission:tips'
  JOIN entries e ON e.id = p.entry_id AND e.posted_at = p.posted_at AND e.kind = 'earned'
 ORDER BY minor
"""

LEFT = """
SELECT a.name, a.currency FROM accounts a JOIN balances b ON b.account_id = a.id
 WHERE a.name LIKE 'liabilities:%' OR a.name LIKE 'income:%'
 GROUP BY a.name, a.currency HAVING sum(b.minor) <> 0
"""


async def refund(runtime: Runtime, number: int, payment: str, minor: int | None = None) -> str:
    """Return so much, or all that is left; Stripe's id of the refund."""
    amount = None if minor is None else Money(minor, "eur")
    done = await refunds.refund(
        runtime.database,
        runtime.stripe,
        f"ref_{number}",
        payment,
        amount,
        now=runtime.now(),
    )
    assert done.stripe_id is not None
    return done.stripe_id


@pytest.mark.parametrize("many", ["one by one", "in one transaction"])
async def test_what_is_sold_beyond_a_boundary_pays_the_next_rate(
    runtime: Runtime, box: Sandbox, many: str
) -> None:
    await room(runtime, box, ADA)
    facts: list[Paid] = []
    for _ in range(2):
        payment = (await stories.tip(runtime, 600)).payment
        box.pay(payment.intent_id)
        facts.append(Paid(payment.id, 600, "eur", payment.intent_id, None, runtime.now()))
        if many == "one by one":
            await stories.hear(runtime, box)
    await runtime.database.run(payments.settle, facts, tips.SETTLEMENT, runtime.now())
    assert await commissions(runtime.database) == [18, 12 + 40]
    assert await counters(runtime.database) == {("host_ada", "eur"): 1200}
    await stories.hear(runtime, box)
    assert await stories.guilty(runtime.database) == {}


async def test_every_host_has_a_counter_of_their_own_in_each_currency(
    runtime: Runtime, box: Sandbox
) -> None:
    await room(runtime, box, ADA_AND_BOB)
    await stories.paid_tip(runtime, box, 2000)
    await stories.paid_tip(runtime, box, 2000, currency="usd")
    assert await commissions(runtime.database) == [30 + 40 + 24] * 2
    assert await counters(runtime.database) == {
        ("host_ada", "eur"): 1200,
        ("host_bob", "eur"): 800,
        ("host_ada", "usd"): 1200,
        ("host_bob", "usd"): 800,
    }
    assert await stories.guilty(runtime.database) == {}


async def test_what_is_returned_counts_no_more_for_the_next_sale(
    runtime: Runtime, box: Sandbox
) -> None:
    await room(runtime, box, ADA)
    first = await stories.paid_tip(runtime, box, 1000)
    await refund(runtime, 1, first.payment.id, 400)
    assert await counters(runtime.database) == {("host_ada", "eur"): 600}
    await stories.paid_tip(runtime, box, 500)
    assert await commissions(runtime.database) == [30, 12 + 20]
    assert await counters(runtime.database) == {("host_ada", "eur"): 1100}
    assert await stories.guilty(runtime.database) == {}


THREE = (("host_ada", 3333), ("host_bob", 3333), ("host_cleo", 3334))


async def test_what_is_returned_in_pieces_leaves_no_counter_and_nobody_with_anything(
    runtime: Runtime, box: Sandbox
) -> None:
    await room(runtime, box, THREE)
    sent = await stories.paid_tip(runtime, box, 3997)
    before = await counters(runtime.database)
    assert sum(before.values()) == 3997
    for number, minor in enumerate((101, 7, 1, 1333, None)):
        await refund(runtime, number, sent.payment.id, minor)
        after = await counters(runtime.database)
        assert all(0 <= after[host] <= before[host] for host in before)
        before = after
    assert set(before.values()) == {0}
    assert await runtime.database.fetch(LEFT) == []
    await stories.hear(runtime, box)
    assert await stories.guilty(runtime.database) == {}


@pytest.mark.parametrize("minor", [333, None])
async def test_what_comes_back_of_a_failed_refund_counts_again(
    runtime: Runtime, box: Sandbox, minor: int | None
) -> None:
    await room(runtime, box, THREE)
    sent = await stories.paid_tip(runtime, box, 3997)
    counted = await counters(runtime.database)
    owed = await stories.owed(runtime.database, "eur")
    failed = await refund(runtime, 1, sent.payment.id, minor)
    assert await counters(runtime.database) != counted
    box.fail_refund(failed)
    await stories.hear(runtime, box)
    assert await counters(runtime.database) == counted
    assert await stories.owed(runtime.database, "eur") == owed
    assert await stories.guilty(runtime.database) == {}


async def test_the_least_commission_is_shared_by_the_hosts_and_gives_way_to_a_greater_one(
    runtime: Runtime, box: Sandbox
) -> None:
    await room(runtime, box, ADA_AND_BOB, least=25)
    await stories.paid_tip(runtime, box, 100)
    assert await stories.owed(runtime.database, "eur") == {"host_ada": 45, "host_bob": 30}
    await stories.paid_tip(runtime, box, 1000)
    assert await commissions(runtime.database) == [25, 30]
    assert await stories.owed(runtime.database, "eur") == {"host_ada": 627, "host_bob": 418}
    assert await stories.guilty(runtime.database) == {}


async def test_a_sale_that_commission_eats_whole_counts_until_it_is_returned(
    runtime: Runtime, box: Sandbox
) -> None:
    await room(runtime, box, ADA_AND_BOB, least=100)
    sent = await stories.paid_tip(runtime, box, 80)
    assert (await stories.told(runtime.database)).startswith(
        f"""\
payment:{sent.payment.id}:earned
  clearing:charges +80 eur
  income:commission:tips -80 eur
txn:"""
    )
    whole = {("host_ada", "eur"): 48, ("host_bob", "eur"): 32}
    assert await counters(runtime.database) == whole
    pieces = [await refund(runtime, n, sent.payment.id, minor) for n, minor in [(1, 30), (2, 50)]]
    assert set((await counters(runtime.database)).values()) == {0}
    assert await runtime.database.fetch(LEFT) == []
    for piece in pieces:
        box.fail_refund(piece)
    await stories.hear(runtime, box)
    assert await counters(runtime.database) == whole
    assert await stories.guilty(runtime.database) == {}


async def test_a_share_that_commission_eats_whole_counts_beside_one_that_it_does_not(
    runtime: Runtime, box: Sandbox
) -> None:
    await room(runtime, box, ADA, tiers=THEN_ALL)
    await room(
        runtime, box, (("host_ada", 5000), ("host_bob", 5000)), tiers=THEN_ALL, space="spc_two"
    )
    await stories.paid_tip(runtime, box, 1000)  # Ada has reached the boundary
    sent = await stories.paid_tip(runtime, box, 1000, space="spc_two")
    assert await commissions(runtime.database) == [30, 500 + 15]
    owed = await stories.owed(runtime.database, "eur")
    assert owed == {"host_ada": 970, "host_bob": 485}
    counted = {("host_ada", "eur"): 1500, ("host_bob", "eur"): 500}
    assert await counters(runtime.database) == counted
    pieces = [await refund(runtime, n, sent.payment.id, minor) for n, minor in [(1, 333), (2, 667)]]
    assert await counters(runtime.database) == {("host_ada", "eur"): 1000, ("host_bob", "eur"): 0}
    assert await stories.owed(runtime.database, "eur") == {"host_ada": 970, "host_bob": 0}
    for piece in pieces:
        box.fail_refund(piece)
    await stories.hear(runtime, box)
    assert await counters(runtime.database) == counted
    assert await stories.owed(runtime.database, "eur") == owed
    assert await stories.guilty(runtime.database) == {}
