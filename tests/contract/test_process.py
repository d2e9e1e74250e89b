"""The sandbox by itself, as a process; and the real Stripe CLI in front of it."""

import asyncio
import json
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator

import httpx
import pytest

import sandbox
from tests.contract.conftest import Ear

CLI = shutil.which("stripe")


@pytest.fixture
async def process(ear: Ear) -> AsyncIterator[asyncio.subprocess.Process]:
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "sandbox", "--port", "0", "--webhook", ear.url, "--secret", ear.secret),
        stdout=asyncio.subprocess.PIPE,
    )
    yield started
    if started.returncode is None:
        started.kill()
        await started.wait()


async def test_it_says_where_it_listens_and_stops_at_once_when_told(
    process: asyncio.subprocess.Process, ear: Ear
) -> None:
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    assert line.startswith("sandbox listening on http://127.0.0.1:")
    async with httpx.AsyncClient(base_url=line.split()[-1]) as remote:
        made = await remote.post(
            "/v1/payment_intents",
            data={"amount": "500", "currency": "eur"},
            headers={"Authorization": "Bearer sk_test_x"},
        )
        await remote.post("/_sandbox/pay", json={"payment_intent": made.json()["id"]})
        assert (await remote.post("/_sandbox/deliver")).status_code == 200
        assert len(ear.heard) == 4
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 5) == 0
        assert time.monotonic() - started < 2


@pytest.mark.skipif(CLI is None, reason="the Stripe CLI is not installed")
@pytest.mark.parametrize(
    "event",
    ["payment_intent.succeeded", "charge.refunded", "payout.created", "charge.dispute.created"],
)
async def test_the_stripe_cli_can_trigger_events(event: str) -> None:
    async with sandbox.running(seed=1) as box:
        trigger = await asyncio.create_subprocess_exec(
            str(CLI),
            *("trigger", event, "--api-base", box.url, "--api-key", "sk_test_sandbox123456"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await trigger.communicate()
        assert trigger.returncode == 0, said.decode() + json.dumps([r.path for r in box.requests])
        assert event in [e["type"] for e in box.events]


async def test_it_stops_even_when_something_has_just_become_due() -> None:
    for _ in range(5):
        started = time.monotonic()
        async with sandbox.running() as box:
            box.advance(10)  # wakes the courier and leaves it no time to sleep again
        assert time.monotonic() - started < 2
