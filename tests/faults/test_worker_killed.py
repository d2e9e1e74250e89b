"""kill -9 of the worker in the middle of a batch: nothing is lost, and nothing doubled."""

import asyncio
import os
import signal
import sys

from api.runtime import Runtime
from api.settings import Settings, environment
from sandbox.control import Sandbox
from takings.database import fetch
from takings.payments import objects, webhooks
from tests import stories

TIPS = 60
CYCLES = 4

WORKER = """
import asyncio
from api import worker
from api.runtime import running
from api.settings import Settings

async def main():
    async with running(Settings(_env_file=None), migrated=False) as runtime:
        await worker.work(runtime, asyncio.Event())

asyncio.run(main())
"""


async def start(settings: Settings) -> asyncio.subprocess.Process:
    """A worker in a process of its own, as in production."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        WORKER,
        env=environment(
            database_url=settings.database_url or "",
            owner_url=settings.owner_url or "",
            stripe_api_key=settings.stripe_api_key.get_secret_value(),
            stripe_api_base=settings.stripe_api_base or "",
        ),
        stdout=asyncio.subprocess.DEVNULL,
    )


async def count(runtime: Runtime, sql: str) -> int:
    """One number from the database."""
    rows = await runtime.database.run(fetch, sql)
    return int(rows[0].n)


DONE = "SELECT count(*) AS n FROM events WHERE status = 'done'"
DUE = "SELECT count(*) AS n FROM events WHERE status <> 'done'"


async def test_a_worker_killed_in_the_middle_of_its_batches_loses_and_doubles_nothing(
    runtime: Runtime, box: Sandbox, settings: Settings
) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = [await stories.tip(runtime, 500) for _ in range(TIPS)]
    killed_busy = 0
    for cycle in range(CYCLES):
        for one in sent[cycle::CYCLES]:
            box.pay(one.payment.intent_id)
        notices = [("account", objects.notice(event)) for event in box.events]
        await webhooks.receive(runtime.database, notices, now=runtime.now())
        worker = await start(settings)
        done = await count(runtime, DONE)
        # The first sign of work, uncommitted as it may be, is when it dies.
        async with asyncio.timeout(60):
            while await count(runtime, BUSY) == 0 and await count(runtime, DONE) == done:
                await asyncio.sleep(0.001)
        killed_busy += await count(runtime, DUE) > 0
        os.kill(worker.pid, signal.SIGKILL)
        await worker.wait()
    worker = await start(settings)
    async with asyncio.timeout(60):
        while await count(runtime, DUE) or await count(runtime, UNCASHED):
            await asyncio.sleep(0.05)
    os.kill(worker.pid, signal.SIGKILL)
    await worker.wait()
    assert killed_busy > 0
    journal = await stories.told(runtime.database)
    assert journal.count(":earned") == TIPS
    assert journal.count("expenses:stripe_fees +46") == TIPS
    assert await stories.guilty(runtime.database) == {}


BUSY = """
SELECT count(*) AS n FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL
"""

UNCASHED = """
SELECT count(*) AS n FROM payments p
 WHERE p.state = 'paid' AND NOT EXISTS (SELECT FROM cash c WHERE c.subject = p.id)
"""
