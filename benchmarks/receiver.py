"""The product's service with floors beside it: routes without what is measured.

``python -m benchmarks.receiver`` serves until its standard input is closed.  ``/nothing`` only
reads the body, which is the webhooks' floor; ``/plain/…`` is ``/v1/…`` without the door.
"""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvloop
from fastapi import APIRouter
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api import app, logs, runtime, serving
from api import spaces as resource
from api.schemas.holds import Hold, HoldInput
from api.settings import Settings

SECRET = "whsec_benchmarks"  # noqa: S105 - of nobody
UNLIMITED = 1_000_000
HELD = Hold(
    id="hold_0000000000000000000000000",
    created=0,
    run="run_hot",
    tier="tier_hot",
    listener="lis_one",
    quantity=1,
    price=1000,
    currency="eur",
    state="held",
    expires_at=0,
    remaining=1,
)


async def hold(given: HoldInput) -> Hold:  # noqa: ARG001 - only its shape counts
    """Do nothing, with the models of the real one."""
    return HELD


PLAIN = (
    ("GET", "/spaces/{id}", resource.one),
    ("POST", "/spaces/{id}/live", resource.live),
    ("POST", "/holds", hold),
)


async def nothing(request: Request) -> Response:
    """Read the body, answer 200."""
    await request.body()
    return Response()


async def main(app_url: str, owner_url: str) -> None:
    """Serve, and say where on the first line of standard output."""
    logs.configure()
    settings = Settings(
        _env_file=None,
        database_url=app_url,
        owner_url=owner_url,
        stripe_api_key=SecretStr("sk_test_benchmarks"),
        stripe_webhook_secrets=[SecretStr(SECRET)],
        stripe_connect_secrets=[SecretStr(SECRET)],
        rate_limit=UNLIMITED,  # it is asked all the same
    )
    async with runtime.running(settings, migrated=False) as held, listening(held) as url:
        print(url, flush=True)
        await asyncio.to_thread(sys.stdin.read)


@asynccontextmanager
async def listening(held: runtime.Runtime) -> AsyncIterator[str]:
    """The product's own configuration of its server, around its own app."""
    service = app.create(held)
    service.router.routes.insert(0, Route("/nothing", nothing, methods=["POST"]))
    plain = APIRouter(prefix="/plain", tags=["plain"])
    for method, path, act in PLAIN:
        plain.add_api_route(path, act, methods=[method])
    service.router.routes[:0] = plain.routes  # found at least as soon as ours
    with serving.bound("127.0.0.1", 0) as listener:
        server = serving.Server(serving.configured(service))
        gc.freeze()
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started and not task.done():  # noqa: ASYNC110 - it rings no bell
            await asyncio.sleep(0.005)
        yield "http://{}:{}".format(*listener.getsockname())
        server.should_exit = True
        await task


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
