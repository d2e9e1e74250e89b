"""The envelope of every request: its name, the size of its body, and an answer whatever happens."""

import structlog
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api import errors
from takings.payments.stripe import BODY_MAX
from takings.records import new_id

OURS_MAX = 256 * 1024
"""Bytes of a body that is not Stripe's: what takes long to refuse would hold up everybody else."""


class Envelope:
    """Names each request, in its answer and in its log lines, and lets no error out unanswered."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, and answer it if nobody else did."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = new_id("req")
        scope.setdefault("state", {})["request_id"] = request_id
        answered = False

        async def signed(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                name = (b"request-id", request_id.encode())
                message["headers"] = [*message.get("headers", ()), name]
            await send(message)

        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            await self.app(scope, limited(scope, receive), signed)
        except ClientDisconnect:
            return  # nobody is there to hear an answer
        except Exception as error:
            if answered:
                raise
            await errors.answer(scope, error)(scope, receive, signed)


def limited(scope: Scope, receive: Receive) -> Receive:
    """The request's body, refused as soon as it says or shows that it is too large."""
    most = left = BODY_MAX if scope["path"].startswith("/webhooks/") else OURS_MAX
    announced = Headers(scope=scope).get("content-length", "")

    async def counted() -> Message:
        nonlocal left
        if announced.isdecimal() and int(announced) > most:
            raise errors.BodyTooLarge(most=most)
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise errors.BodyTooLarge(most=most)
        return message

    return counted
