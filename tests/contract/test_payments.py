"""Payment intents go through Stripe's states, on every road."""

import httpx
import pytest
import stripe

from sandbox import Sandbox
from tests.contract.conftest import Pay

DAY = 86_400


def types(box: Sandbox) -> list[str]:
    return [event["type"] for event in box.events]


async def test_a_card_pays_at_once_and_the_fee_comes_with_charge_updated(
    box: Sandbox, pay: Pay
) -> None:
    intent = await pay(546, metadata={"payment": "p1"})
    charge = intent.latest_charge
    assert (intent.status, intent.amount_received) == ("succeeded", 546)
    assert charge.metadata.to_dict() == {"payment": "p1"}
    assert (charge.balance_transaction.fee, charge.balance_transaction.net) == (46, 500)
    assert types(box) == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "charge.updated",
    ]
    assert box.events[1]["data"]["object"]["balance_transaction"] is None
    assert box.events[3]["data"]["previous_attributes"] == {"balance_transaction": None}


async def test_the_balance_transaction_may_come_later_or_at_once(box: Sandbox, pay: Pay) -> None:
    box.settings.transaction_delay = 60
    late = await pay()
    assert late.latest_charge.balance_transaction is None
    assert box.balance("eur") == {"available": 0, "pending": 0}
    box.advance(60)
    assert types(box)[-1] == "charge.updated"
    assert box.balance("eur") == {"available": 0, "pending": 9_680}
    box.settings.transaction_delay = None
    at_once = await pay()
    succeeded = [e for e in box.events if e["type"] == "charge.succeeded"][-1]["data"]["object"]
    assert succeeded["balance_transaction"] == at_once.latest_charge.balance_transaction.id


@pytest.mark.parametrize(
    ("method", "decline"),
    [
        ("pm_card_chargeDeclined", "generic_decline"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "insufficient_funds"),
    ],
)
async def test_a_declined_card_is_402_and_leaves_the_intent_open(
    box: Sandbox, client: stripe.StripeClient, pay: Pay, method: str, decline: str
) -> None:
    with pytest.raises(stripe.CardError) as refusal:
        await pay(method=method)
    assert refusal.value.http_status == 402
    assert refusal.value.error.decline_code == decline
    intent = refusal.value.error.payment_intent
    assert (intent.status, intent.last_payment_error.code) == (
        "requires_payment_method",
        "card_declined",
    )
    assert types(box)[-2:] == ["charge.failed", "payment_intent.payment_failed"]
    paid = await client.v1.payment_intents.confirm_async(
        intent.id, {"payment_method": "pm_card_visa"}
    )
    assert paid.status == "succeeded"
    charges = await client.v1.charges.list_async({"payment_intent": intent.id})
    assert [charge.status for charge in charges.data] == ["succeeded", "failed"]


async def test_an_authorisation_is_captured_in_part(
    client: stripe.StripeClient, box: Sandbox, pay: Pay
) -> None:
    intent = await pay(capture_method="manual")
    assert (intent.status, intent.amount_capturable) == ("requires_capture", 10_000)
    assert not intent.latest_charge.captured
    assert box.balance("eur") == {"available": 0, "pending": 0}
    intent = await client.v1.payment_intents.capture_async(
        intent.id, {"amount_to_capture": 4_000, "expand": ["latest_charge.balance_transaction"]}
    )
    assert (intent.status, intent.amount_received) == ("succeeded", 4_000)
    assert intent.latest_charge.amount_captured == 4_000
    assert intent.latest_charge.balance_transaction.amount == 10_000
    lines = await client.v1.balance_transactions.list_async()
    assert [(line.reporting_category, line.amount, line.fee) for line in lines.data] == [
        ("partial_capture_reversal", -6_000, -174),
        ("charge", 10_000, 320),
    ]
    released = await client.v1.refunds.list_async({"payment_intent": intent.id})
    assert [refund.amount for refund in released.data] == [6_000]
    assert "charge.captured" in types(box)


async def test_an_authorisation_ends_by_cancel_or_after_seven_days(
    client: stripe.StripeClient, box: Sandbox, pay: Pay
) -> None:
    first, second = await pay(capture_method="manual"), await pay(capture_method="manual")
    canceled = await client.v1.payment_intents.cancel_async(
        first.id, {"cancellation_reason": "requested_by_customer"}
    )
    assert canceled.status == "canceled"
    released = await client.v1.refunds.list_async({"payment_intent": first.id})
    assert [refund.balance_transaction for refund in released.data] == [None]
    box.advance(7 * DAY)
    expired = await client.v1.payment_intents.retrieve_async(second.id)
    assert (expired.status, expired.cancellation_reason) == ("canceled", "automatic")
    assert "charge.expired" in types(box)
    assert box.balance("eur") == {"available": 0, "pending": 0}


@pytest.mark.parametrize(
    ("method", "status", "told"),
    [
        ("pm_successDelayed_sepaDebit", "succeeded", "payment_intent.succeeded"),
        ("pm_failed_sepaDebit", "requires_payment_method", "payment_intent.payment_failed"),
    ],
)
async def test_a_debit_is_processing_for_minutes(
    client: stripe.StripeClient, box: Sandbox, pay: Pay, method: str, status: str, told: str
) -> None:
    intent = await pay(method=method)
    assert intent.status == "processing"
    assert intent.latest_charge.status == "pending"
    box.advance(180)
    intent = await client.v1.payment_intents.retrieve_async(intent.id)
    assert intent.status == status
    assert told in types(box)


async def test_a_debit_may_be_returned_after_it_succeeded(
    client: stripe.StripeClient, box: Sandbox, pay: Pay
) -> None:
    intent = await pay(method="pm_sandbox_failsAfterSuccess")
    assert intent.status == "succeeded"
    box.advance(DAY)
    charge = await client.v1.charges.retrieve_async(
        intent.latest_charge.id, {"expand": ["failure_balance_transaction"]}
    )
    line = charge.failure_balance_transaction
    assert (charge.status, line.amount, line.fee) == ("failed", -10_000, 0)
    assert line.reporting_category == "charge_failure"


async def test_the_bank_may_ask_the_payer(
    client: stripe.StripeClient, box: Sandbox, pay: Pay
) -> None:
    intent = await pay(method="pm_card_authenticationRequired")
    assert intent.status == "requires_action"
    box.pay(intent.id)
    assert (await client.v1.payment_intents.retrieve_async(intent.id)).status == "succeeded"
    with pytest.raises(stripe.CardError) as nobody_there:
        await pay(method="pm_card_authenticationRequired", off_session=True)
    assert nobody_there.value.code == "authentication_required"


async def test_a_saved_card_is_charged_again_without_the_payer(
    client: stripe.StripeClient, pay: Pay
) -> None:
    customer = await client.v1.customers.create_async({"email": "listener@example.com"})
    first = await pay(customer=customer.id, setup_future_usage="off_session")
    saved = await client.v1.customers.payment_methods.list_async(customer.id)
    assert [method.id for method in saved.data] == [first.payment_method]
    again = await pay(customer=customer.id, method=first.payment_method, off_session=True)
    assert again.status == "succeeded"
    with pytest.raises(stripe.InvalidRequestError, match="another Customer"):
        await pay(method=first.payment_method)


@pytest.mark.parametrize(
    ("amount", "currency", "code"),
    [
        (49, "eur", "amount_too_small"),
        (100_000_000, "eur", "amount_too_large"),
        (100, "zzz", None),
    ],
)
async def test_what_cannot_be_charged_is_refused(
    client: stripe.StripeClient, box: Sandbox, amount: int, currency: str, code: str | None
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        await client.v1.payment_intents.create_async({"amount": amount, "currency": currency})
    assert (refusal.value.http_status, refusal.value.code) == (400, code)
    assert not box.events


async def test_a_payer_who_may_be_redirected_needs_a_way_back(
    client: stripe.StripeClient, pay: Pay
) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="return_url"):
        await pay(automatic_payment_methods={"enabled": True})
    made = await client.v1.payment_intents.create_async({"amount": 100, "currency": "eur"})
    with pytest.raises(stripe.InvalidRequestError, match="return_url"):
        await client.v1.payment_intents.confirm_async(made.id, {"payment_method": "pm_card_visa"})


async def test_unknown_parameters_and_unknown_ids_are_named(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError) as unknown:
        await client.v1.refunds.create_async({"amount": 1, "colour": "red"})
    assert (unknown.value.code, unknown.value.param) == ("parameter_unknown", "colour")
    with pytest.raises(stripe.InvalidRequestError) as nested:
        await client.v1.payment_intents.create_async(
            {"amount": 100, "currency": "eur", "automatic_payment_methods": {"on": True}}
        )
    assert nested.value.param == "automatic_payment_methods[on]"
    with pytest.raises(stripe.InvalidRequestError) as missing:
        await client.v1.charges.retrieve_async("ch_nowhere")
    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")


async def test_a_wrong_key_is_refused(box: Sandbox) -> None:
    client = stripe.StripeClient(
        "rk_live_wrong", base_addresses={"api": box.url}, http_client=stripe.HTTPXClient()
    )
    with pytest.raises(stripe.AuthenticationError):
        await client.v1.balance.retrieve_async()
    await client._requestor._client.close_async()  # noqa: SLF001  it has no door of its own


@pytest.mark.parametrize(
    ("auth", "status"),
    [
        (("sk_test_sandbox", ""), 200),
        (("sk_live_sandbox", ""), 401),
        (("", "sk_test_sandbox"), 401),
    ],
)
async def test_a_key_may_come_as_the_user_of_basic_credentials(
    box: Sandbox, auth: tuple[str, str], status: int
) -> None:
    async with httpx.AsyncClient(base_url=box.url, auth=auth) as curl:
        assert (await curl.get("/v1/balance")).status_code == status
