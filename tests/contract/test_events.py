"""Events are signed, delivered at least once, and can be made to arrive as badly as at Stripe."""

import asyncio
import time

import pytest
import stripe

from sandbox import Sandbox
from tests.contract.conftest import Ear, Pay

FOUR = ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded", "charge.updated"]


async def test_deliveries_carry_a_signature_that_the_sdk_accepts(
    box: Sandbox, pay: Pay, ear: Ear
) -> None:
    box.webhook(ear.url, ear.secret)
    box.advance(30 * 86_400)  # signatures keep to the real clock
    await pay()
    await box.deliver()
    assert sorted(ear.types) == sorted(FOUR)
    for payload, header in ear.heard:
        event = stripe.Webhook.construct_event(payload, header, ear.secret, tolerance=10)
        assert event.api_version == "2026-10-28.endive"
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(payload + b" ", header, ear.secret)
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.Webhook.construct_event(payload, header, "whsec_other")


async def test_an_endpoint_that_fails_is_tried_again(
    box: Sandbox, pay: Pay, ear: Ear, client: stripe.StripeClient
) -> None:
    box.webhook(ear.url, ear.secret, enabled_events=["charge.updated"])
    ear.answers = [500, 500]
    box.hold()
    await pay()
    pending = await client.v1.events.list_async({"delivery_success": False})
    assert [(event.type, event.pending_webhooks) for event in pending.data] == [
        ("charge.updated", 1)
    ]
    assert await box.deliver(attempts=1) == {"delivered": 0, "failed": 1}
    assert await box.deliver() == {"delivered": 1, "failed": 0}
    assert ear.types == ["charge.updated"] * 3
    assert not (await client.v1.events.list_async({"delivery_success": False})).data
    done = await client.v1.events.list_async({"delivery_success": True})
    assert [event.type for event in done.data] == FOUR[::-1]


async def test_deliveries_go_out_by_themselves(box: Sandbox, pay: Pay, ear: Ear) -> None:
    box.webhook(ear.url, ear.secret)
    ear.answers = [503]
    await pay()
    async with asyncio.timeout(5):
        while len(set(ear.types)) < 4 or box.state.undelivered["acct_1SandboxPlatform"]:
            await asyncio.sleep(0.01)
    assert len(ear.types) == 5


async def test_a_dropped_event_is_found_by_a_sweep(
    box: Sandbox, pay: Pay, ear: Ear, client: stripe.StripeClient
) -> None:
    box.webhook(ear.url, ear.secret)
    box.faults.deliveries(drop=1, types=["charge.updated"], times=1)
    await pay()
    await pay()
    await box.deliver()
    assert ear.types.count("charge.updated") == 1
    lost = await client.v1.events.list_async({"delivery_success": False})
    assert [event.type for event in lost.data] == ["charge.updated"]
    types = await client.v1.events.list_async({"types": ["charge.updated", "charge.succeeded"]})
    assert len(types.data) == 4
    assert box.replay() == 8
    await box.deliver()
    assert not (await client.v1.events.list_async({"delivery_success": False})).data


async def test_events_can_be_doubled_twinned_disordered_and_stale(
    box: Sandbox, pay: Pay, ear: Ear
) -> None:
    box.webhook(ear.url, ear.secret)
    box.hold()
    box.faults.deliveries(duplicate=1, reorder=1)
    for _ in range(5):
        await pay()
    await box.deliver()
    ids = [body["id"] for body in ear.bodies]
    assert len(ids) == 2 * len(set(ids)) == 40
    assert [i for n, i in enumerate(ids) if i not in ids[:n]] != [e["id"] for e in box.events]
    ear.heard.clear()
    box.faults.deliveries(twin=1, types=["charge.updated"])
    await pay()
    box.faults.deliveries(stale=1)
    await pay()
    await box.deliver()
    assert sorted(ear.types) == sorted([*FOUR, "charge.updated", *FOUR])
    assert [body["api_version"] for body in ear.bodies].count("2019-08-14") == 4


async def test_a_delayed_event_is_overtaken(box: Sandbox, pay: Pay, ear: Ear) -> None:
    box.webhook(ear.url, ear.secret)
    box.faults.deliveries(delay=1, delay_seconds=0.3, types=["charge.succeeded"])
    started = time.monotonic()
    await pay()
    async with asyncio.timeout(5):
        while len(ear.heard) < 4:
            await asyncio.sleep(0.01)
    assert time.monotonic() - started >= 0.3
    assert ear.types[-1] == "charge.succeeded"


async def test_the_same_seed_gives_the_same_faults() -> None:
    def struck(seed: int) -> list[bool]:
        box = Sandbox(seed)
        box.faults.deliveries(drop=0.5)
        return [box.faults.happens("drop", "charge.updated") for _ in range(50)]

    assert struck(7) == struck(7)
    assert struck(7) != struck(8)
    assert 10 < sum(struck(7)) < 40


async def test_events_can_be_delivered_in_any_order_by_hand(
    box: Sandbox, pay: Pay, ear: Ear
) -> None:
    box.webhook(ear.url, ear.secret)
    box.hold()
    await pay()
    first, second, third, fourth = [event["id"] for event in box.events]
    await box.deliver([fourth, second, second, first])
    assert [body["id"] for body in ear.bodies] == [fourth, second, second, first]
    box.hold(on=False)
    assert await box.deliver() == {"delivered": 1, "failed": 0}
    assert ear.bodies[-1]["id"] == third


async def test_connected_accounts_speak_to_their_own_endpoints(
    box: Sandbox, client: stripe.StripeClient, host: str, ear: Ear
) -> None:
    box.webhook(ear.url, "whsec_connect", connect=True)
    box.webhook(ear.url, "whsec_thin", thin=True)
    box.webhook(f"{ear.url}?platform", ear.secret)
    box.hold()
    box.capability(host, "restricted")
    assert await box.deliver() == {"delivered": 3, "failed": 0}
    for payload, header in ear.heard:
        if b'"object":"v2.core.event"' in payload:
            note = client.parse_event_notification(payload.decode(), header, "whsec_thin")
            # The SDK's fetch_*_async of a notification send a parameter that Stripe refuses.
            whole = await client.v2.core.events.retrieve_async(note.id)
            account = await client.v2.core.accounts.retrieve_async(note.related_object.id)
            assert (whole.type, account.id, str(note.context)) == (note.type, host, host)
            with pytest.raises(ValueError, match="thin event"):
                stripe.Webhook.construct_event(payload, header, "whsec_thin")
        else:
            event = stripe.Webhook.construct_event(payload, header, "whsec_connect")
            assert (event.type, event.account) == ("account.updated", host)


async def test_an_event_is_a_snapshot(box: Sandbox, client: stripe.StripeClient, pay: Pay) -> None:
    intent = await pay()
    await client.v1.refunds.create_async({"payment_intent": intent.id})
    event = next(e for e in box.events if e["type"] == "charge.succeeded")
    again = await client.v1.events.retrieve_async(event["id"])
    assert again.data.object["amount_refunded"] == 0
    assert again.request.id == box.requests[0].id
