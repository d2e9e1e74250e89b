"""Posting: batches with hot accounts, single entries from eight clients, and what costs what."""

import itertools
import random
from collections.abc import Sequence

import asyncpg

from benchmarks import floors, tips
from benchmarks.measure import Figure, Side, compare, served
from benchmarks.stage import CLIENTS, Stage
from takings import records
from takings.database import Database
from takings.ledger import journal
from takings.ledger.entries import Entry
from takings.ledger.writer import Writer

BATCHES = 20
SINGLES = 800


async def batches(stage: Stage) -> list[Figure]:
    """``journal.post``, 100 entries × 4 postings in a commit, two accounts hot."""
    await stage.plain()
    figure = Figure(
        "post, batches of 100 × 4, two accounts hot",
        "commits/s",
        goal="≥ 0.6",
        note="one client; floor: the same rows by unnest in one statement, no triggers",
    )
    return [await compare(figure, product(stage), raw(stage))]


def product(stage: Stage, *, clients: int = 1, known: int = 0) -> Side:
    """A side: the product posts batches of a hundred, of which some entries are known."""

    async def post(database: Database, batch: Sequence[Entry]) -> None:
        await database.run(journal.post, batch)

    async def side() -> float:
        old = tips.earned(known) if known else []
        await stage.database.run(journal.post, old)
        made = [tips.earned(100 - known) + old for _ in range(BATCHES * clients)]
        return await served([stage.database] * clients, made, post)

    return side


def raw(stage: Stage) -> Side:
    """A side: raw SQL writes the same rows into plain copies of the tables."""
    books, sql = floors.Books(), floors.BATCH.format(schema="plain")

    async def write(connection: asyncpg.Connection, columns: Sequence[object]) -> None:
        await connection.fetch(sql, *columns)

    async def side() -> float:
        made = [books.columns(tips.earned(100)) for _ in range(BATCHES)]
        return await served(stage.raw[:1], made, write)

    return side


async def singles(stage: Stage) -> list[Figure]:
    """Single entries: sharing commits as they arrive, and each with a commit of its own."""
    await stage.plain()
    floor = smallest(stage)
    kept = "floor: 1 entry + 4 postings + 3 balance rows in one statement, 8 clients, no hot row"
    figures = [
        Figure("post singly, 8 clients, commits shared", "entries/s", goal="≥ 0.5", note=kept),
        Figure("post singly, 32 clients, commits shared", "entries/s", note="the same floor"),
        Figure("post singly, 8 clients, a commit each", "entries/s", note="the same floor"),
    ]
    sides = sharing(stage, CLIENTS), sharing(stage, 4 * CLIENTS), alone(stage)
    return [await compare(figure, side, floor) for figure, side in zip(figures, sides, strict=True)]


def smallest(stage: Stage) -> Side:
    """A side: eight clients write the smallest double entry, as fast as PostgreSQL takes it."""
    sql, seqs = floors.SMALLEST.format(schema="plain"), itertools.count(0, 8)

    async def write(connection: asyncpg.Connection, row: tuple[str, int, int]) -> None:
        await connection.fetch(sql, *row)

    async def side() -> float:
        places = random.sample(range(1_000_000), 4 * SINGLES)
        made = [(records.new_id("je"), place, next(seqs)) for place in places]
        return await served(stage.raw, made, write)

    return side


def sharing(stage: Stage, callers: int) -> Side:
    """A side: what arrives while a commit is in flight becomes the next one."""

    async def post(writer: Writer, entry: Entry) -> None:
        await writer.post(entry)

    async def side() -> float:
        return await served([Writer(stage.database)] * callers, tips.earned(2 * SINGLES), post)

    return side


def alone(stage: Stage) -> Side:
    """A side: every entry is posted in a transaction of its own."""

    async def post(database: Database, entry: Entry) -> None:
        await database.run(journal.post, [entry])

    async def side() -> float:
        return await served([stage.database] * CLIENTS, tips.earned(SINGLES), post)

    return side


async def costs(stage: Stage) -> list[Figure]:
    """What a second client brings, what a known key costs, what the law's triggers cost."""
    one = product(stage)

    async def without_triggers() -> float:
        await _switch(stage, "DISABLE TRIGGER whole")
        try:
            return await one()
        finally:
            await _switch(stage, "ENABLE ALWAYS TRIGGER whole")

    return [
        await compare(
            Figure("two clients against one", "commits/s", note="batches on the same hot accounts"),
            product(stage, clients=2),
            one,
        ),
        await compare(
            Figure("1 of 100 keys is known", "commits/s", note="floor: all are new"),
            product(stage, known=1),
            one,
        ),
        await compare(
            Figure("the law's triggers on", "commits/s", note="floor: the same, triggers off"),
            one,
            without_triggers,
        ),
    ]


async def _switch(stage: Stage, how: str) -> None:
    for table in ("entries", "postings"):
        await stage.raw[0].execute(f"ALTER TABLE {table} {how}")
