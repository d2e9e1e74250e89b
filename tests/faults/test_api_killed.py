"""kill -9 of the service while Stripe does what it asked: the same key finishes it, once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from api.acts import HEADER
from api.operations import REPLAYED
from api.runtime import Runtime
from api.settings import Settings
from sandbox.control import Sandbox
from takings.payments.asks import LEASE
from tests import processes, stories
from tests.acceptance.world import World, inside

TIP = {"space": "spc_one", "listener": "lis_zoe", "amount": 500, "currency": "eur"}


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

    process, url = await processes.start(settings)
    box.faults.call("latency", "/v1/payment_intents", latency=1.0)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        sending = asyncio.create_task(client.post("/v1/tips", json=tip))
        while not await database.fetch("SELECT key FROM asks"):
            assert not sending.done()
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)  # the call is on its way
        await processes.kill(process)
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
