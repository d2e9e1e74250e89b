"""What arrives while a commit is in flight becomes the next commit.

Alone, a caller pays for one commit and waits for nobody; together, many share one.  What has to be
fetched is fetched meanwhile.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

Write = Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Exception]]]


class Batcher(Generic[Item, Answer]):
    """Hands what callers give to one writer, a batch at a time, and each its own answer.

    ``write`` answers in the order of the items; an answer that is an exception is raised to its
    caller, and what ``write`` itself raises, to every caller of the batch.  Who gives up before the
    batch is written is left out of it; who does so meanwhile has an answer that is ``unwanted``.
    """

    def __init__(
        self,
        write: Write[Item, Answer],
        *,
        most: int = 500,
        unwanted: Callable[[Item, Answer], None] | None = None,
    ) -> None:
        self._write = write
        self._most = most
        self._unwanted = unwanted
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def put(self, item: Item) -> Answer:
        """The answer for this item, once the batch that it went with is written."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._writer is None:
            self._writer = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._one(batch)
        finally:
            self._writer = None

    async def _one(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        batch = [(item, future) for item, future in batch if not future.done()]
        if not batch:
            return
        try:
            answers = await self._write([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait, not to the loop
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (item, future), answer in zip(batch, answers, strict=True):
            if future.done():  # its caller has given up
                if self._unwanted is not None and not isinstance(answer, Exception):
                    self._unwanted(item, answer)
            elif isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)


async def ahead(pages: AsyncIterator[Item]) -> AsyncGenerator[Item, None]:
    """The same pages; the next one is fetched while the caller works on this one."""
    coming = asyncio.ensure_future(anext(pages, None))
    try:
        while (page := await coming) is not None:
            coming = asyncio.ensure_future(anext(pages, None))
            yield page
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)  # nobody asks for it any more
