"""An ear for what PostgreSQL notifies, which opens again when it has been deafened."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

import asyncpg

AGAIN_S = 1.0
LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)

Ring = Callable[[str], None]


@asynccontextmanager
async def to(url: str, rings: Mapping[str, Ring]) -> AsyncIterator[None]:
    """While inside, a channel's ring is called with what every NOTIFY on it says.

    The connection is one of its own.  Where it is lost it is opened again, and then every ring is
    called with nothing: something may have been missed.
    """
    tried = asyncio.Event()
    task = asyncio.create_task(_always(url, rings, tried))
    try:
        await tried.wait()
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _always(url: str, rings: Mapping[str, Ring], tried: asyncio.Event) -> None:
    while True:
        with suppress(*LOST):
            await _until_lost(url, rings, tried)
        tried.set()
        await asyncio.sleep(AGAIN_S)


async def _until_lost(url: str, rings: Mapping[str, Ring], tried: asyncio.Event) -> None:
    connection = await asyncpg.connect(url)
    lost = asyncio.Event()
    connection.add_termination_listener(lambda _: lost.set())

    def ring(_connection: object, _pid: int, channel: str, said: str) -> None:
        rings[channel](said)

    try:
        for channel in rings:
            await connection.add_listener(channel, ring)
        if tried.is_set():
            for each in rings.values():
                each("")
        tried.set()
        await lost.wait()
    finally:
        await connection.close(timeout=2)
