"""Posting: batches with hot accounts, single entries from eight clients, and what costs what."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from benchmarks import floors, tips
from benchmarks.measure import Figure, Side, compare, rate
from benchmarks.stage import CLIENTS, Stage
from takings import records
from takings.batching import Batcher
from takings.ledger import journal
from takings.ledger.entries import Entry

Item = TypeVar("Item")

BATCHES = 40
SINGLES = 1_600


async def clients(count: int, items: Iterable[Item], act: Callable[[Item], Awaitable[object]]) -> None:
    """As many clients, each taking the next item as soon as it has done one."""
    waiting = iter(items)

    async def client() -> None:
        for item in waiting:
            await act(item)

    await asyncio.gather(*(client() for _ in range(count)))


def post_batches(stage: Stage, *, clients_: int = 1, count: int = BATCHES) -> Side:
    """A side: the product posts batches of a hundred."""

    async def side() -> float:
        made = tips.batches(count)

        async def act(batch: Sequence[Entry]) -> None:
            await stage.database.run(journal.post, batch)

        return await rate(count, lambda: clients(clients_, made, act))

    return side


async def batches(stage: Stage) -> list[Figure]:
    """``journal.post``, 100 entries × 4 postings in a commit, two accounts hot."""
    await stage.plain()
    books, sql = floors.Books(), floors.BATCH.format(schema="plain")

    async def floor() -> float:
        made = [books.columns(batch) for batch in tips.batches(BATCHES)]
        return await rate(
            BATCHES, lambda: clients(1, made, lambda columns: stage.raw.execute(sql, *columns))
        )

    figure = Figure(
        "post, batches of 100 × 4, hot",
        0,
        "commits/s",
        goal="≥ 0.6",
        note="one client; floor: the same rows by unnest in one statement, no triggers",
    )
    return [await compare(figure, post_batches(stage), floor)]


async def singles(stage: Stage) -> list[Figure]:
    """Single entries from eight clients: sharing commits, and each with a commit of its own."""
    await stage.plain()
    sql, seqs = floors.SMALLEST.format(schema="plain"), itertools.count(0, 8)

    async def floor() -> float:
        def made() -> Iterator[tuple[str, int, int]]:
            for _ in range(4 * SINGLES):
                yield records.new_id("je"), random.randrange(1_000_000), next(seqs)

        return await rate(
            4 * SINGLES, lambda: clients(CLIENTS, made(), lambda row: stage.raw.execute(sql, *row))
        )

    def sharing(callers: int) -> Side:
        async def write(entries: Sequence[Entry]) -> Sequence[bool]:
            new = await stage.database.run(journal.post, entries)
            return [entry.key in new for entry in entries]

        async def side() -> float:
            batcher: Batcher[Entry, bool] = Batcher(write)
            made = tips.earned(SINGLES)
            return await rate(SINGLES, lambda: clients(callers, made, batcher.put))

        return side

    async def alone() -> float:
        made = tips.earned(SINGLES // 2)
        act = lambda entry: stage.database.run(journal.post, [entry])  # noqa: E731 - one line, one use
        return await rate(SINGLES // 2, lambda: clients(CLIENTS, made, act))

    note = "floor: 1 entry + 4 postings + 3 balances in one statement, 8 connections, no hot row"
    figure = Figure("post singly, 8 clients, commits shared", 0, "entries/s", goal="≥ 0.5", note=note)
    return [
        await compare(figure, sharing(CLIENTS), floor),
        await compare(
            Figure(
                "post singly, 32 clients, commits shared",
                0,
                "entries/s",
                note="what arrives while a commit is in flight becomes the next batch",
            ),
            sharing(4 * CLIENTS),
            floor,
        ),
        await compare(
            replace(
                figure,
                name="post singly, 8 clients, a commit each",
                goal=None,
                note="the same floor; two hot accounts in each entry",
            ),
            alone,
            floor,
        ),
    ]


async def costs(stage: Stage) -> list[Figure]:
    """What a second client brings, what a known key costs, what the triggers cost."""
    one = post_batches(stage)

    async def one_known() -> float:
        made = tips.batches(BATCHES)
        known = tips.earned(1)
        await stage.database.run(journal.post, known)
        mixed = [batch[:-1] + known for batch in made]
        return await rate(
            BATCHES, lambda: clients(1, mixed, lambda b: stage.database.run(journal.post, b))
        )

    async def without_triggers() -> float:
        await _switch(stage, "DISABLE TRIGGER whole")
        try:
            return await one()
        finally:
            await _switch(stage, "ENABLE ALWAYS TRIGGER whole")

    def figure(name: str, note: str) -> Figure:
        return Figure(name, 0, "commits/s", note=note)

    return [
        await compare(
            figure("two posting clients", "floor: one; both post on the same hot accounts"),
            post_batches(stage, clients_=2),
            one,
        ),
        await compare(
            figure("a batch with a known key", "1 of 100 was posted before; floor: none was"),
            one_known,
            one,
        ),
        await compare(
            figure("the law's triggers", "floor: the same statement, triggers switched off"),
            one,
            without_triggers,
        ),
    ]


async def _switch(stage: Stage, how: str) -> None:
    for table in ("entries", "postings"):
        await stage.raw.execute(f"ALTER TABLE {table} {how}")
