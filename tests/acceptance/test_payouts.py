"""A payout takes all that is available, says what it pays, and goes out once."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from api.runtime import Runtime
from api.settings import sealed
from sandbox.control import Sandbox
from takings.database import LawBroken
from takings.errors import NotFound
from takings.money import Money
from takings.payments import asks, refunds
from takings.payments.stripe import StripeRefused
from takings.payouts import payouts, plans, transfers, upcoming
from takings.payouts.plans import HostPaused
from tests import paying, stories


async def test_a_payout_is_requested_sent_and_cleared_by_its_cash(
    runtime: Runtime, box: Sandbox
) -> None:
    await paying.evening(runtime, box, 911)
    account = await paying.payee(runtime, box)
    payout = await paying.pay(runtime)
    assert (payout.state, payout.minor, payout.currency) == ("sent", 911, "eur")
    await paying.hear(runtime, box)
    assert (
        await paying.journal(runtime.database)
        == """\
payout:po_1:requested
  liabilities:host:host_ada:available +911 eur
  liabilities:host:host_ada:in_transit -911 eur
transfer:<id>:sent
  liabilities:host:host_ada:in_transit +911 eur
  clearing:transfers -911 eur
txn:<id>
  assets:stripe:available -911 eur
  clearing:transfers +911 eur"""
    )
    assert await paying.paid(runtime, "po_1") == [("earning", 911)]
    assert box.balance("eur", account) == {"available": 911, "pending": 0}
    [call] = box.calls("POST", "/v1/transfers")
    assert call.params["transfer_group"] == "po_1"
    assert "source_transaction" not in call.params
    assert await stories.guilty(runtime.database) == {}


async def test_asking_again_by_the_same_id_pays_once(runtime: Runtime, box: Sandbox) -> None:
    await paying.evening(runtime, box, 500)
    await paying.payee(runtime, box)
    for _ in range(3):
        assert (await paying.pay(runtime)).state == "sent"
    assert len(box.calls("POST", "/v1/transfers")) == 1
    with pytest.raises(payouts.PayoutDiffers):
        await paying.pay(runtime, currency="usd")
    with pytest.raises(payouts.NothingToPay):
        await paying.pay(runtime, "po_2")


async def test_what_cannot_be_paid_says_why_and_writes_nothing(
    runtime: Runtime, box: Sandbox
) -> None:
    database, now = runtime.database, runtime.now()
    with pytest.raises(NotFound):
        await paying.pay(runtime)
    await paying.evening(runtime, box, 500)
    with pytest.raises(payouts.HostNotPayable):
        await paying.pay(runtime)
    await paying.payee(runtime, box)
    await plans.pause(database, "host_ada", why="a review", actor="key_finance", now=now)
    with pytest.raises(HostPaused, match="a review"):
        await paying.pay(runtime)
    await plans.resume(database, "host_ada", now=now)
    await plans.edit(database, "host_ada", schedule="manual", minimums={"eur": 501}, now=now)
    with pytest.raises(payouts.BelowPayoutMinimum, match=r"5\.00 EUR is less than the 5\.01"):
        await paying.pay(runtime)
    with pytest.raises(payouts.NothingToPay):
        await paying.pay(runtime, currency="usd")
    assert await paying.journal(database) == ""
    await plans.edit(database, "host_ada", schedule="manual", minimums={"eur": 500}, now=now)
    assert (await paying.pay(runtime)).state == "sent"


@pytest.mark.parametrize(
    ("currency", "tips", "paid", "left"),
    [
        ("huf", (50_050, 30_025), 80_000, 75),  # charged with two decimals, paid out in whole units
        ("twd", (50_050, 30_025), 80_000, 75),
        ("isk", (50_000, 30_000), 80_000, 0),  # two decimals that are always 00
        ("kwd", (50_010, 30_020), 80_030, 0),  # three decimals, the last always 0
        ("jpy", (501, 77), 578, 0),
        ("eur", (501, 77), 578, 0),
    ],
)
async def test_what_the_currency_cannot_pay_out_is_carried_into_the_next_payout(
    runtime: Runtime, box: Sandbox, currency: str, tips: tuple[int, int], paid: int, left: int
) -> None:
    policy = await paying.world(runtime, box)
    await paying.evening(runtime, box, *tips, currency=currency, policy=policy)
    await paying.payee(runtime, box)
    assert (await paying.pay(runtime, currency=currency)).minor == paid
    carried = [("carried", -left)] if left else []
    earned = [("earning", tip) for tip in tips]
    assert await paying.paid(runtime, "po_1", page=2) == [*earned, *carried]
    assert await paying.available(runtime.database, currency=currency) == left
    more = 60_000 - left
    await paying.evening(runtime, box, more, currency=currency, policy=policy)
    payout = await paying.pay(runtime, "po_2", currency=currency)
    brought = [("brought", left)] if left else []
    assert await paying.paid(runtime, "po_2", page=1) == [*brought, ("earning", more)]
    assert payout.minor == more + left
    await paying.hear(runtime, box)
    assert await stories.guilty(runtime.database) == {}


async def test_each_currency_has_payouts_of_its_own(runtime: Runtime, box: Sandbox) -> None:
    await paying.evening(runtime, box, 500)
    await paying.evening(runtime, box, 700, currency="usd")
    await paying.payee(runtime, box)
    assert (await paying.pay(runtime, "po_usd", currency="usd")).minor == 700
    assert (await paying.pay(runtime, "po_eur")).minor == 500
    assert await paying.paid(runtime, "po_usd") == [("earning", 700)]
    await paying.hear(runtime, box)
    assert await stories.guilty(runtime.database) == {}


async def test_a_payout_above_the_threshold_waits_for_another_person(
    runtime: Runtime, box: Sandbox
) -> None:
    database, door, now = runtime.database, runtime.stripe, runtime.now()
    await paying.evening(runtime, box, 500, 600)
    await paying.payee(runtime, box)
    payout = await paying.pay(runtime, approval={"eur": 1099})
    assert payout.state == "waiting"
    await paying.paying(runtime)
    assert not box.calls("POST", "/v1/transfers")
    with pytest.raises(payouts.SamePerson):
        await payouts.approve(database, door, "po_1", actor="key_ada", now=now)
    with pytest.raises(payouts.PayoutUnderWay):
        await paying.pay(runtime, "po_2")
    await plans.pause(database, "host_ada", why="a review", now=now)
    with pytest.raises(HostPaused):
        await payouts.approve(database, door, "po_1", actor="key_bob", now=now)
    await plans.resume(database, "host_ada", now=now)
    for _ in range(2):
        payout = await payouts.approve(database, door, "po_1", actor="key_bob", now=now)
        assert (payout.state, payout.approved_by) == ("sent", "key_bob")
    with pytest.raises(payouts.NotWaiting):
        await payouts.approve(database, door, "po_1", actor="key_cleo", now=now)
    with pytest.raises(payouts.NotWaiting):
        await payouts.refuse(database, "po_1", why="too late", now=now)
    await paying.hear(runtime, box)
    assert await stories.guilty(runtime.database) == {}


async def test_control_the_database_itself_lets_nobody_approve_their_own(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await paying.evening(runtime, box, 500)
    await paying.payee(runtime, box)
    await paying.pay(runtime, approval={"eur": 1})
    monkeypatch.setattr(
        payouts, "LOCK", payouts.LOCK.replace("requested_by", "'x' AS requested_by")
    )
    with pytest.raises(LawBroken, match="payouts_by_another_person"):
        await payouts.approve(
            runtime.database, runtime.stripe, "po_1", actor="key_ada", now=runtime.now()
        )


async def test_a_payout_that_a_person_refuses_gives_the_money_back(
    runtime: Runtime, box: Sandbox
) -> None:
    await paying.evening(runtime, box, 500)
    await paying.payee(runtime, box)
    await paying.pay(runtime, approval={"eur": 1})
    for _ in range(2):
        payout = await payouts.refuse(runtime.database, "po_1", why="not yet", now=runtime.now())
        assert (payout.state, payout.error) == ("refused", "not yet")
    assert await paying.available(runtime.database) == 500
    assert (await paying.pay(runtime, "po_2")).minor == 500
    assert await paying.paid(runtime, "po_2") == [("earning", 500)]
    await paying.hear(runtime, box)
    assert await stories.guilty(runtime.database) == {}


async def test_a_payout_that_stripe_refuses_is_in_the_next_one_with_what_came_since(
    runtime: Runtime, box: Sandbox
) -> None:
    await paying.evening(runtime, box, 500)
    account = await paying.payee(runtime, box)
    box.faults.call("balance_insufficient", "/v1/transfers$")
    with pytest.raises(StripeRefused):
        await paying.pay(runtime)
    refused = await runtime.database.run(payouts.get, "po_1")
    assert refused.state == "refused"
    assert "nsufficient" in (refused.error or "")
    await paying.evening(runtime, box, 300)
    payout = await paying.pay(runtime, "po_2")
    assert (payout.state, payout.minor) == ("sent", 800)
    assert await paying.paid(runtime, "po_1") == [("earning", 500)]
    assert await paying.paid(runtime, "po_2") == [("earning", 500), ("earning", 300)]
    await paying.hear(runtime, box)
    assert (
        await paying.journal(runtime.database)
        == """\
payout:po_1:requested
  liabilities:host:host_ada:available +500 eur
  liabilities:host:host_ada:in_transit -500 eur
payout:po_1:refused
  liabilities:host:host_ada:available -500 eur
  liabilities:host:host_ada:in_transit +500 eur
payout:po_2:requested
  liabilities:host:host_ada:available +800 eur
  liabilities:host:host_ada:in_transit -800 eur
transfer:<id>:sent
  liabilities:host:host_ada:in_transit +800 eur
  clearing:transfers -800 eur
txn:<id>
  assets:stripe:available -800 eur
  clearing:transfers +800 eur"""
    )
    assert box.balance("eur", account)["available"] == 800
    assert await stories.guilty(runtime.database) == {}


async def test_an_account_that_was_closed_is_paid_nothing_and_loses_nothing(
    runtime: Runtime, box: Sandbox
) -> None:
    await paying.evening(runtime, box, 500)
    account = await paying.payee(runtime, box)
    box.capability(account, "restricted")  # and we have not heard of it yet
    with pytest.raises(StripeRefused):
        await paying.pay(runtime)
    await paying.hear(runtime, box)
    with pytest.raises(payouts.HostNotPayable):
        await paying.pay(runtime, "po_2")
    assert await paying.available(runtime.database) == 500
    assert await stories.guilty(runtime.database) == {}


async def test_a_refund_after_the_payout_is_netted_from_the_next_one(
    runtime: Runtime, box: Sandbox
) -> None:
    database, now = runtime.database, runtime.now()
    payment, _ = await paying.evening(runtime, box, 500, 400)
    await paying.payee(runtime, box)
    await paying.pay(runtime)
    await refunds.refund(database, runtime.stripe, "ref_1", payment, Money(200, "eur"), now=now)
    assert await paying.available(database) == -200
    with pytest.raises(payouts.NothingToPay):
        await paying.pay(runtime, "po_2")
    await paying.evening(runtime, box, 300)
    assert (await paying.pay(runtime, "po_2")).minor == 100
    assert await paying.paid(runtime, "po_2") == [("refund", -200), ("earning", 300)]
    await paying.hear(runtime, box)
    assert await stories.guilty(database) == {}


@pytest.mark.parametrize("fault", ["timeout_with_effect", "timeout_without_effect", "503", "409"])
async def test_while_stripe_is_away_the_payout_is_under_way_and_goes_out_once_later(
    runtime: Runtime, box: Sandbox, fault: str
) -> None:
    await paying.evening(runtime, box, 500)
    account = await paying.payee(runtime, box)
    box.faults.call(fault, "/v1/transfers$", times=3)
    assert (await paying.pay(runtime)).state == "sending"
    assert await transfers.send(runtime.database, runtime.stripe, now=stories.later(minutes=2)) == 1
    assert (await runtime.database.run(payouts.get, "po_1")).state == "sent"
    assert box.balance("eur", account)["available"] == 500
    await paying.hear(runtime, box)
    assert await stories.guilty(runtime.database) == {}


async def test_a_transfer_whose_key_stripe_has_forgotten_is_looked_up_among_its_payouts_own(
    runtime: Runtime, box: Sandbox
) -> None:
    await paying.evening(runtime, box, 500)
    account = await paying.payee(runtime, box)
    box.faults.call("timeout_with_effect", "/v1/transfers$", times=3)
    await paying.pay(runtime)
    late = runtime.now() + asks.KEY_LIFE + timedelta(hours=1)
    assert await transfers.send(runtime.database, runtime.stripe, now=late) == 1
    assert (await runtime.database.run(payouts.get, "po_1")).state == "sent"
    assert box.balance("eur", account)["available"] == 500
    [listed] = box.calls("GET", "/v1/transfers")
    assert listed.params["transfer_group"] == "po_1"
    box.faults.call("timeout_without_effect", "/v1/transfers$", times=3)
    await paying.evening(runtime, box, 300)
    await paying.pay(runtime, "po_2")
    later = runtime.now() + asks.KEY_LIFE + timedelta(hours=1)
    assert await transfers.send(runtime.database, runtime.stripe, now=later) == 1
    assert (await runtime.database.run(payouts.get, "po_2")).state == "refused"
    assert await paying.available(runtime.database) == 300


async def test_a_transfer_that_stripe_failed_on_is_looked_up_until_its_key_is_forgotten(
    runtime: Runtime, box: Sandbox
) -> None:
    await paying.evening(runtime, box, 500)
    await paying.payee(runtime, box)
    box.faults.call("500", "/v1/transfers$")
    assert (await paying.pay(runtime)).state == "sending"
    assert await transfers.send(runtime.database, runtime.stripe, now=stories.later(minutes=2)) == 0
    assert (await runtime.database.run(payouts.get, "po_1")).state == "sending"  # it may still come
    late = runtime.now() + asks.KEY_LIFE + timedelta(hours=1)
    assert await transfers.send(runtime.database, runtime.stripe, now=late) == 1
    assert (await runtime.database.run(payouts.get, "po_1")).state == "refused"
    assert await paying.available(runtime.database) == 500


async def test_the_next_payout_is_announced_with_its_day_and_an_estimate(
    runtime: Runtime, box: Sandbox
) -> None:
    database, now = runtime.database, runtime.now()

    async def next_one() -> tuple[int, str | None, bool]:
        [found] = await database.run(upcoming.of, "host_ada", now)
        return found.estimate.minor, found.why, found.on is not None

    await paying.evening(runtime, box, 500)
    assert await next_one() == (500, "no_account", False)
    await paying.payee(runtime, box)
    assert await next_one() == (500, None, True)
    [found] = await database.run(upcoming.of, "host_ada", now)
    assert found.on == now.date() + timedelta(days=1)
    await plans.edit(database, "host_ada", schedule="daily", minimums={"eur": 501}, now=now)
    assert await next_one() == (500, "below_minimum", False)
    await plans.pause(database, "host_ada", why="a review", now=now)
    assert await next_one() == (500, "paused", False)
    await plans.resume(database, "host_ada", now=now)
    await plans.edit(database, "host_ada", schedule="manual", now=now)
    assert await next_one() == (500, "on_request", False)


@pytest.mark.parametrize("text", ["eur", "eur:", "xyz:100", "eur:1.5", "eur:100:1"])
def test_a_threshold_that_says_nothing_clear_is_refused_at_the_start(text: str) -> None:
    assert sealed(payout_approval="eur:100000, usd:1").payout_approval == {"eur": 100_000, "usd": 1}
    with pytest.raises(ValidationError):
        sealed(payout_approval=text)
