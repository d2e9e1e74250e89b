"""Every error as a problem (RFC 9457), and the one place that knows HTTP statuses.

    Invalid       422   the request was understood and is wrong
                  400   where it could not even be read: broken JSON, too large, not from Stripe
                  415   where it is not meant to be JSON
                  400   a header of ours is wrong or missing: Idempotency-Key, Takings-Version
                        (but 422 where the Idempotency-Key is another request's)
    Unproven      401   who is asking is not known (api/auth.py)
    Refused       403   RFC 9110: understood, refused, and "should not automatically repeat"
                  402   where it is the bank or Stripe who says no, as in Stripe's own API
    NotFound      404   not there, or not yours
    Conflict      409   the state forbids it now; also sold out, with Retry-After
                  412   it was edited since the caller looked (If-Match)
    Corrupt       500   the books or the database contradict themselves
    Unavailable   503   nothing was lost; with Retry-After
                  429   too many requests, or too many of one listener's tips

What nobody foresaw is a 500 ``internal``: its cause is in the log under the request's id, and
nowhere else.
"""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from api.acts import BadIdempotencyKey, IdempotencyKeyMissing, IdempotencyKeyReused
from api.auth import Unproven
from api.dependencies import BadIfMatch
from api.limits import TooManyRequests
from api.schemas.problems import Fault, Problem
from api.versions import UnknownVersion
from takings.editions import EditedMeanwhile
from takings.errors import (
    Conflict,
    Corrupt,
    Invalid,
    NotFound,
    Refused,
    TakingsError,
    Unavailable,
)
from takings.payments.asks import InFlight
from takings.payments.objects import NotFromStripe
from takings.payments.stripe import CardDeclined, StripeRefused
from ticketing.holds import SoldOut
from tipping.limits import TooManyTips

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
METHODS = ("GET", "PATCH", "POST", "PUT")
TOLD = 20  # faults of one request: a body may have as many as it has bytes


class BodyTooLarge(Invalid):
    """The body is larger than {most} bytes.

    Send less.
    """


class NotJson(Invalid):
    """The body is {kind}, not JSON.

    Send one JSON object with "Content-Type: application/json".
    """


class MalformedJson(Invalid):
    """The body is not JSON: {reason}.

    Send one JSON object, in UTF-8.
    """


STATUS: Mapping[type[Exception], HTTPStatus] = {
    BadIdempotencyKey: HTTPStatus.BAD_REQUEST,
    BadIfMatch: HTTPStatus.BAD_REQUEST,
    EditedMeanwhile: HTTPStatus.PRECONDITION_FAILED,
    BodyTooLarge: HTTPStatus.BAD_REQUEST,
    IdempotencyKeyMissing: HTTPStatus.BAD_REQUEST,
    IdempotencyKeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    MalformedJson: HTTPStatus.BAD_REQUEST,
    NotFromStripe: HTTPStatus.BAD_REQUEST,
    UnknownVersion: HTTPStatus.BAD_REQUEST,
    NotJson: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Unproven: HTTPStatus.UNAUTHORIZED,
    CardDeclined: HTTPStatus.PAYMENT_REQUIRED,
    StripeRefused: HTTPStatus.PAYMENT_REQUIRED,
    Invalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    Refused: HTTPStatus.FORBIDDEN,
    TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    TooManyTips: HTTPStatus.TOO_MANY_REQUESTS,
    SoldOut: HTTPStatus.CONFLICT,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    Corrupt: HTTPStatus.INTERNAL_SERVER_ERROR,
    Exception: HTTPStatus.INTERNAL_SERVER_ERROR,
}

ROUTER: Mapping[int, tuple[str, str, str]] = {
    HTTPStatus.BAD_REQUEST: (
        "malformed_request",
        "The request could not be read.",
        "Send one JSON object, in UTF-8.",
    ),
    HTTPStatus.NOT_FOUND: (
        "no_such_route",
        "Nothing is at this address.",
        "Look for the operation in the reference at /docs.",
    ),
    HTTPStatus.METHOD_NOT_ALLOWED: (
        "method_not_allowed",
        "The address exists, and is not asked in this way.",
        "The Allow header names the ways.",
    ),
}
"""What the router says: a code, what it means, what to do."""

WORDS: Mapping[str, str] = {
    "extra_forbidden": "Nothing of this name is taken here",
    "model_attributes_type": "Input should be an object",
}
"""Pydantic's words for its own kinds of fault, where a caller would not understand them."""


def install(app: FastAPI) -> None:
    """Let every error that the routes raise be answered as a problem."""
    for kind in (TakingsError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _answered)


async def _answered(request: Request, error: Exception) -> Response:
    return answer(request.scope, error)


def status_of(kind: type[Exception]) -> HTTPStatus:
    """The status of a kind of error: that of its nearest ancestor in the map."""
    return next(STATUS[ancestor] for ancestor in kind.__mro__ if ancestor in STATUS)


def retryable(kind: type[Exception]) -> bool:
    """Whether the same request may be answered otherwise in a moment."""
    return issubclass(kind, Unavailable | InFlight)


def answer(scope: Mapping[str, Any], error: Exception) -> Response:
    """The problem of any error, ours or not."""
    if isinstance(error, RequestValidationError):
        return _invalid(scope, error)
    if isinstance(error, HTTPException):
        return _routing(scope, error)
    status = status_of(type(error))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, Unavailable):
        log.error("request_failed", path=scope["path"], exc_info=error)
    if not isinstance(error, TakingsError):
        return problem(scope, status, "internal", "Something went wrong on our side.")
    detail = " ".join(filter(None, (error.message, error.remedy)))
    again = retryable(type(error))
    wait_s = error.facts.get("retry_after_s", RETRY_AFTER_S)
    headers = {"Retry-After": str(wait_s)} if again else {}
    if isinstance(error, Unproven):
        headers["WWW-Authenticate"] = "Bearer"
    return problem(scope, status, error.code, detail, headers, param=error.param, retryable=again)


def problem(
    scope: Mapping[str, Any],
    status: int,
    code: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    *,
    param: str | None = None,
    errors: list[Fault] | None = None,
    retryable: bool = False,
) -> Response:
    """One problem as a response; the code says what it is, for good."""
    told = Problem(
        type=f"/problems/{code}",
        title=code.replace("_", " ").capitalize(),
        status=status,
        detail=detail,
        instance=scope["path"],
        code=code,
        param=param,
        errors=errors,
        request_id=scope["state"]["request_id"],
        retryable=retryable,
    )
    return Response(told.model_dump_json(exclude_none=True), status, headers, MEDIA_TYPE)


def _invalid(scope: Mapping[str, Any], error: RequestValidationError) -> Response:
    """What the schemas refuse: each fault with its place, none with the value that was sent."""
    found = error.errors()
    broken = next((one for one in found if one["type"] == "json_invalid"), None)
    if broken is not None:
        return answer(scope, MalformedJson(reason=broken["ctx"]["error"]))
    kind = Headers(scope=dict(scope)).get("content-type", "of no stated type")
    if "json" not in kind and any(tuple(one["loc"]) == ("body",) for one in found):
        return answer(scope, NotJson(kind=_plain(kind)))
    faults = [_fault(one["loc"], _in_words(one)) for one in found[:TOLD]]
    named = [str(one["loc"][1]) for one in found[:TOLD] if len(one["loc"]) > 1]
    return problem(
        scope,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid_request",
        "; ".join(f"{fault.pointer or fault.parameter}: {fault.detail}" for fault in faults),
        param=_plain(named[0]) if named else None,
        errors=faults,
    )


def _in_words(fault: Mapping[str, Any]) -> str:
    return WORDS.get(fault["type"]) or str(fault["msg"]).removeprefix("Value error, ")


def _fault(place: Iterable[Any], detail: str) -> Fault:
    where, *steps = (_plain(str(step)) for step in place)
    if where == "body":
        escaped = (step.replace("~", "~0").replace("/", "~1") for step in steps)
        return Fault(pointer="#" + "".join(f"/{step}" for step in escaped), detail=detail)
    return Fault(parameter=".".join(steps) or where, detail=detail)


def _plain(name: str) -> str:
    """A field's name as sent, but such that it can be sent back."""
    return name.encode(errors="replace").decode()[:100]


def _routing(scope: Mapping[str, Any], error: HTTPException) -> Response:
    """What the router says: no such route, no such method, a body that cannot be read."""
    if isinstance(error.__cause__, TakingsError):
        return answer(scope, error.__cause__)
    status = error.status_code
    code, *told = ROUTER.get(status, ("http_error", f"{HTTPStatus(status).phrase}."))
    headers = dict(error.headers or {})
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_ways(scope))
    return problem(scope, status, code, " ".join(told), headers)


def _ways(scope: Mapping[str, Any]) -> list[str]:
    """All methods of an address: the router names only those of the first route to it."""
    return [
        method
        for method in METHODS
        for route in scope["app"].routes
        if route.matches({**scope, "method": method})[0] is Match.FULL
    ]
