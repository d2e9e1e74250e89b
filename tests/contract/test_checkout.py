"""A checkout session is paid once, or expires."""

from typing import Any

import httpx
import pytest
import stripe

from sandbox import Sandbox


def order(**more: Any) -> Any:
    price = {"currency": "eur", "unit_amount": 1_000, "product_data": {"name": "Ticket"}}
    return {
        "mode": "payment",
        "client_reference_id": "order-1",
        "line_items": [{"price_data": price, "quantity": 2}],
        "payment_intent_data": {"metadata": {"payment": "p1"}},
        "success_url": "http://127.0.0.1:1/thanks?session={CHECKOUT_SESSION_ID}",
        "cancel_url": "http://127.0.0.1:1/back",
        **more,
    }


async def test_the_pay_page_takes_the_money_and_sends_the_payer_back(
    client: stripe.StripeClient, box: Sandbox
) -> None:
    session = await client.v1.checkout.sessions.create_async(order())
    assert (session.status, session.amount_total, session.payment_intent) == ("open", 2_000, None)
    async with httpx.AsyncClient() as browser:
        assert "2000 eur" in (await browser.get(session.url)).text
        declined = await browser.post(
            session.url, data={"payment_method": "pm_card_visa_chargeDeclined"}
        )
        assert declined.status_code == 402
        done = await browser.post(session.url, data={"payment_method": "pm_card_visa"})
        assert done.headers["location"].endswith(f"session={session.id}")
        assert (await browser.post(session.url)).status_code == 400
    paid = await client.v1.checkout.sessions.retrieve_async(
        session.id, {"expand": ["payment_intent", "line_items"]}
    )
    assert (paid.status, paid.payment_status) == ("complete", "paid")
    assert paid.payment_intent.metadata.to_dict() == {"payment": "p1"}
    assert [item.amount_total for item in paid.line_items.data] == [2_000]
    completed = [e for e in box.events if e["type"] == "checkout.session.completed"]
    assert [e["data"]["object"]["payment_status"] for e in completed] == ["paid"]


async def test_a_session_expires_with_the_clock_and_cannot_be_paid_then(
    client: stripe.StripeClient, box: Sandbox
) -> None:
    session = await client.v1.checkout.sessions.create_async(order(expires_at=box.now + 1_800))
    box.pay(checkout_session=session.id, at=box.now + 1_900)
    box.advance(2_000)
    expired = await client.v1.checkout.sessions.retrieve_async(session.id)
    assert (expired.status, expired.payment_status) == ("expired", "unpaid")
    assert [e["type"] for e in box.events] == ["checkout.session.expired"]
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.checkout.sessions.expire_async(session.id)


async def test_a_payment_can_be_arranged_for_later(
    client: stripe.StripeClient, box: Sandbox
) -> None:
    session = await client.v1.checkout.sessions.create_async(order())
    assert box.pay(checkout_session=session.id, at=box.now + 600) is None
    box.advance(599)
    assert (await client.v1.checkout.sessions.retrieve_async(session.id)).status == "open"
    box.advance(2)
    assert (await client.v1.checkout.sessions.retrieve_async(session.id)).status == "complete"


@pytest.mark.parametrize("lives", [1_799 - 5, 24 * 3_600 + 5])
async def test_a_session_lives_half_an_hour_to_a_day(
    client: stripe.StripeClient, box: Sandbox, lives: int
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refusal:
        await client.v1.checkout.sessions.create_async(order(expires_at=box.now + lives))
    assert refusal.value.param == "expires_at"


@pytest.mark.parametrize(
    ("method", "told", "status"),
    [
        ("pm_success_sepaDebit", "checkout.session.async_payment_succeeded", "paid"),
        ("pm_failed_sepaDebit", "checkout.session.async_payment_failed", "unpaid"),
    ],
)
async def test_a_debit_completes_the_session_unpaid_first(
    client: stripe.StripeClient, box: Sandbox, method: str, told: str, status: str
) -> None:
    session = await client.v1.checkout.sessions.create_async(order())
    box.pay(checkout_session=session.id, payment_method=method)
    waiting = await client.v1.checkout.sessions.retrieve_async(session.id)
    assert (waiting.status, waiting.payment_status) == ("complete", "unpaid")
    box.advance(180)
    final = await client.v1.checkout.sessions.retrieve_async(session.id)
    assert final.payment_status == status
    assert told in [event["type"] for event in box.events]


async def test_a_session_may_only_authorise(client: stripe.StripeClient, box: Sandbox) -> None:
    session = await client.v1.checkout.sessions.create_async(
        order(payment_intent_data={"capture_method": "manual"})
    )
    box.pay(checkout_session=session.id)
    held = await client.v1.checkout.sessions.retrieve_async(session.id)
    assert (held.status, held.payment_status) == ("complete", "unpaid")
    await client.v1.payment_intents.capture_async(held.payment_intent)
    captured = await client.v1.checkout.sessions.retrieve_async(session.id)
    assert captured.payment_status == "paid"
    told = [e["type"] for e in box.events if e["type"].startswith("checkout")]
    assert told == ["checkout.session.completed"]
