"""A tip goes all the way: sent, paid, settled, cashed, released, refunded."""

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.money import Money
from takings.payments import refunds
from takings.spaces import spaces
from tests import stories


async def test_a_tip_is_shared_to_the_cent_and_the_listener_covers_the_card(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await stories.paid_tip(runtime, box, 500)
    assert sent.state == "settled"
    payment, txn = sent.payment.id, box.state.table("balance_transaction").rows[-1]["id"]
    assert (
        await stories.told(runtime.database)
        == f"""\
payment:{payment}:earned
  clearing:charges +546 eur
  liabilities:host:host_ada:held -300 eur
  liabilities:host:host_bob:held -200 eur
  income:fees_covered -46 eur
txn:{txn}
  assets:stripe:pending +500 eur
  expenses:stripe_fees +46 eur
  clearing:charges -546 eur"""
    )
    assert await stories.guilty(runtime.database) == {}


async def test_money_is_released_when_the_room_has_ended_and_stripe_has_it(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await stories.paid_tip(runtime, box, 500)
    await stories.hear(runtime, box, now=stories.later(days=30))
    assert ":released" not in await stories.told(runtime.database)
    await spaces.move(runtime.database, "spc_one", "ended", now=stories.later(days=30))
    await stories.hear(runtime, box, now=stories.later(days=31))
    assert (
        f"""\
payment:{sent.payment.id}:released
  liabilities:host:host_ada:held +300 eur
  liabilities:host:host_ada:available -300 eur
  liabilities:host:host_bob:held +200 eur
  liabilities:host:host_bob:available -200 eur"""
        in await stories.told(runtime.database)
    )
    assert await stories.guilty(runtime.database) == {}


async def test_a_refund_in_pieces_takes_back_exactly_what_was_given(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await stories.paid_tip(runtime, box, 500)
    for place, minor in enumerate((101, 7, 392), 1):
        done = await refunds.refund(
            runtime.database,
            runtime.stripe,
            f"ref_{place}",
            sent.payment.id,
            Money(minor, "eur"),
            now=runtime.now(),
        )
        assert done.state == "booked"
    await stories.hear(runtime, box)
    journal = await stories.told(runtime.database)
    for line in ("ada:held +", "bob:held +"):
        assert journal.count(line) == 3
    assert await stories.guilty(runtime.database) == {}
