"""An offer is bought with money as any hold, or goes on to the next, whatever Stripe is doing."""

from datetime import timedelta

from api import worker
from api.runtime import Runtime
from sandbox.control import Sandbox
from tests import box_office, stories
from ticketing import holds, purchases, waitlist
from ticketing.purchases import PurchaseWish
from ticketing.waitlist import WaitWish


async def paying(runtime: Runtime) -> str:
    """The only seat is offered to Ada, who pays for it, while Bob waits; her intent."""
    database, now = runtime.database, runtime.now()
    await box_office.run(database, now, size=1)
    await box_office.claim(database, "early", now=now)
    for n, name in enumerate(("ada", "bob")):
        wish = WaitWish(f"wait_{name}", "run_one", f"lis_{name}")
        await waitlist.join(database, wish, now=now + timedelta(seconds=n))
    await holds.release(database, "hold_early", "lis_early", now=now)
    offer = await waitlist.get(database, "wait_ada", now=now)
    buys = PurchaseWish("pur_ada", offer.hold or "", "lis_ada", surface="intent")
    bought = await purchases.open(database, runtime.stripe, buys, now=now)
    assert bought.payment is not None
    return bought.payment.intent_id or ""


async def states(runtime: Runtime) -> list[str]:
    """Where Ada and Bob have come to, and Ada's purchase."""
    rows = await runtime.database.fetch("SELECT state FROM waiting ORDER BY id")
    bought = await purchases.get(runtime.database, "pur_ada")
    assert await stories.guilty(runtime.database) == {}
    return [*(row.state for row in rows), bought.state]


async def test_an_offer_is_extended_to_twice_its_own_time(runtime: Runtime) -> None:
    database, now = runtime.database, runtime.now()
    await box_office.run(database, now, size=1, hold_s=600, offer_s=60)
    await box_office.claim(database, "early", now=now)
    await waitlist.join(database, WaitWish("wait_ada", "run_one", "lis_ada"), now=now)
    await holds.release(database, "hold_early", "lis_early", now=now)
    offer = await waitlist.get(database, "wait_ada", now=now)
    for _ in range(2):
        held = await holds.extend(database, offer.hold or "", "lis_ada")
        assert held.expires_at == now + timedelta(seconds=120)


async def test_an_offer_that_is_paid_is_taken(runtime: Runtime, box: Sandbox) -> None:
    box.pay(await paying(runtime))
    await stories.hear(runtime, box)
    assert await states(runtime) == ["taken", "waiting", "settled"]
    assert await box_office.left(runtime.database) == (1, 0, 1)


async def test_an_offer_whose_time_is_over_while_it_is_paid_ends_at_stripe_first(
    runtime: Runtime, box: Sandbox
) -> None:
    await paying(runtime)
    over = stories.later(hours=3)
    await holds.sweep(runtime.database, now=over)
    assert await states(runtime) == ["offered", "waiting", "open"]
    await worker.drain(runtime, over)
    await stories.hear(runtime, box, now=over)
    assert await states(runtime) == ["lapsed", "offered", "cancelled"]


async def test_who_leaves_while_paying_gives_the_seat_to_the_next_once_stripe_has_ended_it(
    runtime: Runtime, box: Sandbox
) -> None:
    await paying(runtime)
    for _ in range(2):
        left = await waitlist.leave(runtime.database, "wait_ada", now=runtime.now())
        assert left.state == "offered"
    await stories.hear(runtime, box)
    assert await states(runtime) == ["lapsed", "offered", "cancelled"]


async def test_who_leaves_and_has_paid_that_moment_has_the_ticket(
    runtime: Runtime, box: Sandbox
) -> None:
    intent = await paying(runtime)
    box.pay(intent)
    await waitlist.leave(runtime.database, "wait_ada", now=runtime.now())
    await stories.hear(runtime, box)
    assert await states(runtime) == ["taken", "waiting", "settled"]
