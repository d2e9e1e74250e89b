"""The words that the ledger's tests use: an entry in a few lines, raw SQL, a look at every byte."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
from sqlalchemy import event

from takings.database import Database, fetch
from takings.ledger import checks
from takings.ledger.checks import CHECKS
from takings.ledger.entries import Entry, Posting
from takings.money import Money

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
ADA, BOB = "liabilities:host:ada", "liabilities:host:bob"
LAWFUL = ("accounts", "entry_keys", "entries", "postings", "seals")


def entry(key: str, *legs: str, at: datetime = NOON, **more: Any) -> Entry:
    """An entry, each leg written as ``clearing:charges +546 eur``."""
    return Entry(key, "test", "pay_one", at, tuple(map(posting, legs)), **more)


def posting(leg: str) -> Posting:
    """One leg, written as ``clearing:charges +546 eur``."""
    account, minor, currency = leg.split()
    return Posting(account, Money(int(minor), currency))


def earned(key: str, minor: int = 500, *, at: datetime = NOON, drawer: str = "held") -> Entry:
    """A listener paid, and Ada is owed it."""
    return entry(key, f"clearing:charges {minor} eur", f"{ADA}:{drawer} {-minor} eur", at=at)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A raw connection, as whoever the address says."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def ask(url: str, sql: str, *args: Any) -> list[tuple[Any, ...]]:
    """The rows of one statement, asked on a raw connection of its own."""
    async with connected(url) as connection:
        return [tuple(row) for row in await connection.fetch(sql, *args)]


async def refusal(connection: asyncpg.Connection, *statements: str) -> str:
    """The name of what refused the statements: a constraint, or the kind of error."""
    try:
        async with undone(connection):
            for statement in statements:
                await connection.execute(statement)
    except asyncpg.PostgresError as error:
        return error.constraint_name or type(error).__name__
    return "nothing"


async def tables(connection: asyncpg.Connection, *parents: str) -> list[str]:
    """Every table, or only these and their partitions."""
    rows = await connection.fetch(
        """SELECT c.relname FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
              AND ($1::text[] = '{}'
                   OR c.relname = ANY($1) OR i.inhparent::regclass::text = ANY($1))
            ORDER BY 1""",
        parents,
    )
    return [row["relname"] for row in rows]


async def every_byte(url: str, *only: str) -> dict[str, set[str]]:
    """Every row of every table, with its place on disk and the transaction that wrote it."""
    async with connected(url) as connection:
        return {
            table: {
                row["text"]
                for row in await connection.fetch(
                    f"SELECT concat(tableoid, ctid, xmin, t) AS text FROM {table} t"
                )
            }
            for table in await tables(connection, *only)
        }


@asynccontextmanager
async def behind_the_triggers(admin_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A superuser before whom every trigger of the journal sleeps: for planting corruption."""
    async with connected(admin_url) as connection:
        for table in await tables(connection, *LAWFUL):
            await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        yield connection


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """The statements that the database is sent while inside."""
    sent: list[str] = []

    def listen(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", listen)
    try:
        yield sent
    finally:
        event.remove(database.engine.sync_engine, "before_cursor_execute", listen)


async def count(database: Database, table: str) -> int:
    """How many rows a table has."""
    rows = await database.run(fetch, f"SELECT count(*) AS n FROM {table}")
    return int(rows[0].n)


async def guilty(database: Database) -> dict[str, tuple[str, ...]]:
    """What the ledger's checks find: by the name of the check, the rows that are wrong."""
    async with database.transaction() as session:
        return {
            found.check.name: tuple(row for row, _ in found.guilty)
            async for found in checks.run(session, CHECKS)
            if not found.holds
        }


@asynccontextmanager
async def undone(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """What is done inside leaves no trace."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()
