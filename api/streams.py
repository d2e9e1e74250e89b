"""Streams: what a process tells those who watch, as server-sent events that end when they should.

A stream ends when its key does, when the process does, and wherever something may have been missed.
Then its watcher comes again, and is told how things are, or why not.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Final, Generic, TypeVar

from fastapi import Request
from starlette.responses import StreamingResponse

from takings.errors import TakingsError

Item = TypeVar("Item")
Watcher = asyncio.Queue[Item | None]

WAITING: Final = 1_000
"""How much may wait for a slow watcher; then they must come again."""

PULSE_S: Final = 15.0
HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
DOCUMENTED: Final[dict[str, Any]] = {
    "response_class": StreamingResponse,
    "responses": {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
}
"""What a route that answers with a stream says of its answer."""


class Audience(Generic[Item]):
    """Who watches what, in one process."""

    def __init__(self) -> None:
        self._watchers: defaultdict[str, set[Watcher[Item]]] = defaultdict(set)
        self._closed = False

    @property
    def watched(self) -> Collection[str]:
        """What is watched now."""
        return self._watchers.keys()

    def close(self) -> None:
        """The process ends: all are dismissed, and whoever comes now is so at once."""
        self._closed = True
        self.dismiss()

    @contextmanager
    def watching(self, what: str) -> Iterator[Watcher[Item]]:
        """While inside, the queue is given what is told of it; None means: come again."""
        watcher: Watcher[Item] = asyncio.Queue(WAITING)
        self._watchers[what].add(watcher)
        if self._closed:
            watcher.put_nowait(None)
        try:
            yield watcher
        finally:
            self._watchers[what].discard(watcher)
            if not self._watchers[what]:
                del self._watchers[what]

    def tell(self, what: str, item: Item) -> None:
        """Tell those who watch it; who is too slow has to come again."""
        for watcher in self._watchers.get(what, ()):
            if watcher.full():
                _dismiss(watcher)
            else:
                watcher.put_nowait(item)

    def dismiss(self) -> None:
        """Something may have been missed: all have to come again."""
        for watchers in self._watchers.values():
            for watcher in watchers:
                _dismiss(watcher)


def _dismiss(watcher: Watcher[Item]) -> None:
    while not watcher.empty():
        watcher.get_nowait()
    watcher.put_nowait(None)


def to(
    request: Request,
    watching: AbstractContextManager[Watcher[Item]],
    known: Callable[[], Awaitable[Iterable[Item]]],
    said: Callable[[Item], str],
) -> StreamingResponse:
    """The answer to a watcher: what is known already, then every change, and a pulse in between.

    It ends where nobody knows any more who is watching.  What was said last is not said again.
    """
    caller = request.app.state.door.known

    async def events() -> AsyncIterator[str]:
        last: Item | None = None
        with suppress(TakingsError), watching as changes:
            for last in await known():
                yield said(last)
            while True:
                try:
                    async with asyncio.timeout(PULSE_S):
                        item = await changes.get()
                except TimeoutError:
                    await caller(request)
                    yield ": pulse\n\n"
                    continue
                if item is None:
                    return
                if item != last:
                    await caller(request)
                    last = item
                    yield said(item)

    return StreamingResponse(events(), media_type="text/event-stream", headers=HEADERS)
