"""Parked shares: they wait for their payee, then go by rule to the others or to the listener."""

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.money import Money
from takings.payments import parked, refunds
from takings.spaces import hosts, spaces
from takings.spaces.agreements import Claim, Share
from tests import stories
from tests.stories import later
from tipping.tips import Sent

ADA, BOB = "liabilities:host:host_ada", "liabilities:host:host_bob"
SEA = "liabilities:parked:host_sea"


async def tipped(runtime: Runtime, box: Sandbox, unclaimed: str, minor: int = 1000) -> Sent:
    """A tip of 10.00, of which 30 % wait a week for Sea Rescue; the rest is Ada's and Bob's."""
    now = runtime.now()
    await stories.room(runtime.database, now, shares=[("host_ada", 6000), ("host_bob", 4000)])
    await hosts.register(runtime.database, "host_sea", "Sea Rescue", now=now)
    shares = [
        Share("host_ada", 4000),
        Share("host_bob", 3000),
        Share("host_sea", 3000, Claim(7, unclaimed)),  # type: ignore[arg-type]
    ]
    await spaces.schedule(
        runtime.database,
        "spc_sea",
        host="host_ada",
        title="For the sea",
        shares=shares,
        policy=stories.CLUBHOUSE,
        now=now,
    )
    await stories.signed(runtime.database, "spc_sea", now)
    await spaces.move(runtime.database, "spc_sea", "live", now=now)
    return await stories.paid_tip(runtime, box, minor, space="spc_sea")


async def refund(runtime: Runtime, payment: str, minor: int) -> str:
    """So much of it goes back to the listener; Stripe's id of the refund."""
    named = {"now": runtime.now()}
    money = Money(minor, "eur")
    name = f"ref_{minor}"
    found = await refunds.refund(runtime.database, runtime.stripe, name, payment, money, **named)
    return found.stripe_id or ""


async def activate(runtime: Runtime, host: str) -> None:
    """Stripe lets the host be sent money."""
    await runtime.database.fetch("UPDATE hosts SET capability = 'active' WHERE id = $1", host)


async def entry(runtime: Runtime, word: str) -> str:
    """The one entry of the journal that has this word in its key, as text."""
    told = (await stories.told(runtime.database)).replace("\n  ", "\0").split("\n")
    [found] = [one for one in told if word in one.split("\0")[0]]
    return found.replace("\0", "\n  ")


async def test_a_share_waits_for_its_payee_who_then_has_it(runtime: Runtime, box: Sandbox) -> None:
    sent = await tipped(runtime, box, "others")
    assert (
        await entry(runtime, ":earned")
        == f"""\
payment:{sent.payment.id}:earned
  clearing:charges +1061 eur
  {ADA}:held -400 eur
  {BOB}:held -300 eur
  {SEA} -300 eur
  income:fees_covered -61 eur"""
    )
    await refund(runtime, sent.payment.id, 100)
    await activate(runtime, "host_sea")
    await stories.hear(runtime, box)
    [row] = await runtime.database.fetch("SELECT id FROM lines")
    line = row.id
    assert (
        await entry(runtime, ":claimed:")
        == f"""\
line:{line}:claimed:host_sea
  {SEA} +270 eur
  liabilities:host:host_sea:held -270 eur"""
    )
    await stories.end(runtime, box, "spc_sea")
    assert await stories.owed(runtime.database, "eur") == {
        "host_ada": 360,
        "host_bob": 270,
        "host_sea": 270,
    }
    assert await stories.guilty(runtime.database) == {}


async def test_unclaimed_it_is_the_others_by_their_own_weights(
    runtime: Runtime, box: Sandbox
) -> None:
    sent = await tipped(runtime, box, "others")
    await refund(runtime, sent.payment.id, 100)
    await stories.hear(runtime, box, now=later(days=6))
    assert ":unclaimed:" not in await stories.told(runtime.database)
    await stories.hear(runtime, box, now=later(days=8))
    [posted] = (await entry(runtime, ":unclaimed:")).split("\n", 1)[1:]
    assert (
        posted
        == f"""\
  {SEA} +154 eur
  {ADA}:held -154 eur
  {SEA} +116 eur
  {BOB}:held -116 eur"""
    )
    await activate(runtime, "host_sea")  # too late
    await stories.hear(runtime, box, now=later(days=9))
    await refund(runtime, sent.payment.id, 900)
    assert await stories.owed(runtime.database, "eur") == {"host_ada": 0, "host_bob": 0}
    assert await stories.guilty(runtime.database) == {}


async def test_unclaimed_it_goes_back_to_the_listener_and_leaves_the_base(
    runtime: Runtime, box: Sandbox
) -> None:
    sent = await tipped(runtime, box, "listener")
    first = await refund(runtime, sent.payment.id, 100)
    await stories.hear(runtime, box, now=later(days=8))
    await stories.hear(runtime, box, now=later(days=8))
    booked = [
        one
        for one in (await stories.told(runtime.database)).replace("\n  ", "\0").split("\n")
        if one.startswith("refund:ref_") and "ref_100:" not in one
    ]
    assert [one.split("\0")[1:] for one in booked] == [
        [f"{SEA} +270 eur", "clearing:refunds -270 eur"]
    ]
    assert await stories.owed(runtime.database, "eur") == {"host_ada": 360, "host_bob": 270}
    box.fail_refund(first)  # it comes back: what the share had given of it is the listener's again
    await stories.hear(runtime, box, now=later(days=8))
    assert await stories.owed(runtime.database, "eur") == {"host_ada": 400, "host_bob": 300}
    assert await stories.guilty(runtime.database) == {}
    await stories.hear(runtime, box, now=later(days=16))
    assert [one.params["amount"] for one in box.calls("POST", "/v1/refunds")] == [
        "100",
        "270",
        "30",
    ]
    assert await stories.owed(runtime.database, "eur") == {"host_ada": 400, "host_bob": 300}
    assert await stories.guilty(runtime.database) == {}


async def test_while_the_bank_disputes_it_a_parked_share_stays(
    runtime: Runtime, box: Sandbox
) -> None:
    sent = await tipped(runtime, box, "listener")
    found = box.dispute(payment_intent=sent.payment.intent_id, amount=1061, taken=False)
    await stories.hear(runtime, box, now=later(days=8))
    assert not box.calls("POST", "/v1/refunds")
    await activate(runtime, "host_sea")
    await stories.hear(runtime, box, now=later(days=9))
    claimed = await entry(runtime, ":claimed:")
    assert f"  {SEA} +300 eur\n" in claimed
    assert "  liabilities:host:host_sea:reserved -300 eur" in claimed
    box.withdraw_dispute(found["id"])
    await stories.hear(runtime, box, now=later(days=9))
    assert await stories.owed(runtime.database, "eur") == {
        "host_ada": 0,
        "host_bob": 0,
        "host_sea": 0,
    }
    assert await stories.guilty(runtime.database, short=True) == {}


async def test_a_refused_refund_leaves_the_share_parked_for_another_week(
    runtime: Runtime, box: Sandbox
) -> None:
    sent = await tipped(runtime, box, "listener")
    box.dispute(payment_intent=sent.payment.intent_id, taken=False)  # we have not heard of it
    await parked.expire(runtime.database, runtime.stripe, now=later(days=8))
    rows = await runtime.database.fetch(
        "SELECT parked_until > now() + interval '14 days' AS later FROM allotments"
        " WHERE host_id = 'host_sea'"
    )
    assert [row.later for row in rows] == [True]
    [told] = await runtime.database.fetch("SELECT state, error FROM refunds")
    assert told.state == "refused"
    assert "charged back" in told.error
    assert await stories.guilty(runtime.database) == {}
