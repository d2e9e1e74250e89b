"""A tip over HTTP: from POST to settled through real webhooks, and once however often it is sent.

The control: without an id of its own, every one of the same fifty requests is a tip.
"""

import asyncio
from typing import Any

import httpx
import pytest

from api import keys, worker
from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.database import Database, fetch
from tests import stories
from tests.conftest import SECRET

AT_ONCE = 50

pytestmark = pytest.mark.usefixtures("room")


def wish(**changed: Any) -> dict[str, Any]:
    """A tip of 5.00 EUR on the surface for embedding clients."""
    plain = {"space": "spc_one", "listener": "lis_zoe", "amount": 500, "currency": "eur"}
    return plain | {"surface": "intent"} | changed


async def heard(runtime: Runtime, box: Sandbox, service: str) -> None:
    """Stripe's webhooks have come over HTTP, and the worker has done its work."""
    box.webhook(f"{service}/webhooks/stripe", SECRET)
    await box.deliver()
    await worker.drain(runtime, runtime.now())


SURFACES: dict[str, dict[str, Any]] = {
    "checkout": {"success_url": "https://example.com/ok", "cancel_url": "https://example.com/no"},
    "intent": {},
}


@pytest.mark.parametrize("surface", SURFACES)
async def test_a_tip_goes_from_post_to_settled_through_real_webhooks(
    runtime: Runtime,
    box: Sandbox,
    service: str,
    client: httpx.AsyncClient,
    surface: str,
) -> None:
    box.webhook(f"{service}/webhooks/stripe", SECRET)
    sent = await client.post("/v1/tips", json=wish(surface=surface, **SURFACES[surface]))
    tip = sent.json()
    assert (sent.status_code, tip["state"], tip["amount"], tip["charged"]) == (
        (200, "pending", 500, 546)
    )
    if surface == "checkout":
        box.pay(checkout_session=tip["url"].rpartition("/")[2])
    else:
        box.pay(tip["client_secret"].partition("_secret_")[0])
    assert (await box.deliver())["failed"] == 0
    await worker.drain(runtime, runtime.now())

    settled = (await client.get(f"/v1/tips/{tip['id']}")).json()
    assert (settled["state"], settled["url"], settled["client_secret"]) == ("settled", None, None)
    payment = (await client.get(f"/v1/payments/{tip['payment']}")).json()
    assert payment["state"] == "paid"
    shares = {part["host"]: part["credited"] for part in payment["lines"][0]["shares"]}
    assert shares == {"host_ada": 300, "host_bob": 200, None: 46}
    owed = (await client.get("/v1/hosts/host_ada/balance")).json()["balances"]
    assert owed == [
        {
            "currency": "eur",
            "held": 300,
            "available": 0,
            "reserved": 0,
            "rolling": 0,
            "in_transit": 0,
            "safe_to_spend": 0,
        }
    ]
    events = (await client.get("/v1/events", params={"status": "done"})).json()["data"]
    assert {event["endpoint"] for event in events} == {"account"}
    assert await stories.guilty(runtime.database) == {}


async def test_a_saved_card_settles_at_once_and_the_webhook_changes_nothing(
    runtime: Runtime, box: Sandbox, service: str, client: httpx.AsyncClient
) -> None:
    body = wish(surface="saved", **await saved(box, "pm_card_visa"))
    tip = (await client.post("/v1/tips", json=body)).json()
    assert tip["state"] == "settled"
    before = await stories.told(runtime.database)
    await heard(runtime, box, service)
    assert (await stories.told(runtime.database)).startswith(before)
    assert await stories.guilty(runtime.database) == {}


async def saved(box: Sandbox, card: str) -> dict[str, str]:
    """A customer of the platform's at Stripe, and the card that they saved there."""
    key = {"Authorization": "Bearer sk_test_takings"}
    async with httpx.AsyncClient(base_url=box.url, headers=key) as stripe:
        customer = (await stripe.post("/v1/customers")).json()["id"]
        path = f"/v1/payment_methods/{card}/attach"
        method = (await stripe.post(path, data={"customer": customer})).json()["id"]
    return {"customer": customer, "payment_method": method}


async def test_a_declined_card_is_402_and_the_tip_is_cancelled(
    box: Sandbox, client: httpx.AsyncClient
) -> None:
    card = await saved(box, "pm_card_chargeCustomerFail")
    answer = await client.post("/v1/tips", json=wish(id="tip_no", surface="saved", **card))
    assert (answer.status_code, answer.json()["code"]) == (402, "card_declined")
    assert (await client.get("/v1/tips/tip_no")).json()["state"] == "cancelled"
    again = await client.post("/v1/tips", json=wish(id="tip_no", surface="saved", **card))
    assert (again.status_code, again.json()["code"]) == (409, "payment_over")


async def fifty(client: httpx.AsyncClient, body: Any, headers: Any = None) -> list[httpx.Response]:
    """Fifty equal requests at once."""
    sends = (client.post("/v1/tips", json=body, headers=headers) for _ in range(AT_ONCE))
    return await asyncio.gather(*sends)


@pytest.mark.parametrize(
    ("body", "headers"),
    [(wish(id="tip_once"), None), (wish(), {"Idempotency-Key": "once"})],
    ids=["an id", "an Idempotency-Key"],
)
async def test_fifty_equal_requests_at_once_are_one_tip_and_one_call_to_stripe(
    database: Database,
    box: Sandbox,
    client: httpx.AsyncClient,
    body: Any,
    headers: Any,
) -> None:
    answers = await fifty(client, body, headers)
    told = {(a.status_code, a.json().get("code")) for a in answers}
    assert told <= {(200, None), (409, "in_flight")}
    assert len({a.text for a in answers if a.is_success}) == 1
    assert len(box.calls("POST", "/v1/payment_intents")) == 1
    assert await written(database) == {"tips": 1, "payments": 1, "lines": 1, "asks": 1}
    last = await client.post("/v1/tips", json=body, headers=headers)
    assert last.text in {a.text for a in answers}


async def test_fifty_requests_without_an_id_are_fifty_tips(
    database: Database, box: Sandbox, client: httpx.AsyncClient
) -> None:
    answers = await fifty(client, wish())
    assert {a.status_code for a in answers} == {200}
    assert len(box.calls("POST", "/v1/payment_intents")) == AT_ONCE
    assert (await written(database))["tips"] == AT_ONCE


async def test_one_idempotency_key_in_two_hands_makes_two_tips(
    runtime: Runtime, client: httpx.AsyncClient
) -> None:
    _, other = await keys.issue(runtime.database, "another", now=runtime.now())
    mine, theirs = {"Idempotency-Key": "k"}, {"Authorization": f"Bearer {other}"}
    first = (await client.post("/v1/tips", json=wish(), headers=mine)).json()
    second = (await client.post("/v1/tips", json=wish(), headers=mine | theirs)).json()
    assert first["id"] != second["id"]


async def test_another_tip_under_the_same_id_is_a_conflict(client: httpx.AsyncClient) -> None:
    await client.post("/v1/tips", json=wish(id="tip_one"))
    answer = await client.post("/v1/tips", json=wish(id="tip_one", amount=501))
    assert (answer.status_code, answer.json()["code"]) == (409, "tip_differs")


async def test_while_stripe_is_away_the_answer_is_503_and_the_tip_goes_on_later(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    box.faults.call("503", "/v1/payment_intents", times=3)
    answer = await client.post("/v1/tips", json=wish(id="tip_one"))
    assert (answer.status_code, answer.json()["code"]) == (503, "stripe_away")
    assert answer.json()["retryable"]
    assert answer.headers["retry-after"] == "1"
    await worker.drain(runtime, stories.later(minutes=2))
    again = (await client.post("/v1/tips", json=wish(id="tip_one"))).json()
    assert (again["state"], again["client_secret"] is not None) == ("pending", True)
    assert len(box.state.table("payment_intent").rows) == 1


async def test_a_refund_over_http_is_exact_and_repeatable(
    runtime: Runtime, box: Sandbox, service: str, client: httpx.AsyncClient
) -> None:
    tip = (await client.post("/v1/tips", json=wish())).json()
    box.pay(tip["client_secret"].partition("_secret_")[0])
    await heard(runtime, box, service)
    path = f"/v1/payments/{tip['payment']}/refunds"
    part = {"id": "ref_part", "amount": 101, "currency": "eur", "reason": "too loud"}
    first = await client.post(path, json=part)
    assert (first.status_code, first.json()["state"]) == (200, "booked")
    assert (await client.post(path, json=part)).json() == first.json()
    assert (await client.get("/v1/refunds/ref_part")).json() == first.json()
    rest = (await client.post(path, json={})).json()
    assert rest["amount"] == 399  # the listener's card fee stays where the policy puts it
    more = await client.post(path, json=part | {"id": "ref_more"})
    assert (more.status_code, more.json()["code"]) == (403, "refund_too_large")
    assert await stories.guilty(runtime.database) == {}


async def written(database: Database) -> dict[str, int]:
    """How many rows there are of what a tip writes."""
    counts = {}
    for table in ("tips", "payments", "lines", "asks"):
        rows = await database.run(fetch, f"SELECT count(*) AS n FROM {table}")
        counts[table] = rows[0].n
    return counts
