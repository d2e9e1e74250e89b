"""What stands around every operation: authorisation, faults, idempotency, and the log."""

import asyncio
import logging
from base64 import b64decode
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import orjson
from starlette.requests import Request

from sandbox import idempotency
from sandbox.calls import Call, Operation, expand
from sandbox.errors import ParameterError, StripeError, insufficient, no_access
from sandbox.faults import CallFault
from sandbox.forms import decode
from sandbox.state import API_VERSION, PLATFORM, Logged, State
from sandbox.tables import Row

log = logging.getLogger(__name__)

REFUSALS = {  # faults that refuse the call before anything has run: nothing remembers them
    "409": StripeError(
        "This object cannot be accessed right now because another API request or Stripe process "
        "is currently accessing it.",
        status=409,
        code="lock_timeout",
    ),
    "429": StripeError("Request rate limit exceeded.", status=429, code="rate_limit"),
    "503": StripeError("Service unavailable.", status=503, kind="api_error"),
}
BROKEN = StripeError("An unknown error occurred.", status=500, kind="api_error")
FAILURES = {  # faults that the idempotency key remembers
    "500": BROKEN,
    "balance_insufficient": insufficient("Insufficient funds in your Stripe balance."),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came."""

    id: str
    method: str
    path: str
    body: bytes
    query: str
    key_used: str
    account: str | None
    version: str | None
    idempotency_key: str | None
    params: Row


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back; without a status, the connection is closed and nothing is said."""

    status: int | None
    body: bytes = b""
    replayed: bool = False
    remembered: bool = True  # under the idempotency key
    first_id: str | None = None  # the request that was answered first with it


async def read(state: State, request: Request) -> Asked:
    """The request, its parameters decoded but not yet judged."""
    headers = request.headers
    asked = Asked(
        id=state.new_id("req_"),
        method=request.method,
        path=request.url.path,
        body=await request.body(),
        query=request.url.query,
        key_used=headers.get("authorization", ""),
        account=headers.get("stripe-account") or headers.get("stripe-context"),
        version=headers.get("stripe-version"),
        idempotency_key=headers.get("idempotency-key") if request.method == "POST" else None,
        params={},
    )
    return replace(asked, params=_decoded(asked))


def _decoded(asked: Asked) -> Row:
    """A form's fields as nested text, or a v2 body's JSON."""
    try:
        if asked.method == "POST" and asked.path.startswith("/v2/"):
            body: Any = orjson.loads(asked.body or b"{}")
            return body if isinstance(body, dict) else {"": body}
        return decode(asked.body.decode() if asked.method == "POST" else asked.query)
    except (ParameterError, ValueError):
        return {"": "unreadable"}  # refused by name, as any unknown parameter


async def answer(state: State, operation: Operation, asked: Asked, ids: list[str]) -> Answer:
    """The answer, whatever goes wrong on the way to it; logged either way."""
    fault = state.faults.take(asked.method, asked.path)
    try:
        given = await _guarded(state, operation, asked, ids, fault)
    except StripeError as refusal:
        given = _refused(refusal)
    if fault is not None and fault.kind == "timeout_with_effect":
        given = replace(given, status=None)
    _write_down(state, asked, given)
    return given


async def _guarded(
    state: State, operation: Operation, asked: Asked, ids: list[str], fault: CallFault | None
) -> Answer:
    kind = fault.kind if fault else ""
    if kind == "timeout_without_effect":
        return Answer(None)
    if kind in REFUSALS:
        raise REFUSALS[kind]
    account = _authorised(state, asked)
    if asked.idempotency_key is None:
        return await _executed(state, operation, asked, ids, account=account, fault=fault)
    kept = idempotency.begin(state, account, asked)
    if kept.status is not None:
        return Answer(kept.status, kept.answer, replayed=True, first_id=kept.request_id)
    given = await _executed(state, operation, asked, ids, account=account, fault=fault)
    if given.remembered:
        kept.status, kept.answer = given.status, given.body
    else:
        idempotency.forget(state, account, asked.idempotency_key)
    return given


def _key(given: str) -> str:
    """The API key of an Authorization header: a bearer's, or the user of basic credentials."""
    kind, _, rest = given.partition(" ")
    if kind.lower() == "basic":
        with suppress(ValueError):
            return b64decode(rest).decode().partition(":")[0]
    return rest if kind.lower() == "bearer" else ""


def _authorised(state: State, asked: Asked) -> str:
    """Whose account it is about: the key's, or a connected one that the key may act for."""
    if not _key(asked.key_used).startswith("sk_test_"):
        raise StripeError("Invalid API Key provided.", status=401)
    if asked.account in {None, PLATFORM} or asked.path.startswith("/v2/"):
        return PLATFORM
    account = state.table("account").get(asked.account or "")
    if account is None or account["deauthorized"]:
        raise no_access()
    return str(asked.account)


async def _executed(
    state: State,
    operation: Operation,
    asked: Asked,
    ids: list[str],
    *,
    account: str,
    fault: CallFault | None,
) -> Answer:
    """The operation has run, or said why not; a bug of ours is a 500 with its trace in the log."""
    if fault and fault.latency:
        await asyncio.sleep(fault.latency)
    if fault and fault.kind in FAILURES:
        return _refused(FAILURES[fault.kind])
    state.catch_up()
    state.cause = {"id": asked.id, "idempotency_key": asked.idempotency_key}
    try:
        older = asked.version is None
        raw = operation.reads.trimmed(asked.params) if older else asked.params
        call = Call(state, account, operation.reads(raw), older)
        paths = call.params.pop("expand", [])
        return Answer(200, orjson.dumps(expand(call, operation.does(call, *ids), paths)))
    except StripeError as refusal:
        return _refused(refusal)
    except Exception:
        log.exception("%s %s", asked.method, asked.path)
        return _refused(BROKEN)
    finally:
        state.cause = {"id": None, "idempotency_key": None}


def _refused(refusal: StripeError) -> Answer:
    remembered = not isinstance(refusal, ParameterError)
    return Answer(refusal.status, orjson.dumps(refusal.body()), remembered=remembered)


def headers(asked: Asked, given: Answer) -> dict[str, str]:
    """Stripe's own headers."""
    named = {"Request-Id": asked.id, "Stripe-Version": asked.version or API_VERSION}
    if asked.idempotency_key:
        named["Idempotency-Key"] = asked.idempotency_key
        named["Original-Request"] = given.first_id or asked.id
    if given.replayed:
        named["Idempotent-Replayed"] = "true"
    return named


def _write_down(state: State, asked: Asked, given: Answer) -> None:
    state.requests.append(
        Logged(
            id=asked.id,
            method=asked.method,
            path=asked.path,
            params=asked.params,
            body=asked.body,
            query=asked.query,
            account=asked.account,
            version=asked.version,
            idempotency_key=asked.idempotency_key,
            status=given.status,
            answer=given.body,
            replayed=given.replayed,
        )
    )
