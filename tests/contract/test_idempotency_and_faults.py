"""Keys answer as Stripe's do, and calls go wrong on demand."""

import asyncio

import httpx
import pytest
import stripe

from sandbox import Sandbox
from tests.contract.conftest import client_of

WISH = {"amount": 1_000, "currency": "eur"}


async def create(client: stripe.StripeClient, key: str, **more: object) -> stripe.PaymentIntent:
    return await client.v1.payment_intents.create_async(
        {**WISH, **more},
        {"idempotency_key": key},
    )


async def test_the_same_key_repeats_the_first_answer(
    client: stripe.StripeClient, box: Sandbox
) -> None:
    first, again = await create(client, "key-1"), await create(client, "key-1")
    assert (again.id, again.client_secret) == (first.id, first.client_secret)
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert again.last_response.headers["Original-Request"] == first.last_response.request_id
    assert [call.replayed for call in box.calls("POST", "/v1/payment_intents")] == [False, True]
    assert len(box.events) == 1


async def test_the_same_key_with_other_parameters_is_refused(
    client: stripe.StripeClient,
) -> None:
    await create(client, "key-1")
    with pytest.raises(stripe.IdempotencyError) as refusal:
        await create(client, "key-1", amount=2_000)
    assert refusal.value.http_status == 400
    with pytest.raises(stripe.IdempotencyError):
        await client.v1.customers.create_async({}, {"idempotency_key": "key-1"})


async def test_a_key_in_flight_is_a_conflict(client: stripe.StripeClient, box: Sandbox) -> None:
    box.faults.call("latency", "/v1/payment_intents", latency=0.2)
    first = asyncio.create_task(create(client, "key-1"))
    while not box.state.answers:
        await asyncio.sleep(0.005)
    with pytest.raises(stripe.APIError) as conflict:
        await create(client, "key-1")
    assert conflict.value.http_status == 409
    assert conflict.value.json_body["error"]["code"] == "idempotency_key_in_use"
    assert (await create(client, "key-2")).id != (await first).id
    assert (await create(client, "key-1")).id == (await first).id


async def test_refused_parameters_do_not_use_up_the_key(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        await create(client, "key-1", colour="red")
    assert (await create(client, "key-1")).amount == 1_000


async def test_a_key_is_forgotten_after_a_day(client: stripe.StripeClient, box: Sandbox) -> None:
    first = await create(client, "key-1")
    box.advance(24 * 3_600 - 5)
    assert (await create(client, "key-1")).id == first.id
    box.advance(5)
    assert (await create(client, "key-1")).id != first.id


async def test_a_server_error_is_remembered_under_its_key(
    client: stripe.StripeClient, box: Sandbox
) -> None:
    box.faults.call("500", "/v1/payment_intents")
    for _ in range(2):
        with pytest.raises(stripe.APIError) as broken:
            await create(client, "key-1")
        assert broken.value.http_status == 500
    assert not box.events
    assert (await create(client, "key-2")).amount == 1_000


async def test_a_declined_card_is_remembered_under_its_key(client: stripe.StripeClient) -> None:
    ids = []
    for _ in range(2):
        with pytest.raises(stripe.CardError) as refusal:
            await create(
                client,
                "key-1",
                confirm=True,
                payment_method="pm_card_visa_chargeDeclined",
                return_url="https://example.com/back",
            )
        ids.append(refusal.value.error.payment_intent.id)
    assert ids[0] == ids[1]


@pytest.mark.parametrize("kind", ["409", "429", "503", "timeout_without_effect"])
async def test_a_call_that_never_ran_may_be_sent_again(
    client: stripe.StripeClient, box: Sandbox, kind: str
) -> None:
    box.faults.call(kind, "^/v1/payment_intents$")
    with pytest.raises(stripe.StripeError) as refusal:
        await create(client, "key-1")
    assert not box.events
    assert str(refusal.value.http_status or "timeout_without_effect") == kind
    assert (await create(client, "key-1")).amount == 1_000
    assert len(box.events) == 1


async def test_a_lost_answer_is_told_when_asked_again(
    client: stripe.StripeClient, box: Sandbox
) -> None:
    box.faults.call("timeout_with_effect", "/v1/payment_intents")
    with pytest.raises(stripe.APIConnectionError):
        await create(client, "key-1")
    assert len(box.events) == 1
    again = await create(client, "key-1")
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert len(box.events) == 1


async def test_the_sdks_own_retries_heal_what_can_be_healed(box: Sandbox) -> None:
    box.faults.call("timeout_with_effect", "/v1/payment_intents")
    async with client_of(box, max_network_retries=2) as client:
        await create(client, "key-1")
    assert len(box.events) == 1
    assert [r.status for r in box.requests] == [None, 200]


async def test_the_controls_are_reached_over_http(
    client: stripe.StripeClient, box: Sandbox
) -> None:
    async with httpx.AsyncClient(base_url=f"{box.url}/_sandbox") as remote:
        intent = await client.v1.payment_intents.create_async(WISH)
        fee = await remote.post("/fees", json={"payment_intent": intent.id, "amount": 11})
        assert fee.json() == {"ok": True}
        paid = await remote.post("/pay", json={"payment_intent": intent.id})
        assert paid.json()["status"] == "succeeded"
        clock = await remote.post("/clock", json={"advance": 4 * 86_400})
        assert clock.json()["now"] == box.now
        assert box.balance("eur") == {"available": 989, "pending": 0}
        dispute = (await remote.post("/disputes", json={"payment_intent": intent.id})).json()
        closed = await remote.post(f"/disputes/{dispute['id']}/close", json={"status": "won"})
        assert closed.json()["status"] == "won"
        faults = {"calls": [{"kind": "429", "path": "refunds"}], "deliveries": {"drop": 0.5}}
        await remote.post("/faults", json=faults)
        assert box.faults.delivery.drop == 0.5
        wrong = await remote.post("/faults", json={"calls": [{"kind": "earthquake"}]})
        assert wrong.status_code == 400
        logged = (await remote.get("/requests")).json()
        assert [(r["method"], r["path"]) for r in logged] == [("POST", "/v1/payment_intents")]
        assert len((await remote.get("/events")).json()) == len(box.events)
        await remote.post("/reset")
        assert (box.requests, box.events) == ([], [])
