"""Batches: who comes together shares a write, and who gives up leaves nothing behind."""

import asyncio
from collections.abc import Sequence

import pytest

from takings.batching import Batcher


class Desk:
    """A writer that writes when it is let, and remembers its batches; it doubles numbers."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.regrets: list[tuple[int, int]] = []
        self.open = asyncio.Event()

    async def write(self, numbers: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(list(numbers))
        await self.open.wait()
        if 13 in numbers:
            raise LookupError(13)
        return [ValueError(n) if n < 0 else 2 * n for n in numbers]

    def regret(self, number: int, answer: int) -> None:
        self.regrets.append((number, answer))


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def batcher(desk: Desk) -> Batcher[int, int]:
    return Batcher(desk.write, most=10, unwanted=desk.regret)


async def asked(batcher: Batcher[int, int], *numbers: int) -> list[asyncio.Task[int]]:
    """Callers who wait for their answers."""
    tasks = [asyncio.create_task(batcher.put(number)) for number in numbers]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def answers(tasks: list[asyncio.Task[int]]) -> list[int | BaseException]:
    async with asyncio.timeout(5):
        return await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_comes_during_a_write_is_the_next_batch(
    desk: Desk, batcher: Batcher[int, int]
) -> None:
    first, later = await asked(batcher, 1), await asked(batcher, *range(2, 14 - 1))
    desk.open.set()
    assert await answers(first + later) == [2 * n for n in range(1, 13)]
    assert desk.batches == [[1], list(range(2, 12)), [12]]
    assert desk.regrets == []


async def test_everybody_has_their_own_answer_or_error(
    desk: Desk, batcher: Batcher[int, int]
) -> None:
    desk.open.set()
    found = await answers(await asked(batcher, 1, -2, 3))
    assert (found[0], found[2]) == (2, 6)
    assert isinstance(found[1], ValueError)


async def test_what_a_write_raises_is_raised_to_all_of_its_batch_and_to_nobody_else(
    desk: Desk, batcher: Batcher[int, int]
) -> None:
    tasks = await asked(batcher, 1) + await asked(batcher, 2, 13)
    desk.open.set()
    first, *failed = await answers(tasks)
    assert first == 2
    assert [type(one) for one in failed] == [LookupError, LookupError]
    assert await answers(await asked(batcher, 5)) == [10]


async def test_who_gives_up_before_the_write_is_left_out_of_it(
    desk: Desk, batcher: Batcher[int, int]
) -> None:
    tasks = await asked(batcher, 1) + await asked(batcher, 2, 3)
    tasks[1].cancel()
    await asyncio.sleep(0)
    desk.open.set()
    first, second, third = await answers(tasks)
    assert (first, third) == (2, 6)
    assert isinstance(second, asyncio.CancelledError)
    assert desk.batches == [[1], [3]]
    assert desk.regrets == []


async def test_where_all_give_up_before_the_write_nothing_is_written(
    desk: Desk, batcher: Batcher[int, int]
) -> None:
    tasks = await asked(batcher, 1) + await asked(batcher, 2, 3)
    for task in tasks[1:]:
        task.cancel()
    await asyncio.sleep(0)
    desk.open.set()
    await answers(tasks)
    assert desk.batches == [[1]]
    assert await answers(await asked(batcher, 4)) == [8], "and it goes on"


async def test_what_was_written_for_one_who_gave_up_meanwhile_is_unwanted(
    desk: Desk, batcher: Batcher[int, int]
) -> None:
    tasks = await asked(batcher, 1) + await asked(batcher, 2, -3, 4)
    tasks[0].cancel()
    desk.open.set()
    while len(desk.batches) < 2:
        await asyncio.sleep(0)
    desk.open.clear()
    assert desk.regrets == [(1, 2)], "the write was not broken off"
    assert [type(one) for one in await answers(tasks[:1])] == [asyncio.CancelledError]
    assert (await answers(tasks[1:2]), await answers(tasks[3:])) == ([4], [8])


async def test_an_error_of_one_who_gave_up_is_nobodys(
    desk: Desk, batcher: Batcher[int, int]
) -> None:
    tasks = await asked(batcher, -1) + await asked(batcher, 13)
    for task in tasks:
        task.cancel()
    desk.open.set()
    await answers(tasks)
    assert await answers(await asked(batcher, 5)) == [10]
    assert desk.regrets == []
