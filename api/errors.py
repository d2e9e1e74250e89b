"""Every error as a problem (RFC 9457), and the one place that knows HTTP statuses.

    Invalid       422   the request was understood and is wrong
                  400   where it could not even be read: broken JSON, too large, not from Stripe
                  415   where it is not meant to be JSON
    Unproven      401   who is asking is not known (api/auth.py)
    Refused       403   RFC 9110: understood, refused, and "should not automatically repeat"
                  402   where it is the bank or Stripe who says no, as in Stripe's own API
    NotFound      404   not there, or not yours
    Conflict      409   the state forbids it now
    Corrupt       500   the books or the database contradict themselves
    Unavailable   503   nothing was lost; with Retry-After

What nobody foresaw is a 500 ``internal``: its cause is in the log under the request's id, and
nowhere else.
"""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api.auth import Unproven
from api.schemas.problems import Fault, Problem
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

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1


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
    BodyTooLarge: HTTPStatus.BAD_REQUEST,
    MalformedJson: HTTPStatus.BAD_REQUEST,
    NotFromStripe: HTTPStatus.BAD_REQUEST,
    NotJson: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    Unproven: HTTPStatus.UNAUTHORIZED,
    CardDeclined: HTTPStatus.PAYMENT_REQUIRED,
    StripeRefused: HTTPStatus.PAYMENT_REQUIRED,
    Invalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    Refused: HTTPStatus.FORBIDDEN,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    Corrupt: HTTPStatus.INTERNAL_SERVER_ERROR,
    Exception: HTTPStatus.INTERNAL_SERVER_ERROR,
}

ROUTER_CODES: Mapping[int, str] = {
    HTTPStatus.BAD_REQUEST: "malformed_request",
    HTTPStatus.NOT_FOUND: "no_such_route",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
}


def install(app: FastAPI) -> None:
    """Let every error that the routes raise be answered as a problem."""
    app.add_exception_handler(TakingsError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _routing)


async def _ours(request: Request, error: Exception) -> Response:
    return answer(request.scope, error)


def status_of(kind: type[Exception]) -> HTTPStatus:
    """The status of a kind of error: that of its nearest ancestor in the map."""
    return next(STATUS[ancestor] for ancestor in kind.__mro__ if ancestor in STATUS)


def answer(scope: Mapping[str, Any], error: Exception) -> Response:
    """The problem of any error, ours or not."""
    status = status_of(type(error))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, Unavailable):
        log.error("request_failed", path=scope["path"], exc_info=error)
    if not isinstance(error, TakingsError):
        return problem(scope, status, "internal", "Something went wrong on our side.")
    detail = " ".join(filter(None, (error.message, error.remedy)))
    retryable = isinstance(error, Unavailable | InFlight)
    headers = {"Retry-After": str(RETRY_AFTER_S)} if retryable else {}
    if isinstance(error, Unproven):
        headers["WWW-Authenticate"] = "Bearer"
    return problem(
        scope, status, error.code, detail, headers, param=error.param, retryable=retryable
    )


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


async def _invalid(request: Request, error: Exception) -> Response:
    """What the schemas refuse: each fault with its place, none with the value that was sent."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    broken = next((one for one in found if one["type"] == "json_invalid"), None)
    if broken is not None:
        return answer(request.scope, MalformedJson(reason=broken["ctx"]["error"]))
    kind = request.headers.get("content-type", "of no stated type")
    if "json" not in kind and any(tuple(one["loc"]) == ("body",) for one in found):
        return answer(request.scope, NotJson(kind=_plain(kind)))
    faults = [_fault(one["loc"], one["msg"]) for one in found]
    named = [str(one["loc"][1]) for one in found if len(one["loc"]) > 1]
    return problem(
        request.scope,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid_request",
        "; ".join(f"{fault.pointer or fault.parameter}: {fault.detail}" for fault in faults),
        param=_plain(named[0]) if named else None,
        errors=faults,
    )


def _fault(place: Iterable[Any], detail: str) -> Fault:
    where, *steps = (_plain(str(step)) for step in place)
    if where == "body":
        escaped = (step.replace("~", "~0").replace("/", "~1") for step in steps)
        return Fault(pointer="#" + "".join(f"/{step}" for step in escaped), detail=detail)
    return Fault(parameter=".".join(steps) or where, detail=detail)


def _plain(name: str) -> str:
    """A field's name as sent, but such that it can be sent back."""
    return name.encode(errors="replace").decode()[:100]


async def _routing(request: Request, error: Exception) -> Response:
    """What the router says: no such route, no such method, a body that cannot be read."""
    if isinstance(error.__cause__, TakingsError):
        return answer(request.scope, error.__cause__)
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = ROUTER_CODES.get(status, "http_error")
    headers = error.headers if isinstance(error, HTTPException) else None
    return problem(request.scope, status, code, f"{HTTPStatus(status).phrase}.", headers)
