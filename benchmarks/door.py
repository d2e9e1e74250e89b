"""What the door costs: key, version, limit, scope, and doing each act once, over HTTP.

The floor is the same endpoint in the same server without the door.
"""

import shutil
import statistics
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from api import keys
from benchmarks.measure import Figure, Peak, Side, interleaved, ratio
from benchmarks.stage import Stage
from benchmarks.webhooks import CONNECTIONS, ROUNDS, sent, serving
from takings.policies import policies
from takings.spaces import hosts, spaces

ROOMS = 512  # so that nobody waits for anybody else's row

SCRIPT = """
local n, run = 0, os.time()  -- which no other run began at
request = function()
  n = n + 1
  local headers = {["authorization"] = "Bearer SECRET", ["idempotency-key"] = KEY}
  return wrk.format("METHOD", string.format("PATH", n % ROOMS), headers)
end
"""

NEW = 'string.format("%d-%d", run, n)'
KNOWN = 'string.format("known-%d", n % ROOMS)'


async def cost(stage: Stage) -> list[Figure]:
    """A read, an act, and an act that was done before."""
    figures = [
        Figure("read a Space through the door", "requests/s", note="floor: without the door"),
        Figure("an act through the door", "requests/s", note="floor: the act without the door"),
        Figure("an act done before, answered again", "requests/s", note="floor: as above"),
    ]
    if shutil.which("wrk") is None:
        return [replace(figure, note="not measured: wrk is not installed") for figure in figures]
    secret = await _prepared(stage)
    told = (("GET", "", NEW), ("POST", "/live", NEW), ("POST", "/live", KNOWN))
    found = []
    with TemporaryDirectory() as folder:
        async with serving(stage) as (url, process):
            for figure, (method, act, key) in zip(figures, told, strict=True):
                script = SCRIPT.replace("SECRET", secret).replace("METHOD", method)
                script = script.replace("KEY", key).replace("ROOMS", str(ROOMS))
                place = f"/spaces/spc_%d{act}"
                found.append(await _figure(figure, url, script, place, Path(folder), process))
    return found


async def _prepared(stage: Stage) -> str:
    """A host with many live rooms, and a key to them."""
    now = datetime.now(UTC)
    await policies.publish_presets(stage.database, now=now)
    await hosts.register(stage.database, "host_one", "One", now=now)
    for n in range(ROOMS):
        how = partial(spaces.schedule, host="host_one", title="A room", policy="clubhouse-2021")
        await how(stage.database, f"spc_{n}", now=now)
        await spaces.move(stage.database, f"spc_{n}", "live", now=now)
    return (await keys.issue(stage.database, "wrk", scopes=["spaces"], now=now))[1]


async def _figure(
    figure: Figure, url: str, script: str, place: str, folder: Path, process: psutil.Process
) -> Figure:
    busy: list[float] = []

    def side(prefix: str) -> Side:
        async def run() -> float:
            file = folder / "load.lua"
            file.write_text(script.replace("PATH", prefix + place))
            return await sent(url, file, process, busy)

        return run

    with Peak(process.pid) as peak:
        found = await interleaved(ROUNDS, {"ours": side("/v1"), "floor": side("/plain")})
    cores = f"wrk, {CONNECTIONS} connections; server at {statistics.median(busy):.0%} of a core"
    return replace(
        figure,
        value=statistics.median(found["ours"]),
        floor=statistics.median(found["floor"]),
        ratio=ratio(found["ours"], found["floor"]),
        peak_mb=peak.mb,
        note=f"{figure.note}; {cores}",
    )
