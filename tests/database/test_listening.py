"""The ear for NOTIFY: it hears at every address that the database is used by, and is never deaf."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy.engine import make_url

from takings import listening
from takings.database import Database
from tests.conftest import Fresh

NOTIFY = "SELECT pg_notify('bell', $1)"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
async def test_it_hears_however_the_address_is_written(fresh: Fresh, scheme: str) -> None:
    """What SQLAlchemy takes and asyncpg does not once left the ear deaf, and nobody was told."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    url = fresh.app.replace("postgresql", scheme, 1)
    async with Database(url) as database, database.listening({"bell": heard.put_nowait}):
        await database.fetch(NOTIFY, "now")
        async with asyncio.timeout(5):
            assert await heard.get() == "now"


class Line:
    """A line to PostgreSQL that can be cut so that neither end is told."""

    def __init__(self) -> None:
        self.cut = False

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One way, until it ends; what is sent into a cut line is lost."""
        while data := await reader.read(65_536):
            if not self.cut:
                writer.write(data)
        writer.close()


@asynccontextmanager
async def through(url: str, line: Line) -> AsyncIterator[str]:
    """The address of the same database, at the end of the line."""
    at = make_url(url)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line.cut = False
        there, back = await asyncio.open_connection(at.host, at.port)
        ways = line.carry(reader, back), line.carry(there, writer)
        await asyncio.gather(*ways, return_exceptions=True)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield at.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
    finally:
        server.close()


async def test_a_line_that_dies_in_silence_is_noticed_and_opened_again(
    fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "ALIVE_S", 0.1)
    monkeypatch.setattr(listening, "ANSWER_S", 0.1)
    monkeypatch.setattr(listening, "AGAIN_S", 0.1)
    heard: asyncio.Queue[str] = asyncio.Queue()
    line = Line()
    async with (
        Database(fresh.app) as database,
        through(fresh.app, line) as url,
        listening.to(url, {"bell": heard.put_nowait}),
        asyncio.timeout(20),
    ):
        await database.fetch(NOTIFY, "before")
        assert await heard.get() == "before"
        line.cut = True
        await database.fetch(NOTIFY, "missed")
        assert await heard.get() == "", "something may have been missed"
        await database.fetch(NOTIFY, "after")
        assert await heard.get() == "after"


async def test_it_stops_also_where_the_line_has_died_in_silence(fresh: Fresh) -> None:
    """Once the farewell's time-out took the place of the stop, and nothing ever ended."""
    line = Line()
    async with through(fresh.app, line) as url:
        async with listening.to(url, {"bell": lambda _: None}):
            await asyncio.sleep(0.2)
            line.cut = True
            start = time.monotonic()
        assert time.monotonic() - start < 10
