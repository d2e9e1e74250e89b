"""An ear for what PostgreSQL notifies, which opens again when it has been deafened."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

import asyncpg
import structlog

log = structlog.get_logger()

AGAIN_S = 1.0
ALIVE_S = 15.0
"""How often a silent connection is asked whether it is still one."""

ANSWER_S = 5.0

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
        await asyncio.wait([task])


async def _always(url: str, rings: Mapping[str, Ring], tried: asyncio.Event) -> None:
    while True:
        why = "the connection was closed"
        try:
            await _until_lost(url, rings, tried)
        except Exception as error:  # noqa: BLE001 - whatever it was, the ear opens again
            why = str(error) or type(error).__name__
        log.warning("not_listening", why=why, again_s=AGAIN_S)
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
        while not await _soon(lost):
            await connection.execute("SELECT 1", timeout=ANSWER_S)  # TimeoutError: nobody is there
    finally:
        with suppress(Exception):  # or it would take the place of being cancelled
            await connection.close(timeout=2)


async def _soon(lost: asyncio.Event) -> bool:
    """Whether it was lost, after at most a while."""
    with suppress(TimeoutError):
        async with asyncio.timeout(ALIVE_S):
            return await lost.wait()
    return False
