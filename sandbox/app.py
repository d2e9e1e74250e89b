"""The whole stand-in as one ASGI application: Stripe's API, pages for people, and controls."""

import re
from collections.abc import Awaitable, Callable

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from sandbox import (
    accounts,
    charges,
    checkout,
    commands,
    disputes,
    door,
    events,
    intents,
    methods,
    money,
    pages,
    payouts,
    refunds,
    reversals,
    transfers,
    webhooks,
)
from sandbox.calls import Operation
from sandbox.control import Sandbox
from sandbox.errors import StripeError

OPERATIONS: list[Operation] = [
    *intents.OPERATIONS,
    *checkout.OPERATIONS,
    *charges.OPERATIONS,
    *money.OPERATIONS,
    *refunds.OPERATIONS,
    *disputes.OPERATIONS,
    *transfers.OPERATIONS,
    *reversals.OPERATIONS,
    *payouts.OPERATIONS,
    *accounts.OPERATIONS,
    *methods.OPERATIONS,
    *events.OPERATIONS,
    *webhooks.OPERATIONS,
]


def build(box: Sandbox) -> Starlette:
    """The application around one sandbox."""
    routes = [Route(op.path, _endpoint(box, op), methods=[op.method]) for op in OPERATIONS]
    routes += [*pages.routes(box), *commands.routes(box)]
    routes.append(Route("/{path:path}", _unknown, methods=["GET", "POST", "DELETE"]))
    return Starlette(routes=routes)


def _endpoint(box: Sandbox, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    names = re.findall(r"{(\w+)}", operation.path)

    async def endpoint(request: Request) -> Response:
        state = box.state
        asked = await door.read(state, request)
        ids = [request.path_params[name] for name in names]
        given = await door.answer(state, operation, asked, ids)
        if given.status is None:
            return Hangup()
        return Response(given.body, given.status, door.headers(asked, given), "application/json")

    return endpoint


class Hangup(Response):
    """A connection closed in the middle of an answer: the caller cannot know what happened."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """Promise one byte and leave."""
        length = [(b"content-length", b"1")]
        await send({"type": "http.response.start", "status": 200, "headers": length})


async def _unknown(request: Request) -> Response:
    refusal = StripeError(
        f"Unrecognized request URL ({request.method}: {request.url.path}).", status=404
    )
    return Response(orjson.dumps(refusal.body()), 404, media_type="application/json")
