"""Many callers post single entries and share commits; each hears of its own entry alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from takings.batching import Batcher, ahead
from takings.database import Database, Overdrawn, fetch
from takings.ledger.journal import KeyReused
from takings.ledger.writer import Writer
from tests import books, stories


async def test_what_arrives_while_a_commit_is_in_flight_becomes_the_next_one() -> None:
    batches: list[list[int]] = []
    let_go = asyncio.Event()

    async def write(items: list[int]) -> list[int]:
        batches.append(items)
        await let_go.wait()
        return [item * item for item in items]

    batcher: Batcher[int, int] = Batcher(write, most=3)  # type: ignore[arg-type]
    callers = [asyncio.create_task(batcher.put(0))]
    await asyncio.sleep(0)
    callers += [asyncio.create_task(batcher.put(item)) for item in (1, 2, 3, 4)]
    await asyncio.sleep(0)
    callers[2].cancel()  # a caller who gives up is left out, and takes nobody along
    let_go.set()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert batches == [[0], [1, 3], [4]]
    assert [a for a in answers if isinstance(a, int)] == [0, 1, 9, 16]
    assert await batcher.put(5) == 25


async def test_a_write_that_fails_is_told_to_all_of_its_batch_and_the_next_goes_on() -> None:
    async def write(items: list[int]) -> list[int]:
        if 0 in items:
            raise ZeroDivisionError
        return items

    batcher: Batcher[int, int] = Batcher(write)  # type: ignore[arg-type]
    first = await asyncio.gather(batcher.put(0), return_exceptions=True)
    assert isinstance(first[0], ZeroDivisionError)
    assert await batcher.put(1) == 1


async def counted(fetched: list[int], most: int) -> AsyncIterator[int]:
    """Pages that note when they are fetched; there is trouble after the last one."""
    for page in range(most):
        fetched.append(page)
        yield page
        await asyncio.sleep(0)
    raise ZeroDivisionError


async def test_the_next_page_is_fetched_while_the_caller_works_on_this_one() -> None:
    fetched: list[int] = []
    worked: list[tuple[int, list[int]]] = []

    async def read() -> None:
        async for page in ahead(counted(fetched, 3)):
            await asyncio.sleep(0.01)  # it works
            worked.append((page, list(fetched)))

    with pytest.raises(ZeroDivisionError):
        await read()
    assert worked == [(0, [0, 1]), (1, [0, 1, 2]), (2, [0, 1, 2])]


@pytest.mark.parametrize("most", [1, 9])
async def test_who_fails_on_a_page_hears_of_that_alone_and_no_more_is_fetched(most: int) -> None:
    fetched: list[int] = []

    async def read() -> None:
        async with aclosing(ahead(counted(fetched, most))) as pages:
            async for _ in pages:
                await asyncio.sleep(0.01)  # meanwhile the next is fetched, or fails as well
                raise KeyError

    with pytest.raises(KeyError):
        await read()
    assert fetched == [0, 1][:most]


async def test_fifty_callers_share_commits_and_every_entry_is_written(database: Database) -> None:
    writer = Writer(database)
    entries = [books.entry(f"key:{n}", "cash +5 eur", "sales -5 eur") for n in range(50)]
    assert await asyncio.gather(*map(writer.post, entries)) == [True] * 50
    assert await asyncio.gather(*map(writer.post, entries)) == [False] * 50
    stamps = await database.fetch("SELECT count(DISTINCT posted_at) AS n FROM entries")
    assert stamps[0].n < 10
    assert await books.guilty(database) == {}


async def test_each_caller_hears_what_is_wrong_with_its_own_entry_and_the_rest_is_written(
    database: Database,
) -> None:
    writer = Writer(database)
    held = "liabilities:host:ada:held"
    good = books.entry("good", "cash +5 eur", "sales -5 eur")
    twin = books.entry("good", "cash +5 eur", "sales -5 eur")
    liar = books.entry("good", "cash +6 eur", "sales -6 eur")
    thief = books.entry("thief", f"{held} +1 eur", "cash -1 eur")
    last = books.entry("last", "cash +1 eur", "sales -1 eur")
    answers = await asyncio.gather(
        *map(writer.post, (good, twin, liar, thief, last)), return_exceptions=True
    )
    assert answers[:2] == [True, False]
    assert isinstance(answers[2], KeyReused)
    assert isinstance(answers[3], Overdrawn)
    assert answers[4] is True
    assert (
        await stories.told(database)
        == """\
good
  cash +5 eur
  sales -5 eur
last
  cash +1 eur
  sales -1 eur"""
    )
    with pytest.raises(KeyReused):
        await writer.post(liar)
    assert await books.guilty(database) == {}
    assert len(await database.run(fetch, "SELECT key FROM entry_keys")) == 2
