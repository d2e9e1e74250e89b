"""Traps around parked shares: refunds that are refused or fail while others are on their way."""

from dataclasses import replace

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.errors import Unavailable
from takings.money import Money
from takings.payments import parked, refunds
from takings.payments.payments import Payment
from takings.policies import policies
from takings.policies.presets import PRESETS
from takings.spaces import hosts, spaces
from takings.spaces.agreements import Claim, Share
from tests import authorised, stories
from tests.stories import later


async def space(runtime: Runtime, policy: str = stories.CLUBHOUSE) -> None:
    """A live Space whose money is half Ada's, and half waits a week for Sea Rescue."""
    database, now = runtime.database, runtime.now()
    for host in ("host_ada", "host_sea"):
        await hosts.register(database, host, host, now=now)
    shares = [Share("host_ada", 5000), Share("host_sea", 5000, Claim(7, "listener"))]
    about = {"host": "host_ada", "title": "For the sea", "shares": shares, "policy": policy}
    await spaces.schedule(database, "spc_one", **about, now=now)  # type: ignore[arg-type]
    await stories.signed(database, "spc_one", now)
    await spaces.move(database, "spc_one", "live", now=now)


async def tab(runtime: Runtime, box: Sandbox, *minors: int) -> Payment:
    """A tab of these tips, closed and paid."""
    await space(runtime)
    opened = await authorised.opened(runtime, box, 10_000)
    for n, minor in enumerate(minors):
        await authorised.give(runtime, f"tip_{n}", minor)
    await authorised.close(runtime)
    await stories.hear(runtime, box)
    return opened.payment


async def activate(runtime: Runtime) -> None:
    """Stripe lets Sea Rescue be sent money."""
    await runtime.database.fetch("UPDATE hosts SET capability = 'active' WHERE id = 'host_sea'")


async def test_one_refused_refund_of_two_leaves_the_other_share_to_the_listener(
    runtime: Runtime, box: Sandbox
) -> None:
    await tab(runtime, box, 1000, 1000)
    box.faults.call("balance_insufficient", "/v1/refunds$")
    await parked.expire(runtime.database, runtime.stripe, now=later(days=8))
    await stories.hear(runtime, box, now=later(days=8, minutes=1))
    await activate(runtime)
    await stories.hear(runtime, box, now=later(days=9))
    owed = await stories.owed(runtime.database, "eur")
    assert owed == {"host_ada": 1000, "host_sea": 500}  # of one line each; of the other Ada alone
    assert await stories.guilty(runtime.database) == {}


async def test_two_shares_of_a_payment_are_claimed_each_by_itself(
    runtime: Runtime, box: Sandbox
) -> None:
    database = runtime.database
    payment = await tab(runtime, box, 1000, 1000)
    first, second = [row.id for row in await database.fetch("SELECT id FROM lines ORDER BY id")]
    box.faults.call("503", "/v1/refunds$", times=100)
    try:
        await refunds.refund(
            database,
            runtime.stripe,
            "ref_hand",
            payment.id,
            lines={second: 100},
            now=runtime.now(),
        )
    except Unavailable:
        box.faults.clear()
    await parked.expire(database, runtime.stripe, now=later(days=8))  # the second waits on
    await stories.hear(runtime, box, now=later(days=8))
    await activate(runtime)
    await stories.hear(runtime, box, now=later(days=8, minutes=5))
    [sent] = await database.fetch("SELECT stripe_id FROM refunds WHERE payee IS NOT NULL")
    box.fail_refund(sent.stripe_id)
    await stories.hear(runtime, box, now=later(days=8, minutes=9))
    keys = await database.fetch("SELECT key FROM entry_keys WHERE key LIKE '%:claimed:%'")
    assert {row.key for row in keys} == {
        f"line:{first}:claimed:host_sea",
        f"line:{second}:claimed:host_sea",
    }
    assert await stories.owed(database, "eur") == {"host_ada": 1000, "host_sea": 1000}
    assert await stories.guilty(database) == {}


async def test_while_a_share_waits_on_everybody_gives_by_weight(
    runtime: Runtime, box: Sandbox
) -> None:
    payment = await tab(runtime, box, 1000)
    box.faults.call("balance_insufficient", "/v1/refunds$")
    await parked.expire(runtime.database, runtime.stripe, now=later(days=8))
    money, now = Money(400, "eur"), runtime.now()
    await refunds.refund(runtime.database, runtime.stripe, "ref_hand", payment.id, money, now=now)
    assert await stories.owed(runtime.database, "eur") == {"host_ada": 300}
    await parked.expire(runtime.database, runtime.stripe, now=later(days=16))
    await stories.hear(runtime, box, now=later(days=16))
    assert await stories.owed(runtime.database, "eur") == {"host_ada": 300}
    [row] = await runtime.database.fetch("SELECT returned FROM lines")
    assert row.returned == 700  # 4.00, of which Sea Rescue gave half, and the 3.00 left of its own
    assert await stories.guilty(runtime.database) == {}


async def test_a_disputes_fee_comes_back_to_who_bore_it(runtime: Runtime, box: Sandbox) -> None:
    rules = replace(PRESETS[stories.CLUBHOUSE], name="fee-of-dispute", dispute_fee_bearer="host")
    await policies.publish(runtime.database, rules, now=runtime.now())
    await space(runtime, "fee-of-dispute")
    sent = await stories.paid_tip(runtime, box, 1000)
    found = box.dispute(payment_intent=sent.payment.intent_id)
    await stories.hear(runtime, box)
    await activate(runtime)
    await stories.hear(runtime, box)
    box.close_dispute(found["id"], "won", fee_back=True)
    await stories.hear(runtime, box)
    assert await stories.owed(runtime.database, "eur") == {"host_ada": 500, "host_sea": 500}
    assert await stories.guilty(runtime.database) == {}
