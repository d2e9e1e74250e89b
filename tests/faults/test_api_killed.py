"""kill -9 of the service while Stripe does what it asked: the same key finishes it, once."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from api.acts import HEADER
from api.operations import REPLAYED
from api.runtime import Runtime
from api.settings import Settings, environment
from sandbox.control import Sandbox
from takings.payments.asks import LEASE
from tests import stories
from tests.acceptance.world import World, inside
from tests.conftest import CONNECT_SECRET, ROOT, SECRET

TIP = {"space": "spc_one", "listener": "lis_zoe", "amount": 500, "currency": "eur"}


async def start(settings: Settings) -> tuple[asyncio.subprocess.Process, str]:
    """A service in a process of its own, and its address."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "api.cli", "serve", "--port", "0"),
        cwd=ROOT,
        env=environment(
            database_url=settings.database_url or "",
            owner_url=settings.owner_url or "",
            stripe_api_key=settings.stripe_api_key.get_secret_value(),
            stripe_api_base=settings.stripe_api_base or "",
            stripe_webhook_secrets=SECRET,
            stripe_connect_secrets=CONNECT_SECRET,
        ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while b"listening on" not in (line := await process.stdout.readline()):
            assert line, "it did not start"
    return process, line.decode().split()[-1]


@pytest.fixture
async def world(runtime: Runtime, box: Sandbox) -> AsyncIterator[World]:
    """The service that comes after it."""
    async with inside(runtime, box) as found:
        yield found


async def test_a_service_killed_while_stripe_works_is_finished_once_by_the_same_key(
    world: World, settings: Settings
) -> None:
    box, database = world.box, world.runtime.database
    await stories.room(database, world.runtime.now())
    headers = {HEADER: "one", "Authorization": world.client.headers["Authorization"]}
    tip = TIP | {"surface": "intent"}

    process, url = await start(settings)
    box.faults.call("latency", "/v1/payment_intents", latency=1.0)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        sending = asyncio.create_task(client.post("/v1/tips", json=tip))
        while not await database.fetch("SELECT key FROM asks"):
            assert not sending.done()
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)  # the call is on its way
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        with pytest.raises(httpx.TransportError):
            await sending
    async with asyncio.timeout(30):
        while not box.state.table("payment_intent").rows:
            await asyncio.sleep(0.05)

    early = await world.client.post("/v1/tips", json=tip, headers=headers)
    assert (early.status_code, early.json()["code"]) == (409, "in_flight")
    world.ahead += LEASE + timedelta(seconds=1)
    late = await world.client.post("/v1/tips", json=tip, headers=headers)
    again = await world.client.post("/v1/tips", json=tip, headers=headers)
    assert (late.status_code, REPLAYED in late.headers) == (200, False)
    assert (again.content, again.headers[REPLAYED]) == (late.content, "true")
    assert len(box.state.table("payment_intent").rows) == 1
    assert len(await database.fetch("SELECT id FROM tips")) == 1
