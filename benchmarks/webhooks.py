"""Receiving a webhook over HTTP, against a route of the same server that only reads the body.

The load comes from ``wrk``, which sends events that were signed beforehand, each once.
"""

import asyncio
import hashlib
import hmac
import re
import shutil
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import psutil

from benchmarks import receiver
from benchmarks.measure import Figure, Peak, Side, interleaved, ratio
from benchmarks.stage import Stage
from takings import records

EVENTS, CONNECTIONS, SECONDS, ROUNDS = 20_000, 64, 2, 5

# One line is a signature, the next its body.
SCRIPT = """
local lines, at = {}, 0
for line in io.lines("EVENTS") do lines[#lines + 1] = line end
request = function()
  at = at % #lines + 2
  return wrk.format("POST", nil, {["stripe-signature"] = lines[at - 1]}, lines[at])
end
"""


async def received(stage: Stage) -> list[Figure]:
    """Stored after its signature was verified, committed, answered."""
    figure = Figure(
        "receive a webhook over HTTP",
        "requests/s",
        goal="≥ 0.5",
        note=f"wrk, {CONNECTIONS} connections; floor: the same server only reads the body",
    )
    if shutil.which("wrk") is None:
        return [replace(figure, note="not measured: wrk is not installed")]
    with TemporaryDirectory() as folder:
        async with serving(stage) as (url, process):
            busy: dict[str, list[float]] = {"/webhooks/stripe": [], "/nothing": []}
            sides = {route: load(url + route, Path(folder), process, busy[route]) for route in busy}
            with Peak(process.pid) as peak:
                found = await interleaved(ROUNDS, sides)
    ours, floor = found["/webhooks/stripe"], found["/nothing"]
    cores = "server at {:.0%} of a core, floor at {:.0%}".format(
        *(statistics.median(busy[route]) for route in busy)
    )
    return [
        replace(
            figure,
            value=statistics.median(ours),
            floor=statistics.median(floor),
            ratio=ratio(ours, floor),
            peak_mb=peak.mb,
            note=f"{figure.note}; {cores}; peak of the server",
        )
    ]


@asynccontextmanager
async def serving(stage: Stage) -> AsyncIterator[tuple[str, psutil.Process]]:
    """The server in a process of its own, and its address."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", receiver.__name__, stage.app, stage.owner),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,  # a line for each request
    )
    try:
        line = await process.stdout.readline() if process.stdout else b""
        yield line.decode().strip(), psutil.Process(process.pid)
    finally:
        if process.stdin:
            process.stdin.close()
        await process.wait()


def load(url: str, folder: Path, server: psutil.Process, busy: list[float]) -> Side:
    """A side: wrk posts new events for two seconds; how busy the server was is noted."""

    async def side() -> float:
        script, events = folder / "load.lua", folder / "events"
        await asyncio.to_thread(events.write_text, signed(EVENTS))
        script.write_text(SCRIPT.replace("EVENTS", str(events)))
        return await sent(url, script, server, busy)

    return side


async def sent(
    url: str, script: Path, server: psutil.Process, busy: list[float], *, refused: bool = False
) -> float:
    """Requests a second that were answered well, or all refused; notes how busy the server was."""
    before = server.cpu_times()
    said = await loaded(url, script)
    after = server.cpu_times()
    busy.append((after.user + after.system - before.user - before.system) / SECONDS)
    total = int(re.findall(r"(\d+) requests in", said)[0])
    other = sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", said)))
    if other != (total if refused else 0):
        raise AssertionError(said)
    return float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0])


async def loaded(url: str, script: Path, *options: str) -> str:
    """What wrk says after a while of load."""
    process = await asyncio.create_subprocess_exec(
        *("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", *options, "-s", str(script), url),
        stdout=asyncio.subprocess.PIPE,
    )
    return (await process.communicate())[0].decode()


def signed(count: int) -> str:
    """As many new events, each with its signature in the line before it."""
    now = int(time.time())
    lines = []
    for _ in range(count):
        body = event(records.new_id("evt"), now)
        digest = hmac.new(receiver.SECRET.encode(), f"{now}.{body}".encode(), hashlib.sha256)
        lines += [f"t={now},v1={digest.hexdigest()}", body]
    return "\n".join(lines) + "\n"


def event(name: str, now: int) -> str:
    """A PaymentIntent that succeeded, as Stripe tells of it, a kilobyte or so."""
    intent = {"id": f"pi_{name}", "object": "payment_intent", "amount": 546, "currency": "eur"}
    filling = {f"field_{number}": f"value of field {number}" for number in range(20)}
    told = {
        "id": name,
        "object": "event",
        "api_version": "2026-10-28",
        "type": "payment_intent.succeeded",
        "created": now,
        "livemode": False,
        "data": {"object": intent | filling | {"status": "succeeded"}},
    }
    return orjson.dumps(told).decode()
