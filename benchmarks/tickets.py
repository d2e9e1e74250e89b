"""Limited runs over HTTP: a hold on one hot run, a sold-out answer, the quota.

The floor is a route of the same server with the same models that does nothing.
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

ENDLESS = 100_000_000

SCRIPT = """
local n, run = 0, os.time()  -- which no other run began at
request = function()
  n = n + 1
  local headers = {["authorization"] = "Bearer SECRET", ["content-type"] = "application/json",
                   ["idempotency-key"] = string.format("%d-%d", run, n)}
  local body = string.format('{"run": "RUN", "listener": "lis_%d_%d", "quantity": 1}', run, n)
  return wrk.format("POST", "PATH", headers, body)
end
"""


async def held(stage: Stage) -> list[Figure]:
    """One ticket of an endless run, by a new listener each time."""
    figure = Figure(
        "hold a ticket, one hot run", "requests/s", goal="≥ 0.5", note="floor: the same models"
    )
    if shutil.which("wrk") is None:
        return [replace(figure, note="not measured: wrk is not installed")]
    secret = await _prepared(stage)
    script = SCRIPT.replace("SECRET", secret).replace("RUN", "run_hot")
    with TemporaryDirectory() as folder:
        async with serving(stage) as (url, process):
            return [await _figure(figure, url, script, Path(folder), process)]


async def _prepared(stage: Stage) -> str:
    """A host with a Space and an endless run, and a key to it."""
    now = datetime.now(UTC)
    await policies.publish_presets(stage.database, now=now)
    await hosts.register(stage.database, "host_one", "One", now=now)
    how = partial(spaces.schedule, host="host_one", title="A room", policy="clubhouse-2021")
    await how(stage.database, "spc_one", now=now)
    for sql in RAW:
        await stage.database.fetch(sql)
    return (await keys.issue(stage.database, "wrk", scopes=["tickets"], now=now))[1]


RAW = (
    "INSERT INTO pools (id, quota) VALUES ('run_hot', 100000000), ('tier_hot', NULL)",
    """INSERT INTO runs (id, space_id, policy, policy_version, currency, per_listener, hold_s,
         offer_s, version, created_at)
       VALUES ('run_hot', 'spc_one', 'clubhouse-2021', 1, 'eur', 4, 600, 600, 1, now())""",
    """INSERT INTO tiers (id, run_id, position, name, kind, minor)
       VALUES ('tier_hot', 'run_hot', 1, 'All', 'fixed', 1000)""",
)


async def _figure(
    figure: Figure, url: str, script: str, folder: Path, process: psutil.Process
) -> Figure:
    busy: list[float] = []

    def side(place: str) -> Side:
        async def run() -> float:
            file = folder / "load.lua"
            file.write_text(script.replace("PATH", place))
            return await sent(url, file, process, busy)

        return run

    with Peak(process.pid) as peak:
        found = await interleaved(
            ROUNDS, {"ours": side("/v1/holds"), "floor": side("/plain/holds")}
        )
    cores = f"wrk, {CONNECTIONS} connections; server at {statistics.median(busy):.0%} of a core"
    return replace(
        figure,
        value=statistics.median(found["ours"]),
        floor=statistics.median(found["floor"]),
        ratio=ratio(found["ours"], found["floor"]),
        peak_mb=peak.mb,
        note=f"{figure.note}; {cores}",
    )
