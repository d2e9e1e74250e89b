"""Webhooks in: raw bytes → verified → stored once → 200 after the commit.

Plain Starlette routes: nothing here needs a schema, and much of what comes in comes at once.  What
arrives while one commit is in flight is the next commit.
"""

from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.runtime import Runtime, secrets
from takings.batching import Batcher
from takings.payments import signatures, webhooks
from takings.payments.objects import Notice

Endpoint = Callable[[Request], Awaitable[Response]]
Stored = Batcher[tuple[str, Notice], bool]


def routes(runtime: Runtime) -> list[Route]:
    """Both endpoints around one writer; raises SecretMissing, which must stop the service."""

    async def write(notices: Sequence[tuple[str, Notice]]) -> Sequence[bool]:
        return await webhooks.receive(runtime.database, notices, now=runtime.now())

    store = Stored(write)
    account = endpoint(runtime, store, "account", thin=False)
    connect = endpoint(runtime, store, "connect", thin=True)
    return [
        Route("/webhooks/stripe", account, methods=["POST"]),
        Route("/webhooks/stripe/connect", connect, methods=["POST"]),
    ]


def endpoint(runtime: Runtime, store: Stored, name: str, *, thin: bool) -> Endpoint:
    """One webhook endpoint, with its own signing secrets."""
    known = secrets(runtime.settings, name)

    async def receive(request: Request) -> Response:
        body = await request.body()
        signature = request.headers.get("stripe-signature")
        live = runtime.stripe.live
        now = runtime.clock()  # who signs does so by the real one
        notice = signatures.verify(body, signature, known, thin=thin, live=live, now=now)
        await store.put((name, notice))
        return Response()

    return receive
