"""Every balance is the sum of its balance transactions, and lists page as Stripe's do."""

import pytest
import stripe

from sandbox import Sandbox
from tests.contract.conftest import Pay

DAY = 86_400


async def lines(client: stripe.StripeClient, **params: object) -> list[stripe.BalanceTransaction]:
    page = await client.v1.balance_transactions.list_async({"limit": 100, **params})
    return [line async for line in page.auto_paging_iter()]


async def test_the_balance_is_the_sum_of_its_transactions(
    client: stripe.StripeClient, box: Sandbox, pay: Pay
) -> None:
    first = await pay(10_000)
    await pay(2_000, method="pm_card_bypassPending")
    await client.v1.refunds.create_async({"payment_intent": first.id, "amount": 3_000})
    box.dispute(payment_intent=first.id)
    for days in (0, 4):
        box.advance(days * DAY)
        found = await lines(client)
        balance = await client.v1.balance.retrieve_async()
        for status, parts in (("available", balance.available), ("pending", balance.pending)):
            total = sum(line.net for line in found if line.status == status)
            assert [(part.currency, part.amount) for part in parts] == [("eur", total)]
    assert [event["type"] for event in box.events][-1] == "balance.available"


async def test_fees_follow_the_schedule_rounded_half_up(
    client: stripe.StripeClient, box: Sandbox, pay: Pay
) -> None:
    assert (await pay(500)).latest_charge.balance_transaction.fee == 45  # 14.5 → 15, and 30
    box.fee("eur", basis_points=150, fixed=25)
    assert (await pay(500)).latest_charge.balance_transaction.fee == 33
    intent = await client.v1.payment_intents.create_async({"amount": 500, "currency": "eur"})
    box.fee(payment_intent=intent.id, amount=7)
    box.pay(intent.id)
    newest = (await lines(client))[0]
    assert (newest.fee, newest.net, newest.fee_details[0].amount) == (7, 493, 7)


async def test_lists_page_newest_first_in_both_directions(
    client: stripe.StripeClient, pay: Pay
) -> None:
    for amount in range(100, 107):
        await pay(amount)
    everything = [line.amount for line in await lines(client)]
    assert everything == [106, 105, 104, 103, 102, 101, 100]
    listing = client.v1.balance_transactions.list_async
    first = await listing({"limit": 3})
    assert [line.amount for line in first.data] == [106, 105, 104]
    assert first.has_more
    second = await listing({"limit": 3, "starting_after": first.data[-1].id})
    assert [line.amount for line in second.data] == [103, 102, 101]
    back = await listing({"limit": 2, "ending_before": second.data[-1].id})
    assert [line.amount for line in back.data] == [103, 102]
    assert back.has_more
    small = [line.amount async for line in (await listing({"limit": 2})).auto_paging_iter()]
    assert small == everything


async def test_lists_are_filtered_by_time_type_currency_and_source(
    client: stripe.StripeClient, box: Sandbox, pay: Pay
) -> None:
    early = await pay(1_000)
    box.advance(100)
    late = await pay(2_000, "usd")
    refund = await client.v1.refunds.create_async({"payment_intent": late.id})
    moment = late.latest_charge.balance_transaction.created
    assert [x.amount for x in await lines(client, created={"lt": moment})] == [1_000]
    assert [x.amount for x in await lines(client, created={"gte": moment})] == [-2_000, 2_000]
    assert [x.amount for x in await lines(client, currency="eur")] == [1_000]
    assert [x.amount for x in await lines(client, type="refund")] == [-2_000]
    assert [x.amount for x in await lines(client, source=refund.id)] == [-2_000]
    assert [x.amount for x in await lines(client, source=early.latest_charge.id)] == [1_000]
    sources = [line.source for line in await lines(client, expand=["data.source"])]
    assert [source.object for source in sources] == ["refund", "charge", "charge"]


async def test_a_platform_payout_leaves_at_once_and_may_come_back(
    client: stripe.StripeClient, box: Sandbox, pay: Pay
) -> None:
    await pay(10_000, method="pm_card_bypassPending")
    payout = await client.v1.payouts.create_async({"amount": 9_000, "currency": "eur"})
    assert box.balance("eur")["available"] == 680
    with pytest.raises(stripe.InvalidRequestError) as manual:
        await lines(client, payout=payout.id)
    assert "automatic" in str(manual.value)
    box.advance(3 * DAY)
    assert (await client.v1.payouts.retrieve_async(payout.id)).status == "paid"
    box.fail_payout(payout.id)
    failed = await client.v1.payouts.retrieve_async(
        payout.id, {"expand": ["failure_balance_transaction"]}
    )
    assert failed.failure_balance_transaction.reporting_category == "payout_reversal"
    assert box.balance("eur")["available"] == 9_680
    told = [e["type"] for e in box.events if e["type"].startswith("payout")]
    assert told == ["payout.created", "payout.updated", "payout.paid", "payout.failed"]
    with pytest.raises(stripe.InvalidRequestError) as short:
        await client.v1.payouts.create_async({"amount": 9_681, "currency": "eur"})
    assert short.value.code == "balance_insufficient"


async def test_a_payout_can_be_canceled_before_it_has_left(
    client: stripe.StripeClient, box: Sandbox, pay: Pay
) -> None:
    await pay(10_000, method="pm_card_bypassPending")
    payout = await client.v1.payouts.create_async({"amount": 9_000, "currency": "eur"})
    assert (await client.v1.payouts.cancel_async(payout.id)).status == "canceled"
    assert box.balance("eur") == {"available": 9_680, "pending": 0}
