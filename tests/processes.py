"""Services in processes of their own, as in production; each is stopped by its own id."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from api.settings import Settings, environment
from tests.conftest import CONNECT_SECRET, ROOT, SECRET


async def start(settings: Settings) -> tuple[Process, str]:
    """A service in a process of its own, and its address."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "api.cli", "serve", "--port", "0"),
        cwd=ROOT,
        env=environment(
            database_url=settings.database_url or "",
            owner_url=settings.owner_url or "",
            rate_limit=str(settings.rate_limit),
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


async def kill(process: Process) -> None:
    """As if the power had gone: it has no time to finish anything."""
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[Process, str]]:
    """The same, gone when its caller leaves."""
    process, url = await start(settings)
    try:
        yield process, url
    finally:
        if process.returncode is None:
            await kill(process)
