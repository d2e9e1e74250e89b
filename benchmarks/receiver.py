"""The product's service with floors beside it: routes without what is measured.

``python -m benchmarks.receiver`` serves until its standard input is closed.  ``/nothing`` only
reads the body, which is the webhooks' floor; ``/plain/…`` is ``/v1/…`` without the door, or does
nothing; ``/alone/…`` is a hold that shares no statement with others.
"""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvloop
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api import app, logs, operations, runtime, serving
from api import spaces as resource
from api.dependencies import Here, New
from api.schemas.holds import Hold, HoldInput
from api.schemas.quotas import Quota, TierQuota
from api.settings import Settings
from ticketing import holds

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
TIER = TierQuota(tier="tier_hot", size=None, sold=1, held=1, available=8)


async def hold(given: HoldInput) -> Hold:  # noqa: ARG001 - only its shape counts
    """Do nothing, with the models of the real one."""
    return HELD


QUOTA = Quota(run="run_hot", size=10, sold=1, held=1, waiting=0, available=8, as_of=0, tiers=[TIER])


async def quota(id: str) -> Quota:  # noqa: A002, ARG001 - the name in the address
    """Do nothing, with the model of the real one."""
    return QUOTA


PLAIN = (
    ("GET", "/spaces/{id}", resource.one),
    ("POST", "/spaces/{id}/live", resource.live),
    ("POST", "/holds", hold),
    ("GET", "/runs/{id}/quota", quota),
)

ALONE = operations.router("alone", prefix="/alone")


@ALONE.post("/holds", **operations.operation("tickets", moves_money=True))
async def alone(here: Here, new: New, given: HoldInput) -> Hold:
    """Hold tickets as every act is done: begun, a statement of its own, noted."""
    wish = given.claim(new.of("hold", given.id))
    return Hold.of(await holds.claim(here.database, wish, now=here.now()))


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
    for method, path, act in PLAIN:
        service.add_api_route(f"/plain{path}", act, methods=[method], tags=["plain"])
    routes = service.router.routes
    routes[:] = routes[-len(PLAIN) :] + ALONE.routes + routes[: -len(PLAIN)]  # found at once
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
