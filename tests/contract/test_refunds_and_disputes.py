"""Money goes back by refunds and disputes, never more than there was."""

import pytest
import stripe

from sandbox import Sandbox
from tests.contract.conftest import Pay


async def test_refunds_in_pieces_never_exceed_the_charge(
    client: stripe.StripeClient, pay: Pay
) -> None:
    intent = await pay(1_000)
    create = client.v1.refunds.create_async
    await create({"payment_intent": intent.id, "amount": 400})
    with pytest.raises(stripe.InvalidRequestError) as too_much:
        await create({"charge": intent.latest_charge.id, "amount": 601})
    assert "greater than unrefunded amount" in str(too_much.value)
    rest = await create({"charge": intent.latest_charge.id, "reason": "duplicate"})
    assert rest.amount == 600
    with pytest.raises(stripe.InvalidRequestError) as again:
        await create({"payment_intent": intent.id})
    assert again.value.code == "charge_already_refunded"
    charge = await client.v1.charges.retrieve_async(
        intent.latest_charge.id, {"expand": ["refunds"]}
    )
    assert (charge.amount_refunded, charge.refunded) == (1_000, True)
    assert [refund.amount for refund in charge.refunds.data] == [600, 400]


async def test_a_refund_that_fails_brings_the_money_back(
    client: stripe.StripeClient, box: Sandbox, pay: Pay
) -> None:
    intent = await pay(1_000)
    refund = await client.v1.refunds.create_async({"payment_intent": intent.id})
    before = box.balance("eur")
    box.fail_refund(refund.id)
    failed = await client.v1.refunds.retrieve_async(
        refund.id, {"expand": ["failure_balance_transaction"]}
    )
    line = failed.failure_balance_transaction
    assert (failed.status, failed.failure_reason) == ("failed", "lost_or_stolen_card")
    assert (line.amount, line.reporting_category) == (1_000, "refund_failure")
    assert sum(box.balance("eur").values()) == sum(before.values()) + 1_000
    assert [e["type"] for e in box.events][-2:] == ["refund.updated", "refund.failed"]
    assert (await client.v1.refunds.create_async({"payment_intent": intent.id})).amount == 1_000


async def test_a_refund_that_waits_can_be_canceled(
    client: stripe.StripeClient, box: Sandbox, pay: Pay
) -> None:
    intent = await pay(1_000)
    refund = await client.v1.refunds.create_async({"payment_intent": intent.id})
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.refunds.cancel_async(refund.id)
    box.stall_refund(refund.id)
    assert (await client.v1.refunds.cancel_async(refund.id)).status == "canceled"


async def test_a_dispute_takes_the_amount_and_a_fee_and_may_give_it_back(
    client: stripe.StripeClient, box: Sandbox, pay: Pay
) -> None:
    intent = await pay(10_000, method="pm_card_createDispute")
    dispute = (await client.v1.disputes.list_async({"payment_intent": intent.id})).data[0]
    (taken,) = dispute.balance_transactions
    assert (taken.amount, taken.fee, taken.net) == (-10_000, 1_500, -11_500)
    assert (taken.type, taken.reporting_category) == ("adjustment", "dispute")
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        await client.v1.refunds.create_async({"payment_intent": intent.id})
    assert refusal.value.code == "charge_disputed"
    answered = await client.v1.disputes.update_async(
        dispute.id, {"evidence": {"uncategorized_text": "It was live."}, "submit": True}
    )
    assert answered.status == "under_review"
    box.close_dispute(dispute.id, "won", fee_back=True)
    won = await client.v1.disputes.retrieve_async(dispute.id)
    assert [line.net for line in won.balance_transactions] == [-11_500, 11_500]
    assert [e["type"] for e in box.events if "dispute" in e["type"]] == [
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.updated",
        "charge.dispute.funds_reinstated",
        "charge.dispute.closed",
    ]


async def test_an_inquiry_moves_no_money_until_it_becomes_a_dispute(
    client: stripe.StripeClient, box: Sandbox, pay: Pay
) -> None:
    intent = await pay(10_000)
    before = box.balance("eur")
    inquiry = box.dispute(payment_intent=intent.id, inquiry=True)
    assert (inquiry["status"], inquiry["balance_transactions"]) == ("warning_needs_response", [])
    assert box.balance("eur") == before
    box.withdraw_dispute(inquiry["id"])
    assert sum(box.balance("eur").values()) == sum(before.values()) - 11_500
    lost = await client.v1.disputes.close_async(inquiry["id"])
    assert lost.status == "lost"
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.disputes.close_async(inquiry["id"])
