"""A worker in a process of its own, which settles when it is told to.

``python -m benchmarks.settler DATABASE STRIPE`` says so on its standard output when it is ready,
and again whenever it has settled all that is due, as each line of standard input tells it to.
"""

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import uvloop

from api.settlement import SETTLEMENT
from takings.database import Database
from takings.payments import webhooks
from takings.payments.stripe import Stripe

KEY = "sk_test_benchmarks"
READY = "ready"

Settle = Callable[[], Awaitable[None]]
"""Lets the process settle everything that is due."""


async def main(database_url: str, stripe_url: str) -> None:
    """Settle line by line, until standard input is closed."""
    async with Database(database_url) as database, Stripe(KEY, base=stripe_url) as door:
        await drain(database, door)
        gc.freeze()
        print(READY, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            await drain(database, door)
            print(READY, flush=True)


async def drain(database: Database, door: Stripe) -> None:
    """Settle until nothing is due."""
    now = datetime.now(UTC)
    while await webhooks.process(database, door, SETTLEMENT, now=now):
        pass


@asynccontextmanager
async def running(database_url: str, stripe_url: str) -> AsyncIterator[Settle]:
    """The process, until it is no longer needed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, database_url, stripe_url),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None  # noqa: S101 - both are pipes
    assert stdout is not None  # noqa: S101

    async def settle() -> None:
        stdin.write(b"\n")
        await stdout.readline()

    try:
        await stdout.readline()
        yield settle
    finally:
        stdin.close()
        await process.wait()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
