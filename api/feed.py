"""The live feed of a room's tips: each as soon as it is sent, settled or cancelled.

PostgreSQL says which tips have changed; a process reads them once for all who watch their rooms.
A watcher is first told the newest tips as they are, then every change; whoever comes back after a
break is told the newest again.  So a state may be told twice, and the last word on a tip holds.
Nothing more is told to a key that was shut out.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Final

import structlog
from fastapi import APIRouter, Request
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.responses import StreamingResponse

from api.dependencies import Here, Id
from api.operations import Operation, operation
from api.schemas.feed import FeedTip
from takings.database import Database
from takings.errors import NotFound, TakingsError
from takings.spaces import spaces
from tipping.tables import Tip

log = structlog.get_logger()

router = APIRouter(route_class=Operation, tags=["feed"])

CHANNEL: Final = "takings_tips"
NEWEST: Final = 50
WAITING: Final = 1_000
"""How many changes may wait for a slow watcher; then they must come again."""

AT_ONCE: Final = 1_000
"""How many changed tips are read in one statement."""

PULSE_S: Final = 15.0
STREAM: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}

Watcher = asyncio.Queue[FeedTip | None]


class Feed:
    """Who watches which room, in one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rooms: defaultdict[str, set[Watcher]] = defaultdict(set)
        self._changed: set[str] = set()
        self._telling: asyncio.Task[None] | None = None
        self._closed = False

    def close(self) -> None:
        """The process ends: all are dismissed, and whoever comes now is so at once."""
        self._closed = True
        self._dismiss_all()

    def ring(self, said: str) -> None:
        """These tips have changed; nothing said means that something may have been missed."""
        if not said:
            self._dismiss_all()
        elif self._rooms:
            self._changed.update(said.split())
            if self._telling is None:
                self._telling = asyncio.create_task(self._tell())

    @contextmanager
    def watching(self, space: str) -> Iterator[Watcher]:
        """While inside, the queue is given what changes in a room; None means: come again."""
        watcher: Watcher = asyncio.Queue(WAITING)
        self._rooms[space].add(watcher)
        if self._closed:
            watcher.put_nowait(None)
        try:
            yield watcher
        finally:
            self._rooms[space].discard(watcher)
            if not self._rooms[space]:
                del self._rooms[space]

    async def _tell(self) -> None:
        try:
            while self._changed:
                ids = set(islice(self._changed, AT_ONCE))
                self._changed -= ids
                for tip in await self._database.run(_tips, ids):
                    self._put(tip)
        except Exception:  # what these tips have become, nobody here can say
            log.exception("feed_broke")
            self._dismiss_all()
        finally:
            self._telling = None

    def _put(self, tip: FeedTip) -> None:
        for watcher in tuple(self._rooms.get(tip.space, ())):
            if watcher.full():
                self._dismiss([watcher])
            else:
                watcher.put_nowait(tip)

    def _dismiss_all(self) -> None:
        self._changed.clear()
        self._dismiss(watcher for room in self._rooms.values() for watcher in room)

    def _dismiss(self, watchers: Iterable[Watcher]) -> None:
        for watcher in watchers:
            while not watcher.empty():
                watcher.get_nowait()
            watcher.put_nowait(None)


@router.get(
    "/spaces/{id}/tips/feed",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    **operation("tips", raises=(NotFound,)),
)
async def watch(here: Here, request: Request, id: Id) -> StreamingResponse:  # noqa: A002
    """A room's tips as they come: server-sent events, each with the tip as it is then.

    ``tip.pending`` is promised, ``tip.settled`` is paid, ``tip.cancelled`` never will be.
    """
    await here.database.run(spaces.get, id)
    feed: Feed = request.app.state.feed
    known = request.app.state.door.known

    async def check() -> None:
        await known(request)

    told = events(here.database, feed, id, check)
    return StreamingResponse(told, media_type="text/event-stream", headers=STREAM)


async def events(
    database: Database, feed: Feed, space: str, check: Callable[[], Awaitable[object]]
) -> AsyncIterator[str]:
    """What a watcher is told: the newest tips, then every change, and a pulse in between.

    It ends where ``check`` no longer knows who is watching.
    """
    with suppress(TakingsError), feed.watching(space) as changes:
        for known in reversed(await database.run(_newest, space)):
            yield told(known)
        while (said := await _next(changes)) is not None:
            await check()
            yield said
    # The client comes again: then it is told the newest, or why not.


async def _next(changes: Watcher) -> str | None:
    """The next that a watcher is told; None if they shall come again."""
    try:
        async with asyncio.timeout(PULSE_S):
            tip = await changes.get()
    except TimeoutError:
        return ": pulse\n\n"
    return told(tip) if tip is not None else None


def told(tip: FeedTip) -> str:
    """A tip as a server-sent event."""
    return f"event: tip.{tip.state}\nid: {tip.id}.{tip.state}\ndata: {tip.model_dump_json()}\n\n"


async def _tips(session: AsyncSession, ids: Iterable[str]) -> list[FeedTip]:
    wanted = select(Tip).where(col(Tip.id).in_(ids)).order_by(col(Tip.created_at), col(Tip.id))
    return [FeedTip.of(row) for row in await session.exec(wanted)]


async def _newest(session: AsyncSession, space: str) -> list[FeedTip]:
    order = col(Tip.created_at).desc(), col(Tip.id).desc()
    wanted = select(Tip).where(Tip.space_id == space).order_by(*order).limit(NEWEST)
    return [FeedTip.of(row) for row in await session.exec(wanted)]
