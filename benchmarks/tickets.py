"""Limited runs over HTTP, one hot run: a hold, a hold refused, what is left; the wait at half load.

The floors are routes of the same server, found as soon as ours, that do nothing: they read the same
body and answer with the same models.  The load is ``wrk``'s.
"""

import asyncio
import os
import re
import shutil
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from api import keys
from benchmarks.measure import Figure, Peak, Side, compare, interleaved, ratio
from benchmarks.stage import Stage
from benchmarks.webhooks import CONNECTIONS, loaded, sent, serving
from takings.database import Database
from takings.policies import policies
from takings.spaces import hosts, spaces
from ticketing import holds, runs
from ticketing.holds import Claim
from ticketing.wishes import RunWish, TierWish

ROUNDS, CORES = 7, 4
MANY = 500_000

HOLD = """
local n, run = 0, os.time()  -- which no other run began at
request = function()
  n = n + 1
  local headers = {["authorization"] = "Bearer SECRET", ["content-type"] = "application/json",
                   ["idempotency-key"] = string.format("%d-%d", run, n)}
  local body = string.format('{"run": "RUN", "listener": "lis_%d_%d", "quantity": 1}', run, n)
  return wrk.format("POST", "PATH", headers, body)
end
delay = function() return DELAY end
"""

READ = """
request = function()
  return wrk.format("GET", "PATH", {["authorization"] = "Bearer SECRET"})
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """A running server, and how it is asked."""

    url: str
    process: psutil.Process
    folder: Path
    secret: str

    def script(
        self, text: str, path: str, run: str = "run_hot", *, delay_ms: int = 0, name: str = "load"
    ) -> Path:
        """What wrk does, written down."""
        told = text.replace("SECRET", self.secret).replace("PATH", path).replace("RUN", run)
        file = self.folder / f"{name}.lua"
        file.write_text(told.replace("DELAY", str(delay_ms)))
        return file

    async def compare(
        self, figure: Figure, ours: Callable[[], Path], floor: Callable[[], Path], refused: bool
    ) -> Figure:
        """The figure, filled in: what ours answers a second, against the floor."""
        busy: list[float] = []

        def side(script: Callable[[], Path], *, refused: bool = False) -> Side:
            async def run() -> float:
                return await sent(self.url, script(), self.process, busy, refused=refused)

            return run

        sides = {"ours": side(ours, refused=refused), "floor": side(floor)}
        with Peak(self.process.pid) as peak:
            found = await interleaved(ROUNDS, sides)
        return replace(
            figure,
            value=statistics.median(found["ours"]),
            floor=statistics.median(found["floor"]),
            ratio=ratio(found["ours"], found["floor"]),
            peak_mb=peak.mb,
            note=f"{figure.note}; {CONNECTIONS} connections, server at "
            f"{statistics.median(busy):.0%} of a core",
        )


async def sold(stage: Stage) -> list[Figure]:
    """All of it: holds, with and without coalescing, refusals, reads, and how long one waits."""
    hold = Figure("hold a ticket, one hot run", "requests/s", goal="≥ 0.5", note="then 0.7")
    alone = Figure("the same, a statement each", "requests/s", note="the usual way of an act")
    out = Figure("a sold-out answer", "requests/s", goal="≥ 0.6", note="409")
    quota = Figure("read a quota", "requests/s", goal="≥ 0.6", note="one run")
    if shutil.which("wrk") is None:
        return [replace(one, note="not measured: no wrk") for one in (hold, alone, out, quota)]
    secret = await _prepared(stage)
    with TemporaryDirectory() as folder:
        async with serving(stage) as (url, process):
            load = Load(url, process, Path(folder), secret)
            to = partial(partial, load.script)
            floor = to(HOLD, "/plain/holds")
            held = await load.compare(hold, to(HOLD, "/v1/holds"), floor, refused=False)
            return [
                held,
                await load.compare(alone, to(HOLD, "/alone/holds"), floor, refused=False),
                await load.compare(out, to(HOLD, "/v1/holds", "run_full"), floor, refused=True),
                await load.compare(
                    quota,
                    to(READ, "/v1/runs/run_hot/quota"),
                    to(READ, "/plain/runs/run_hot/quota"),
                    refused=False,
                ),
                await _waited(load, held.value / 2),
                await _together(stage, load),
            ]


async def _waited(load: Load, rate: float) -> Figure:
    """How long all but one in a hundred wait for a hold, at so many of them a second."""
    figure = Figure("a hold at half that load, p99", "ms", goal=None)
    found, rates, pause_ms = [], [], 1000 * CONNECTIONS / rate
    for _ in range(ROUNDS):
        script = load.script(HOLD, "/v1/holds", delay_ms=round(pause_ms))
        said = await loaded(load.url, script, "--latency")
        rates.append(float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0]))
        value, unit = re.findall(r"99%\s+([\d.]+)(us|ms|s)\b", said)[0]
        found.append(float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit])
        waited_ms = 1000 * CONNECTIONS / rates[-1] - pause_ms  # for the answer, and by wrk's clock
        pause_ms = max(0, 1000 * CONNECTIONS / rate - waited_ms)
    note = f"below 50 is wanted; at {statistics.median(rates):,.0f} holds a second"
    return replace(figure, value=statistics.median(found), note=note)


async def _together(stage: Stage, load: Load) -> Figure:
    """Two processes need a core each, beside the database's and the load's."""
    figure = Figure("holds of two processes, against one's", "requests/s", goal="≥ 1.5")
    if (os.cpu_count() or 1) < CORES:
        return replace(figure, note=f"not measured: {os.cpu_count()} cores, and {CORES} are needed")
    async with serving(stage) as (url, process):
        busy: list[float] = []

        async def one() -> float:
            return await sent(load.url, load.script(HOLD, "/v1/holds"), load.process, busy)

        async def both() -> float:
            other = load.script(HOLD.replace('"%d-%d"', '"%d-%d-b"'), "/v1/holds", name="other")
            return sum(await asyncio.gather(one(), sent(url, other, process, busy)))

        return await compare(figure, both, one, rounds=ROUNDS)


async def _prepared(stage: Stage) -> str:
    """An endless run and one that is sold out, and a key to them."""
    now = datetime.now(UTC)
    await policies.publish_presets(stage.database, now=now)
    await hosts.register(stage.database, "host_one", "One", now=now)
    how = partial(spaces.schedule, host="host_one", title="A room", policy="clubhouse-2021")
    await how(stage.database, "spc_one", now=now)
    for run, size in (("run_hot", MANY), ("run_full", 1)):
        tier = TierWish("All", "fixed", 1000, f"tier_{run}")
        wish = RunWish(run, "spc_one", size, (tier,), "eur", per_listener=4)
        await runs.open(stage.database, wish, now=now)
    await holds.claim(stage.database, Claim("hold_last", "run_full", "lis_first"), now=now)
    return (await keys.issue(stage.database, "wrk", scopes=["tickets"], now=now))[1]


async def durable(stage: Stage) -> list[Figure]:
    """What it would bring if a hold did not wait for the disk."""
    await _prepared(stage)
    counter = iter(range(MANY))

    def side(database: Database, many: int) -> Side:
        async def run() -> float:
            started = datetime.now(UTC)
            for _ in range(100):
                batch = [
                    Claim(f"hold_{n}", "run_hot", f"lis_{n}")
                    for n, _ in zip(counter, range(many), strict=False)
                ]
                await database.fetch(holds.CLAIM, "run_hot", started, *holds.columns(batch))
            return 100 * many / (datetime.now(UTC) - started).total_seconds()

        return run

    figures = []
    async with Database(stage.app, connections=1) as relaxed:
        await relaxed.fetch("SELECT set_config('synchronous_commit', 'off', false)")
        for many in (1, 32):
            sides = {"ours": side(relaxed, many), "floor": side(stage.database, many)}
            found = await interleaved(ROUNDS, sides)
            figures.append(
                Figure(
                    f"holds that do not wait for the disk, {many} at once",
                    "holds/s",
                    value=statistics.median(found["ours"]),
                    floor=statistics.median(found["floor"]),
                    ratio=ratio(found["ours"], found["floor"]),
                    note="floor: holds that wait for it",
                )
            )
    return figures
