"""Webhook endpoints: who is told what, and how a delivery is signed."""

import hashlib
import heapq
import hmac
import time
from dataclasses import dataclass, field, replace

import orjson

from sandbox.calls import Call, Operation, page, retriever, update_metadata
from sandbox.forms import array, boolean, listing, metadata, request, text
from sandbox.state import API_VERSION, PLATFORM, State
from sandbox.tables import Row

STALE_VERSION = "2019-08-14"


@dataclass(order=True)
class Delivery:
    """One event on its way to one endpoint, due at a moment of real time."""

    due: float
    number: int
    event: Row = field(compare=False)
    endpoint: Row = field(compare=False)
    account: str = field(compare=False)  # whose event it is
    stale: bool = field(compare=False, default=False)
    attempts: int = field(compare=False, default=0)


def register(
    state: State,
    url: str,
    *,
    secret: str | None = None,
    connect: bool = False,
    thin: bool = False,
    enabled_events: list[str] | None = None,
    **plain: object,
) -> Row:
    """A new endpoint.

    ``connect``: told of connected accounts' events only; ``thin``: of v2 notifications only.
    """
    endpoint = state.add(
        "webhook_endpoint",
        api_version=plain.get("api_version") or API_VERSION,
        application=None,
        description=plain.get("description"),
        enabled_events=enabled_events or ["*"],
        metadata=plain.get("metadata") or {},
        status="enabled",
        url=url,
    )
    state.hooks[endpoint["id"]] = Hook(secret or state.new_id("whsec_"), connect, thin)
    return endpoint


@dataclass(frozen=True, slots=True)
class Hook:
    """What an endpoint is registered for, and the secret that it was told once."""

    secret: str
    connect: bool = False
    thin: bool = False


def sign(payload: bytes, secret: str, moment: int | None = None) -> str:
    """The ``Stripe-Signature`` header; dated by the real clock, as receivers check it."""
    moment = int(time.time()) if moment is None else moment
    signed = f"{moment}.".encode() + payload
    digest = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


def deliveries(state: State, event: Row, account: str, *, thin: bool) -> list[Delivery]:
    """One delivery of the event for each endpoint that wants to hear of it."""
    connect = account != PLATFORM
    now = time.monotonic()
    return [
        Delivery(now, 0, event, endpoint, account)
        for endpoint in state.table("webhook_endpoint").rows
        if endpoint["status"] == "enabled"
        and {"*", event["type"]} & set(endpoint["enabled_events"])
        and (hook := state.hooks[endpoint["id"]]).thin == thin
        and (thin or hook.connect == connect)
    ]


def post(state: State, event: Row, account: str, *, thin: bool = False) -> None:
    """The event is on its way to every endpoint that wants it, with the faults that it meets."""
    state.posted += 1
    event["number"] = state.posted
    going = deliveries(state, event, account, thin=thin)
    if not going:
        return
    event["waiting"] = {delivery.endpoint["id"] for delivery in going}
    state.undelivered[PLATFORM if thin else account][event["id"]] = event
    faults, type_ = state.faults, event["type"]
    if faults.happens("drop", type_):
        return
    late = faults.delivery.delay_seconds if faults.happens("delay", type_) else 0.0
    late += faults.jitter() if faults.happens("reorder", type_) else 0.0
    stale = faults.happens("stale", type_)
    copies = 2 if faults.happens("duplicate", type_) else 1
    for delivery in going * copies:
        enqueue(state, replace(delivery, due=delivery.due + late, stale=stale))


def enqueue(state: State, delivery: Delivery) -> None:
    """The delivery joins the queue."""
    state.queued += 1
    delivery.number = state.queued
    heapq.heappush(state.outbox, delivery)
    state.on_change()


def payload(delivery: Delivery) -> bytes:
    """The bytes that go out, which are the bytes that are signed."""
    body = orjson.loads(delivery.event["body"])
    if body["object"] == "event":
        body["pending_webhooks"] = len(delivery.event["waiting"])
        if delivery.stale:
            body["api_version"] = STALE_VERSION
    return orjson.dumps(body)


def delivered(state: State, delivery: Delivery) -> None:
    """The endpoint has answered 2xx; an event that nobody waits for any more is done."""
    waiting = delivery.event["waiting"]
    waiting.discard(delivery.endpoint["id"])
    if not waiting:
        owner = PLATFORM if delivery.event["object"] == "v2.core.event" else delivery.account
        state.undelivered[owner].pop(delivery.event["id"], None)


def create(call: Call) -> Row:
    """POST /v1/webhook_endpoints: the only answer that shows the secret."""
    endpoint = register(call.state, **call.params)
    return endpoint | {"secret": call.state.hooks[endpoint["id"]].secret}


def update(call: Call, id_: str) -> Row:
    """POST /v1/webhook_endpoints/{id}."""
    endpoint = call.state.get("webhook_endpoint", id_)
    changes = dict(call.params)
    update_metadata(endpoint, changes.pop("metadata", {}))
    if "disabled" in changes:
        endpoint["status"] = "disabled" if changes.pop("disabled") else "enabled"
    endpoint.update(changes)
    return endpoint


def delete(call: Call, id_: str) -> Row:
    """DELETE /v1/webhook_endpoints/{id}: it hears nothing from now on."""
    endpoint = call.state.get("webhook_endpoint", id_)
    endpoint["status"] = "deleted"
    return {"id": id_, "object": "webhook_endpoint", "deleted": True}


def list_endpoints(call: Call) -> Row:
    """GET /v1/webhook_endpoints."""
    table = call.state.table("webhook_endpoint")
    rows, more = table.page(call.params, {}, lambda row: row["status"] != "deleted")
    return page(rows, "/v1/webhook_endpoints", more=more)


PLAIN = {
    "enabled_events": array(text),
    "description": text,
    "metadata": metadata,
    "url": text,
}

OPERATIONS = [
    Operation(
        "POST",
        "/v1/webhook_endpoints",
        request("url", "enabled_events", connect=boolean, api_version=text, **PLAIN),
        create,
    ),
    Operation("GET", "/v1/webhook_endpoints", listing(), list_endpoints),
    Operation("GET", "/v1/webhook_endpoints/{id}", request(), retriever("webhook_endpoint")),
    Operation("POST", "/v1/webhook_endpoints/{id}", request(disabled=boolean, **PLAIN), update),
    Operation("DELETE", "/v1/webhook_endpoints/{id}", request(), delete),
]
