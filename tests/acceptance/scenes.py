"""What has to have happened before an example of the API: scenes of the same evening."""

from datetime import timedelta
from typing import Final

from api import keys
from takings.money import Money
from takings.payments import payments
from takings.payouts import capabilities, payouts, plans
from takings.spaces import hosts, spaces
from tests import box_office, paying, stories
from tests.acceptance.world import World
from tests.stories import CLUBHOUSE
from ticketing import door_keys, holds, purchases
from ticketing.wishes import TierWish
from tipping import tabs, tips
from tipping.tips import Wish

PASS: Final = (
    "AFLEOWVHAAAADIIAAAAAEMJSGM2DKNRXHBZHK3S7GA3GE4LGHB3DQYZQNAZXMMTNGRSDK2ZWNY3XAODRHFD5COH3"
    "WLG3K26HPKKZZJRVRPAG76Z2G7J7UFTVLOQHQ5LJG3H52NGDXQAC3QQ3UZZ4GHNFNVWOABVYULKO4DO325YUKP3B"
    "6VLMCBII"
)
SCANNED: Final = "2026-11-20T20:05:00Z"
PIA: Final = "host_pia"


async def bob(world: World) -> None:
    await hosts.register(world.runtime.database, "host_bob", "Bob", now=world.runtime.now())


async def all_agree(world: World) -> None:
    await stories.signed(world.runtime.database, world.names["spc_one"], world.runtime.now())


async def paid(world: World) -> None:
    sent = await tips.get(world.runtime.database, world.names["tip_one"])
    world.box.pay(sent.payment.intent_id)
    await world.heard()


async def regretted(world: World) -> None:
    money, space = Money(300, "eur"), world.names["spc_one"]
    wish = Wish("tip_two", space, "lis_zoe", money, "intent", undoable=True)
    runtime = world.runtime
    await tips.send(runtime.database, runtime.stripe, wish, now=runtime.now())


async def authorised(world: World) -> None:
    tab = await tabs.get(world.runtime.database, world.names["tab_one"])
    world.box.pay(tab.payment.intent_id)
    await world.heard()


async def counted(world: World) -> None:
    tiers = (TierWish("Seat", minor=500, id="tier_counted"),)
    named = {"name": "run_counted", "space": world.names["spc_one"], "tiers": tiers}
    await box_office.run(world.runtime.database, world.runtime.now(), **named)


async def full(world: World) -> None:
    runtime, space = world.runtime, world.names["spc_one"]
    tiers = (TierWish("Seat", minor=500, id="tier_full"),)
    named = {"name": "run_full", "space": space, "size": 2, "tiers": tiers}
    await box_office.run(runtime.database, runtime.now(), **named)
    told = {"now": runtime.now(), "run": "run_full", "quantity": 2}
    await box_office.claim(runtime.database, "full", **told)


async def bookable(world: World) -> None:
    database, now, run = world.runtime.database, world.runtime.now(), "run_sold"
    tiers = (
        TierWish("Seat", minor=1200, id="tier_sold"),
        TierWish("Guest", "comp", 0, "tier_guest"),
    )
    await box_office.run(database, now, name=run, space=world.names["spc_one"], tiers=tiers)
    await box_office.claim(database, "sold", listener="lis_zoe", now=now, run=run, quantity=2)


async def bought(world: World) -> None:
    runtime = world.runtime
    found = await purchases.get(runtime.database, world.names["pur_one"])
    world.box.pay(found.payment.intent_id if found.payment else None)
    await world.heard()


async def released(world: World) -> None:
    runtime = world.runtime
    await holds.release(runtime.database, "hold_full", "lis_full", now=runtime.now())


async def another_key(world: World) -> None:
    runtime = world.runtime
    key, _ = await keys.issue(runtime.database, "old backend", scopes=["tips"], now=runtime.now())
    world.names["key_old"] = key.id


async def another_space(world: World) -> None:
    told = {"host": world.names["host_ada"], "title": "Rained off", "policy": CLUBHOUSE}
    runtime = world.runtime
    await spaces.schedule(runtime.database, "spc_two", **told, shares=(), now=runtime.now())


async def guests(world: World) -> None:
    """Two free tickets, and what the example says of the pass and the time, as they are here."""
    database, now, run = world.runtime.database, world.runtime.now(), "run_door"
    room, tiers = world.names["spc_one"], [TierWish("Guest", "free", 0, "tier_door")]
    await box_office.run(database, now, name=run, space=room, tiers=tiers)
    for name in ("zed", "ann"):
        await box_office.claim(database, name, now=now, run=run)
        await box_office.sold(database, [name], now, run=run)
    world.names[PASS] = await database.run(door_keys.sign, "tkt_zed_1", now=now)
    world.names[SCANNED] = now.isoformat()


async def given_away(world: World) -> None:
    """A ticket that was paid for, of a Space that is still to come."""
    runtime, now = world.runtime, world.runtime.now()
    told = {"host": world.names["host_ada"], "title": "Spring", "policy": CLUBHOUSE}
    start = now + timedelta(days=7)
    await spaces.schedule(runtime.database, "spc_three", **told, starts_at=start, now=now)
    named = {"name": "run_gift", "space": "spc_three", "refund_until_h": 24}
    tiers = (TierWish("Seat", minor=1000, id="tier_gift"),)
    await box_office.run(runtime.database, now, tiers=tiers, **named)
    made = await box_office.bought(runtime, world.box, "max", run="run_gift")
    world.names["tkt_gift"] = made.tickets[0].id


async def banked(world: World) -> None:
    """Stripe sends on to Ada's bank what she has in her account there."""
    account = await capabilities.look(
        world.runtime.database,
        world.runtime.stripe,
        world.names["host_ada"],
        now=world.runtime.now(),
    )
    world.box.state.balances[account.id or ""]["eur"].available = 1_200
    world.box.host_payout(account.id or "", "eur")
    await world.heard()


async def commissioned(world: World) -> None:
    """The platform has earned a commission that is available."""
    named = {"currency": "usd", "policy": "discord-2021", "shares": [("host_cyd", 10_000)]}
    await paying.evening(world.runtime, world.box, 10_000, **named)


async def earned(world: World, minor: int = 500) -> None:
    """Pia has earned that much, and could take it."""
    await paying.evening(world.runtime, world.box, minor, shares=((PIA, 10_000),))


async def payable(world: World) -> None:
    """Pia has earned something, has an account to be paid on, and is paid on request alone."""
    await earned(world)
    await paying.payee(world.runtime, world.box, PIA)
    now = world.runtime.now()
    await plans.edit(world.runtime.database, PIA, schedule="manual", now=now)


async def waiting(world: World) -> None:
    """A payout that somebody else asked for waits."""
    await earned(world)
    await _asked(world, "po_two")


async def waiting_too(world: World) -> None:
    """A larger one waits."""
    await earned(world, 1_500)
    await _asked(world, "po_three")


async def _asked(world: World, name: str) -> None:
    runtime = world.runtime
    await payouts.request(
        *(runtime.database, runtime.stripe, name, PIA, "eur"),
        actor="key_finance",
        approval={"eur": 1},
        now=runtime.now(),
    )


async def disputed(world: World) -> None:
    """Zoe's bank asks back what she paid for her first tip."""
    payment = await world.runtime.database.run(payments.get, world.names["pay_one"])
    world.names["dp_one"] = world.box.dispute(payment_intent=payment.intent_id)["id"]
    await world.heard()
