"""Where measuring happens: an embedded PostgreSQL of its own, with the books and plain copies."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

import migrations
from takings import embedded
from takings.database import Database
from takings.embedded import Server

HOME = Path(__file__).parent.parent / "build" / "bench" / "postgres"
CLIENTS = 8

# The same columns and indexes as the books', in one piece: no triggers, no partitions, no keys to
# other tables.  LIKE leaves the fill factor behind, which would make the floor slower than it is.
PLAIN = """
CREATE SCHEMA {schema};
CREATE TABLE {schema}.entry_keys (LIKE public.entry_keys INCLUDING ALL);
CREATE TABLE {schema}.entries (LIKE public.entries INCLUDING ALL);
CREATE TABLE {schema}.postings (LIKE public.postings INCLUDING ALL);
CREATE TABLE {schema}.balances (LIKE public.balances INCLUDING ALL) WITH (fillfactor = 70);
CREATE TABLE {schema}.day_balances (LIKE public.day_balances INCLUDING ALL) WITH (fillfactor = 70);
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """A fresh migrated database: the product's way into it, and raw ones for the floors."""

    server: Server
    app: str
    owner: str
    database: Database
    raw: Sequence[asyncpg.Connection]
    full: bool

    async def plain(self, schema: str = "plain") -> None:
        """Plain copies of the books' tables, in a schema of their own."""
        await self.raw[0].execute(PLAIN.format(schema=schema))


@asynccontextmanager
async def server() -> AsyncIterator[Server]:
    """The server, for as long as something is measured."""
    async with embedded.running(HOME) as found:
        yield found


@asynccontextmanager
async def fresh(found: Server, name: str, *, full: bool) -> AsyncIterator[Stage]:
    """A database for one measurement, gone afterwards."""
    await found.drop(name)
    await found.create(name)
    app, owner = found.url(name, "app"), found.url(name, "owner")
    await asyncio.to_thread(migrations.upgrade, owner, "takings_app")
    raw = [await asyncpg.connect(owner, ssl=False) for _ in range(CLIENTS)]
    try:
        async with Database(app, connections=CLIENTS) as database:
            yield Stage(found, app, owner, database, raw, full)
    finally:
        for connection in raw:
            await connection.close()
        await found.drop(name)
