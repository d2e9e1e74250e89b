"""Stripe's fee: the host's where the policy says so, known before or after the tip is settled."""

from dataclasses import replace
from datetime import datetime

import pytest

from api.runtime import Runtime
from api.settlement import SETTLEMENT
from sandbox.control import Sandbox
from takings.commission import Tier
from takings.money import Money
from takings.payments import objects, refunds, sweeps, webhooks
from takings.policies import policies
from takings.policies.presets import PRESETS
from tests import stories

TERMS = replace(
    PRESETS[stories.CLUBHOUSE].terms["eur"], tiers=(Tier(up_to=None, rate_bps=300),), maximum=10_000
)
HOST_BEARS = replace(
    PRESETS[stories.CLUBHOUSE], name="host-bears", fee_bearer="host", terms={"eur": TERMS}
)


async def sent_and_paid(runtime: Runtime, box: Sandbox) -> str:
    """A tip of 10.00 at 3 % whose host bears the fee; paid, but nobody has told us yet."""
    await policies.publish(runtime.database, HOST_BEARS, now=runtime.now())
    await stories.room(
        runtime.database, runtime.now(), shares=[("host_ada", 10_000)], policy="host-bears"
    )
    sent = await stories.tip(runtime, 1000)
    box.pay(sent.payment.intent_id)
    return sent.payment.id


async def hear_of_the_payment(runtime: Runtime, box: Sandbox) -> None:
    """The events arrive; no cash is swept."""
    notices = [("account", objects.notice(event)) for event in box.events]
    await webhooks.receive(runtime.database, notices, now=runtime.now())
    await webhooks.process(runtime.database, runtime.stripe, SETTLEMENT, now=runtime.now())


async def hear_of_the_cash(runtime: Runtime, _: Sandbox) -> None:
    """The cash is swept."""
    since = datetime.fromtimestamp(0, runtime.now().tzinfo)
    await sweeps.all_cash(
        runtime.database, runtime.stripe, SETTLEMENT, since=since, now=runtime.now()
    )


@pytest.mark.parametrize("order", ["payment first", "cash first"])
async def test_the_fee_is_passed_to_the_host_once_whichever_is_known_first(
    runtime: Runtime, box: Sandbox, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    payment = await sent_and_paid(runtime, box)
    steps = [hear_of_the_payment, hear_of_the_cash]
    if order == "cash first":  # as when a charge's own proof is not of the page
        monkeypatch.setattr(sweeps, "_proof", lambda _: None)
        steps.reverse()
    for step in (*steps, *steps):
        await step(runtime, box)
    txn = box.state.table("balance_transaction").rows[-1]["id"]
    assert (
        await stories.told(runtime.database)
        == f"""\
payment:{payment}:earned
  clearing:charges +1000 eur
  liabilities:host:host_ada:held -970 eur
  income:commission:tips -30 eur
payment:{payment}:fee_passed
  liabilities:host:host_ada:held +59 eur
  expenses:stripe_fees -59 eur
txn:{txn}
  assets:stripe:pending +941 eur
  expenses:stripe_fees +59 eur
  clearing:charges -1000 eur"""
    )
    assert await stories.guilty(runtime.database) == {}


async def test_what_is_released_is_what_the_fee_has_left(runtime: Runtime, box: Sandbox) -> None:
    payment = await sent_and_paid(runtime, box)
    await stories.hear(runtime, box)
    await stories.end(runtime, box)
    assert (
        f"""\
payment:{payment}:released
  liabilities:host:host_ada:held +911 eur
  liabilities:host:host_ada:available -911 eur"""
        in await stories.told(runtime.database)
    )
    assert await stories.guilty(runtime.database) == {}


GIVES_BACK = replace(HOST_BEARS, name="gives-back", refund_fee_bearer="platform")


async def refunded(runtime: Runtime, payment: str, minor: int, name: str = "ref_one") -> str:
    """A refund of so much, and Stripe's id of it."""
    found = await refunds.refund(
        runtime.database,
        runtime.stripe,
        name,
        payment,
        Money(minor, "eur"),
        now=runtime.now(),
    )
    return found.stripe_id or ""


async def test_a_passed_fee_comes_back_with_the_refund_and_goes_again_when_that_fails(
    runtime: Runtime, box: Sandbox
) -> None:
    await policies.publish(runtime.database, GIVES_BACK, now=runtime.now())
    await stories.room(
        runtime.database, runtime.now(), shares=[("host_ada", 10_000)], policy="gives-back"
    )
    sent = await stories.paid_tip(runtime, box, 1000)
    refund = await refunded(runtime, sent.payment.id, 500)
    await stories.hear(runtime, box)
    assert (
        """\
refund:ref_one:fee_returned
  liabilities:host:host_ada:held -30 eur
  expenses:stripe_fees +30 eur"""
        in await stories.told(runtime.database)
    )
    assert await stories.owed(runtime.database, "eur") == {"host_ada": 485 - 29}
    box.fail_refund(refund)
    await stories.hear(runtime, box)
    assert await stories.owed(runtime.database, "eur") == {"host_ada": 970 - 59}
    assert await stories.guilty(runtime.database, short=True) == {}


async def test_a_fee_that_is_known_after_the_refund_is_passed_without_the_refunds_part(
    runtime: Runtime, box: Sandbox
) -> None:
    await policies.publish(runtime.database, GIVES_BACK, now=runtime.now())
    await stories.room(
        runtime.database, runtime.now(), shares=[("host_ada", 10_000)], policy="gives-back"
    )
    sent = await stories.tip(runtime, 1000)
    box.pay(sent.payment.intent_id)
    await hear_of_the_payment(runtime, box)
    await refunded(runtime, sent.payment.id, 500)
    await stories.hear(runtime, box)
    assert await stories.owed(runtime.database, "eur") == {"host_ada": 485 - 29}
    assert await stories.guilty(runtime.database, short=True) == {}
