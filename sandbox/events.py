"""Events: v1 snapshots of an object and thin v2 notifications, kept and sent out."""

from typing import Any

import orjson

from sandbox import webhooks
from sandbox.calls import Call, Operation, page
from sandbox.forms import array, boolean, listing, request, text
from sandbox.state import API_VERSION, PLATFORM, State, iso
from sandbox.tables import Row


def emit(
    state: State,
    type_: str,
    subject: Row,
    *,
    account: str = PLATFORM,
    before: Row | None = None,
) -> None:
    """The world is told, with the object as it is at this instant."""
    _emit_once(state, type_, subject, account, before)
    if state.faults.happens("twin", type_):
        _emit_once(state, type_, subject, account, before)


def _emit_once(state: State, type_: str, subject: Row, account: str, before: Row | None) -> None:
    row = state.add("event", account, type=type_, waiting=set())
    data: dict[str, Any] = {"object": subject}
    if before is not None:
        data["previous_attributes"] = before
    body = {
        "id": row["id"],
        "object": "event",
        "api_version": API_VERSION,
        "created": row["created"],
        "data": data,
        "livemode": False,
        "request": state.cause,
        "type": type_,
    }
    if account != PLATFORM:
        body["account"] = account
    row["body"] = orjson.dumps(body)  # a snapshot, and a third of a dict's memory
    webhooks.post(state, row, account)


def notify(state: State, type_: str, account: str, data: Row | None = None) -> None:
    """A thin v2 notification: which account changed, and nothing of what it now is."""
    row = state.add("v2.core.event", prefix="evt_test_", type=type_, about=account, waiting=set())
    body = {
        "id": row["id"],
        "object": "v2.core.event",
        "changes": None,
        "context": account,
        "created": iso(row["created"]),
        "livemode": False,
        "reason": None,
        "related_object": {
            "id": account,
            "type": "v2.core.account",
            "url": f"/v2/core/accounts/{account}",
        },
        "type": type_,
    }
    row["body"] = orjson.dumps(body)
    row["data"] = data
    webhooks.post(state, row, account, thin=True)


def shown(row: Row) -> Row:
    """An event as the API shows it: with the number of endpoints still waiting for it."""
    body: Row = orjson.loads(row["body"])
    if body["object"] == "event":
        body["pending_webhooks"] = len(row["waiting"])
    elif row["data"]:
        body["data"] = row["data"]
    return body


def list_events(call: Call) -> Row:
    """GET /v1/events; the undelivered are few and kept apart, so that a sweep is cheap."""
    params = call.params
    filters = {"type": params["type"]} if "type" in params else {}
    types, success = params.get("types"), params.get("delivery_success")
    undelivered = call.state.undelivered[call.account]

    def fits(row: Row) -> bool:
        return (types is None or row["type"] in types) and (
            success is None or (row["id"] not in undelivered) == success
        )

    within = undelivered if success is False else None
    rows, more = call.state.table("event", call.account).page(params, filters, fits, within)
    return page([shown(row) for row in rows], "/v1/events", more=more)


def retrieve_event(call: Call, id_: str) -> Row:
    """GET /v1/events/{id}."""
    return shown(call.state.get("event", id_, call.account))


def retrieve_notification(call: Call, id_: str) -> Row:
    """GET /v2/core/events/{id}."""
    return shown(call.state.get("v2.core.event", id_))


OPERATIONS = [
    Operation(
        "GET",
        "/v1/events",
        listing(type=text, types=array(text), delivery_success=boolean),
        list_events,
    ),
    Operation("GET", "/v1/events/{id}", request(), retrieve_event),
    Operation("GET", "/v2/core/events/{id}", request(), retrieve_notification),
]
