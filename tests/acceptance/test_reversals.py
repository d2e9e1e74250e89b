"""What was taken of a host after it had gone is asked back, once, as far as it is there."""

from datetime import timedelta

import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.money import Money
from takings.payments import asks, refunds
from takings.payouts import reversals
from tests import paying, stories


async def refunded(runtime: Runtime, name: str, payment: str, minor: int) -> None:
    """A part of a payment goes back."""
    await refunds.refund(
        runtime.database, runtime.stripe, name, payment, Money(minor, "eur"), now=runtime.now()
    )


async def recover(runtime: Runtime, *, minutes: int = 0) -> int:
    """What the worker does about debts, now or later."""
    now = runtime.now() + timedelta(minutes=minutes)
    return await reversals.recover(runtime.database, runtime.stripe, now=now)


async def states(runtime: Runtime) -> list[tuple[str, int]]:
    """Every reversal, in order: its state and its amount."""
    rows = await runtime.database.fetch(
        "SELECT state, minor FROM reversals ORDER BY created_at, minor DESC"
    )
    return [(row.state, row.minor) for row in rows]


async def test_a_refund_after_the_payout_is_asked_back_of_the_hosts_account(
    runtime: Runtime, box: Sandbox
) -> None:
    [payment] = await paying.evening(runtime, box, 500)
    account = await paying.payee(runtime, box)
    await paying.pay(runtime)
    await paying.hear(runtime, box)
    await refunded(runtime, "ref_1", payment, 200)
    assert await paying.available(runtime.database) == -200
    assert await recover(runtime) == 2  # looked at, and answered
    assert await recover(runtime) == 0
    await paying.hear(runtime, box)
    assert await recover(runtime) == 0
    assert (await paying.journal(runtime.database)).endswith(
        """
reversal:<id>:booked
  clearing:transfers +200 eur
  liabilities:host:host_ada:available -200 eur
txn:<id>
  assets:stripe:available +200 eur
  clearing:transfers -200 eur"""
    )
    assert await paying.available(runtime.database) == 0
    assert box.balance("eur", account)["available"] == 300
    assert await stories.guilty(runtime.database) == {}
    await paying.evening(runtime, box, 400)
    assert (await paying.pay(runtime, "po_2")).minor == 400
    assert await paying.paid(runtime, "po_2") == [
        ("refund", -200),
        ("returned_payout", 200),
        ("earning", 400),
    ]


async def test_what_the_account_does_not_have_stays_a_debt_until_it_is_earned(
    runtime: Runtime, box: Sandbox
) -> None:
    [payment] = await paying.evening(runtime, box, 500)
    account = await paying.payee(runtime, box)
    await paying.pay(runtime)
    box.host_payout(account, "eur")  # it is at the bank by now
    await refunded(runtime, "ref_1", payment, 200)
    await recover(runtime)
    assert await states(runtime) == [("refused", 200)]
    assert await paying.available(runtime.database) == -200
    await paying.evening(runtime, box, 500)
    assert (await paying.pay(runtime, "po_2")).minor == 300
    await paying.hear(runtime, box)
    assert await stories.guilty(runtime.database) == {}


async def test_the_newest_transfers_give_first_and_none_more_than_it_was(
    runtime: Runtime, box: Sandbox
) -> None:
    first = await paying.evening(runtime, box, 500, 400)
    await paying.payee(runtime, box)
    await paying.pay(runtime)
    box.advance(60)
    second = await paying.evening(runtime, box, 300)
    await paying.pay(runtime, "po_2")
    await refunded(runtime, "ref_1", second[0], 100)
    await recover(runtime)
    await refunded(runtime, "ref_2", first[0], 500)
    await recover(runtime)
    assert await states(runtime) == [("booked", 100), ("booked", 300), ("booked", 200)]
    await refunded(runtime, "ref_3", first[1], 400)
    await refunded(runtime, "ref_4", second[0], 200)
    await recover(runtime)
    rows = await runtime.database.fetch("SELECT minor, reversed FROM transfers ORDER BY minor")
    assert [(row.minor, row.reversed) for row in rows] == [(300, 300), (900, 900)]
    assert await paying.available(runtime.database) == 0
    await paying.hear(runtime, box)
    assert await stories.guilty(runtime.database) == {}


async def test_a_debt_that_was_earned_back_meanwhile_is_not_asked_for(
    runtime: Runtime, box: Sandbox
) -> None:
    [payment] = await paying.evening(runtime, box, 500)
    await paying.payee(runtime, box)
    await paying.pay(runtime)
    await refunded(runtime, "ref_1", payment, 200)
    await paying.evening(runtime, box, 150)
    await recover(runtime)
    assert await states(runtime) == [("booked", 50)]
    assert await paying.available(runtime.database) == 0


async def test_what_is_being_asked_back_is_not_asked_back_again(
    runtime: Runtime, box: Sandbox
) -> None:
    [payment] = await paying.evening(runtime, box, 500)
    account = await paying.payee(runtime, box)
    await paying.pay(runtime)
    await refunded(runtime, "ref_1", payment, 200)
    box.faults.call("timeout_with_effect", "/reversals$", times=3)
    await recover(runtime)
    await paying.hear(runtime, box)  # its cash has come, and nobody knows yet that it is ours
    assert await states(runtime) == [("asked", 200)]
    await refunded(runtime, "ref_2", payment, 100)
    await recover(runtime)
    assert await states(runtime) == [("booked", 200), ("booked", 100)]
    assert box.balance("eur", account)["available"] == 200
    await paying.hear(runtime, box)
    assert await recover(runtime) == 0
    assert await stories.guilty(runtime.database) == {}


async def test_a_reversal_whose_key_stripe_has_forgotten_is_found_among_its_transfers_own(
    runtime: Runtime, box: Sandbox
) -> None:
    [payment] = await paying.evening(runtime, box, 500)
    account = await paying.payee(runtime, box)
    await paying.pay(runtime)
    await refunded(runtime, "ref_1", payment, 200)
    box.faults.call("timeout_with_effect", "/reversals$", times=3)
    await recover(runtime)
    late = int(asks.KEY_LIFE / timedelta(minutes=1)) + 60
    await recover(runtime, minutes=late)
    assert await states(runtime) == [("booked", 200)]
    assert box.balance("eur", account)["available"] == 300


async def test_a_reversal_made_at_stripe_is_booked_once_when_its_cash_comes(
    runtime: Runtime, box: Sandbox
) -> None:
    await paying.evening(runtime, box, 500)
    await paying.payee(runtime, box)
    await paying.pay(runtime)
    [row] = await runtime.database.fetch("SELECT stripe_id FROM transfers")
    for minor in (191, 9):
        by_hand = {"id": row.stripe_id, "amount": minor}
        await runtime.stripe.ask("transfers.reversals.create", by_hand, f"by hand {minor}")
    await paying.hear(runtime, box)
    assert await recover(runtime) == 2
    assert await recover(runtime) == 0
    assert await states(runtime) == [("booked", 191), ("booked", 9)]
    assert await paying.available(runtime.database) == 200
    assert await stories.guilty(runtime.database) == {}
    assert (await paying.pay(runtime, "po_2")).minor == 200
    lines = [("returned_payout", 9), ("returned_payout", 191)]
    assert sorted(await paying.paid(runtime, "po_2")) == lines


async def test_what_failed_to_be_refunded_is_the_hosts_again_though_it_was_reversed(
    runtime: Runtime, box: Sandbox
) -> None:
    [payment] = await paying.evening(runtime, box, 500)
    await paying.payee(runtime, box)
    await paying.pay(runtime)
    await refunded(runtime, "ref_1", payment, 200)
    await recover(runtime)
    [row] = await runtime.database.fetch("SELECT stripe_id FROM refunds")
    box.fail_refund(row.stripe_id)
    await paying.hear(runtime, box)
    assert await paying.available(runtime.database) == 200
    assert (await paying.pay(runtime, "po_2")).minor == 200
    assert await paying.paid(runtime, "po_2") == [
        ("refund", -200),
        ("returned_payout", 200),
        ("refund_failed", 200),
    ]
    await paying.hear(runtime, box)
    assert await stories.guilty(runtime.database) == {}


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_reversal_that_stripe_did_not_answer_is_made_once(
    runtime: Runtime, box: Sandbox, times: int
) -> None:
    [payment] = await paying.evening(runtime, box, 500)
    account = await paying.payee(runtime, box)
    await paying.pay(runtime)
    await refunded(runtime, "ref_1", payment, 500)
    box.faults.call("timeout_with_effect", "/reversals$", times=times)
    await recover(runtime)
    await recover(runtime, minutes=2)
    assert await states(runtime) == [("booked", 500)]
    assert box.balance("eur", account)["available"] == 0
    await paying.hear(runtime, box)
    assert await stories.guilty(runtime.database) == {}
