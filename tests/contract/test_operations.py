"""Every operation of the sandbox is called once through the real SDK, and passes the gate."""

import re

import stripe

from sandbox import Sandbox
from sandbox.app import OPERATIONS
from tests.contract.conftest import RECIPIENT, Pay
from tests.contract.test_checkout import order


def called(box: Sandbox) -> set[tuple[str, str]]:
    """The operations that the log shows, each answered with 200."""
    patterns = [
        (op.method, op.path, re.compile(re.sub(r"{\w+}", "[^/]+", op.path) + "$"))
        for op in sorted(OPERATIONS, key=lambda op: op.path.count("{"))
    ]
    return {
        next((m, path) for m, path, rx in patterns if m == call.method and rx.match(call.path))
        for call in box.requests
        if call.status == 200
    }


async def payments(client: stripe.StripeClient, pay: Pay) -> None:
    v1 = client.v1
    customer = await v1.customers.create_async({"email": "a@example.com", "metadata": {"a": "1"}})
    await v1.customers.retrieve_async(customer.id)
    await v1.payment_methods.attach_async("pm_card_visa", {"customer": customer.id})
    methods = await v1.customers.payment_methods.list_async(customer.id, {"type": "card"})
    await v1.payment_methods.retrieve_async(methods.data[0].id)
    held = await pay(capture_method="manual", customer=customer.id)
    await v1.payment_intents.retrieve_async(held.id, {"expand": ["latest_charge", "customer"]})
    await v1.payment_intents.update_async(held.id, {"metadata": {"a": "1"}, "description": "A tip"})
    await v1.payment_intents.capture_async(held.id, {"amount_to_capture": 500})
    other = await v1.payment_intents.create_async({"amount": 700, "currency": "eur"})
    await v1.payment_intents.update_async(other.id, {"amount": 800})
    await v1.payment_intents.confirm_async(
        other.id, {"payment_method": "pm_card_visa", "return_url": "https://example.com/"}
    )
    third = await v1.payment_intents.create_async({"amount": 700, "currency": "eur"})
    await v1.payment_intents.cancel_async(third.id, {"cancellation_reason": "abandoned"})
    await v1.payment_intents.list_async({"customer": customer.id, "created": {"gte": 1}})
    await v1.charges.list_async({"payment_intent": held.id, "limit": 3})
    charge = await v1.charges.update_async(held.latest_charge.id, {"metadata": {"b": "2"}})
    await v1.charges.retrieve_async(charge.id, {"expand": ["balance_transaction", "refunds"]})


async def sessions(client: stripe.StripeClient) -> None:
    api = client.v1.checkout.sessions
    made = await api.create_async(order(metadata={"order": "1"}, submit_type="pay", locale="de"))
    await api.retrieve_async(made.id, {"expand": ["line_items"]})
    await api.update_async(made.id, {"metadata": {"order": "2"}})
    await api.list_async({"status": "open"})
    await api.line_items.list_async(made.id)
    await api.expire_async(made.id)


async def money_back(client: stripe.StripeClient, box: Sandbox, pay: Pay) -> None:
    v1, intent = client.v1, await pay()
    refund = await v1.refunds.create_async(
        {"payment_intent": intent.id, "amount": 10, "reason": "requested_by_customer"}
    )
    await v1.refunds.update_async(refund.id, {"metadata": {"why": "late"}})
    await v1.refunds.retrieve_async(refund.id, {"expand": ["charge", "balance_transaction"]})
    await v1.refunds.list_async({"charge": intent.latest_charge.id})
    box.stall_refund(refund.id)
    await v1.refunds.cancel_async(refund.id)
    dispute = box.dispute(payment_intent=intent.id)
    await v1.disputes.retrieve_async(dispute["id"], {"expand": ["charge"]})
    await v1.disputes.update_async(dispute["id"], {"evidence": {"receipt": "file_1"}})
    await v1.disputes.close_async(dispute["id"])
    await v1.disputes.list_async({"payment_intent": intent.id})


async def money_on(client: stripe.StripeClient, pay: Pay, host: str) -> None:
    v1 = client.v1
    await pay(50_000, method="pm_card_bypassPending")
    transfer = await v1.transfers.create_async(
        {"amount": 900, "currency": "eur", "destination": host, "metadata": {"a": "1"}}
    )
    await v1.transfers.update_async(transfer.id, {"description": "Tips"})
    reversal = await v1.transfers.reversals.create_async(transfer.id, {"amount": 100})
    await v1.transfers.reversals.retrieve_async(transfer.id, reversal.id)
    await v1.transfers.reversals.list_async(transfer.id)
    await v1.transfers.retrieve_async(transfer.id, {"expand": ["reversals", "destination"]})
    await v1.transfers.list_async({"destination": host})
    payout = await v1.payouts.create_async({"amount": 900, "currency": "eur"})
    await v1.payouts.update_async(payout.id, {"metadata": {"a": "1"}})
    await v1.payouts.retrieve_async(payout.id, {"expand": ["balance_transaction"]})
    await v1.payouts.list_async({"status": "pending"})
    await v1.payouts.cancel_async(payout.id)
    await v1.balance.retrieve_async()
    assert (await v1.balance_settings.retrieve_async()).payments.payouts.schedule.interval
    lines = await v1.balance_transactions.list_async({"expand": ["data.source"]})
    await v1.balance_transactions.retrieve_async(lines.data[0].id, {"expand": ["source"]})


async def accounts(client: stripe.StripeClient, box: Sandbox, host: str) -> None:
    core = client.v2.core
    other = await core.accounts.create_async(RECIPIENT)
    await core.accounts.retrieve_async(host, {"include": ["requirements", "identity", "defaults"]})
    await core.accounts.update_async(host, {"display_name": "Ada L.", "metadata": {"a": "1"}})
    first = await core.accounts.list_async({"limit": 1})
    assert [account.id async for account in first.auto_paging_iter()] == [other.id, host]
    await core.accounts.close_async(other.id)
    await core.account_links.create_async(
        {
            "account": host,
            "use_case": {
                "type": "account_onboarding",
                "account_onboarding": {
                    "refresh_url": "https://example.com/again",
                    "return_url": "https://example.com/done",
                },
            },
        }
    )
    await client.v1.accounts.retrieve_async(host)
    await core.events.retrieve_async(box.notifications[0]["id"])


async def events(client: stripe.StripeClient) -> None:
    v1 = client.v1
    found = await v1.events.list_async({"type": "charge.updated", "delivery_success": True})
    await v1.events.retrieve_async(found.data[0].id)
    hook = await v1.webhook_endpoints.create_async(
        {"url": "http://127.0.0.1:1/", "enabled_events": ["charge.updated"], "connect": True}
    )
    assert hook.secret.startswith("whsec_")
    await v1.webhook_endpoints.update_async(hook.id, {"disabled": True})
    assert not hasattr(await v1.webhook_endpoints.retrieve_async(hook.id), "secret")
    await v1.webhook_endpoints.list_async()
    await v1.webhook_endpoints.delete_async(hook.id)
    assert not (await v1.webhook_endpoints.list_async()).data


async def test_every_operation_is_called_through_the_sdk(
    client: stripe.StripeClient, box: Sandbox, pay: Pay, host: str
) -> None:
    await payments(client, pay)
    await sessions(client)
    await money_back(client, box, pay)
    await money_on(client, pay, host)
    await accounts(client, box, host)
    await events(client)
    assert {(op.method, op.path) for op in OPERATIONS} - called(box) == set()
