"""The flows of money whose every boundary is a crash point: refunds, disputes, shares, payouts.

Each first arranges what is there; from ``play.fate.on`` on the process may die.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from api.runtime import Runtime
from takings.money import Money
from takings.payments import refunds
from takings.payments.stripe import StripeRefused
from takings.payouts import payouts, plans
from takings.spaces import hosts, spaces
from takings.spaces.agreements import Claim, Share
from tests import paying, stories
from tests.faults.crash_points import Play

Flow = Callable[[Play], Awaitable[None]]
Act = Callable[[Runtime], Awaitable[object]]


async def smallest(runtime: Runtime) -> Any:
    """The payment that stories of one payment are about: its id, and its intent at Stripe."""
    sql = "SELECT id, intent_id FROM payments ORDER BY minor LIMIT 1"
    return (await runtime.database.fetch(sql))[0]


def refund(name: str, minor: int | None) -> Act:
    """So much of it goes back to the listener; without an amount, the rest."""

    async def act(runtime: Runtime) -> None:
        payment = (await smallest(runtime)).id
        amount = None if minor is None else Money(minor, "eur")
        named = {"now": runtime.now()}
        await refunds.refund(runtime.database, runtime.stripe, name, payment, amount, **named)

    return act


async def dispute(play: Play, **named: Any) -> str:
    """Its bank disputes it; the dispute's id."""
    intent = (await smallest(play.runtime)).intent_id
    return str(play.box.dispute(payment_intent=intent, **named)["id"])


async def tipped(play: Play) -> None:
    """Ada and Bob have a tip of 5.00."""
    await stories.room(play.runtime.database, play.clock)
    await stories.paid_tip(play.runtime, play.box, 500)
    play.fate.on = True


async def tip_refunded_in_pieces(play: Play) -> None:
    """A tip is sent, paid, refunded in part, and refunded to its end."""
    await stories.room(play.runtime.database, play.clock)
    play.fate.on = True
    await play.act(lambda runtime: stories.tip(runtime, 500, name="tip_one"))
    play.box.pay((await smallest(play.runtime)).intent_id)
    await play.hear()
    await play.act(refund("ref_part", 200))
    await play.hear()
    await play.act(refund("ref_rest", None))
    await play.hear()


async def refund_failed(play: Play) -> None:
    """A refund comes back from the bank, and is made anew."""
    await tipped(play)
    await play.act(refund("ref_one", 200))
    await play.hear()
    play.box.fail_refund(play.box.state.table("refund").rows[-1]["id"])
    await play.hear()
    await play.act(refund("ref_two", 500))
    await play.hear()


async def dispute_won(play: Play) -> None:
    """An inquiry becomes a dispute, takes the money, and is won."""
    await tipped(play)
    found = await dispute(play, inquiry=True)
    await play.hear()
    play.box.withdraw_dispute(found)
    await play.hear()
    play.box.close_dispute(found, "won", fee_back=True)
    await play.hear()


async def dispute_lost(play: Play) -> None:
    """What a refund has left is disputed, frozen, taken and lost."""
    await tipped(play)
    await play.act(refund("ref_part", 200))
    found = await dispute(play, amount=546, taken=False)
    await play.hear()
    play.box.withdraw_dispute(found)
    await play.hear()
    play.box.close_dispute(found, "lost")
    await play.hear()


async def parked(play: Play, unclaimed: str) -> None:
    """A tip of 10.00, of which 30 % wait a week for Sea Rescue; the rest is Ada's and Bob's."""
    database, now = play.runtime.database, play.clock
    for host in ("host_ada", "host_bob", "host_sea"):
        await hosts.register(database, host, host, now=now)
    shares = [
        Share("host_ada", 4000),
        Share("host_bob", 3000),
        Share("host_sea", 3000, Claim(7, unclaimed)),  # type: ignore[arg-type]
    ]
    named: Mapping[str, Any] = {"host": "host_ada", "title": "For the sea", "shares": shares}
    await spaces.schedule(database, "spc_one", **named, policy=stories.CLUBHOUSE, now=now)
    await stories.signed(database, "spc_one", now)
    await spaces.move(database, "spc_one", "live", now=now)
    await stories.paid_tip(play.runtime, play.box, 1000)
    play.fate.on = True


async def parked_claimed(play: Play) -> None:
    """The payee comes, and has what was parked."""
    await parked(play, "others")
    await play.act(refund("ref_part", 100))
    play.fate.on = False
    await paying.payee(play.runtime, play.box, "host_sea")
    play.fate.on = True
    await play.hear()


async def parked_returned(play: Play) -> None:
    """The payee does not come: the listener has the share back."""
    await parked(play, "listener")
    await play.act(refund("ref_part", 100))
    await play.hear()
    await play.hear(days=8)


async def parked_passed_on(play: Play) -> None:
    """The payee does not come: the others have the share."""
    await parked(play, "others")
    await play.act(refund("ref_part", 100))
    await play.hear()
    await play.hear(days=8)


async def batch_of_three(play: Play) -> None:
    """The day's batch pays three hosts."""
    three = (("host_ada", 5000), ("host_bob", 3000), ("host_cleo", 2000))
    await paying.evening(play.runtime, play.box, 1000, 400, shares=three)
    for host, _ in three:
        await paying.payee(play.runtime, play.box, host)
    play.fate.on = True
    await play.hear()
    await play.hear()


async def earned(play: Play) -> str:
    """Ada has 9.00 to take when she asks for it; her account at Stripe."""
    await paying.evening(play.runtime, play.box, 500, 400)
    account = await paying.payee(play.runtime, play.box)
    database = play.runtime.database
    await plans.edit(database, "host_ada", schedule="manual", now=play.clock)
    return account


async def approve(runtime: Runtime) -> None:
    """Another person lets it go; Stripe may say no."""
    named = {"actor": "key_bob", "now": runtime.now()}
    with suppress(StripeRefused):
        await payouts.approve(runtime.database, runtime.stripe, "po_1", **named)  # type: ignore[arg-type]


async def payout_approved(play: Play) -> None:
    """A payout is asked for, and another person lets it go."""
    await earned(play)
    play.fate.on = True
    await play.act(lambda runtime: paying.pay(runtime, approval={"eur": 1}))
    await play.act(approve)
    await play.hear()


async def payout_refused(play: Play) -> None:
    """Stripe refuses a payout to an account that is restricted meanwhile; the next one pays."""
    account = await earned(play)
    await paying.pay(play.runtime, approval={"eur": 1})
    play.fate.on = True
    play.box.capability(account, "restricted")
    await play.act(approve)
    play.box.capability(account, "active")
    await play.hear()
    await play.act(lambda runtime: paying.pay(runtime, "po_2"))
    await play.hear()


async def paid_out(play: Play) -> str:
    """Ada has been paid 9.00; her account at Stripe."""
    account = await earned(play)
    await paying.pay(play.runtime)
    await paying.hear(play.runtime, play.box)
    play.fate.on = True
    return account


async def refund_after_payout(play: Play) -> None:
    """What had gone is asked back of the host's account, and comes."""
    await paid_out(play)
    await play.act(refund("ref_one", 300))
    await play.hear()


async def reversal_refused(play: Play) -> None:
    """The host's account is empty: the debt stays, and later earnings repay it."""
    account = await paid_out(play)
    play.box.host_payout(account, "eur")
    await play.act(refund("ref_one", 300))
    await play.hear()
    play.fate.on = False
    await paying.evening(play.runtime, play.box, 700)
    play.fate.on = True
    await play.act(lambda runtime: paying.pay(runtime, "po_2"))
    await play.hear()


async def dispute_after_payout(play: Play) -> None:
    """What had gone is taken by the bank, asked back of the host, and won after all."""
    await paid_out(play)
    found = await dispute(play)
    await play.hear()
    play.box.close_dispute(found, "won", fee_back=True)
    await play.hear()


FLOWS: Mapping[str, Flow] = {
    flow.__name__: flow
    for flow in (
        tip_refunded_in_pieces,
        refund_failed,
        dispute_won,
        dispute_lost,
        parked_claimed,
        parked_returned,
        parked_passed_on,
        batch_of_three,
        payout_approved,
        payout_refused,
        refund_after_payout,
        reversal_refused,
        dispute_after_payout,
    )
}
