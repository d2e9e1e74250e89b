"""The live feed of a room's tips: each as soon as it is sent, settled or cancelled.

PostgreSQL says which tips have changed; a process reads them once for all who watch their rooms.
A watcher is first told the newest tips as they are, then every change; whoever comes back after a
break is told the newest again.  So a state may be told twice, and the last word on a tip holds.
Nothing more is told to a key that was shut out.
"""

import asyncio
from collections.abc import Iterable
from itertools import islice
from typing import Final

import structlog
from fastapi import Request
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.responses import StreamingResponse

from api import operations, streams
from api.dependencies import Here, Id
from api.operations import operation
from api.schemas.feed import FeedTip
from api.streams import Audience
from takings.database import Database
from takings.errors import NotFound
from takings.spaces import spaces
from tipping.tables import Tip

log = structlog.get_logger()

router = operations.router("feed")

CHANNEL: Final = "takings_tips"
NEWEST: Final = 50
AT_ONCE: Final = 1_000
"""How many changed tips are read in one statement."""


class Feed:
    """What the audience of each room is told, in one process."""

    def __init__(self, database: Database) -> None:
        self.audience: Audience[FeedTip] = Audience()
        self._database = database
        self._changed: set[str] = set()
        self._telling: asyncio.Task[None] | None = None

    def ring(self, said: str) -> None:
        """These tips have changed; nothing said means that something may have been missed."""
        if not said:
            self._missed()
        elif self.audience.watched:
            self._changed.update(said.split())
            if self._telling is None:
                self._telling = asyncio.create_task(self._tell())

    async def _tell(self) -> None:
        try:
            while self._changed:
                ids = set(islice(self._changed, AT_ONCE))
                self._changed -= ids
                for tip in await self._database.run(_tips, ids):
                    self.audience.tell(tip.space, tip)
        except Exception:  # what these tips have become, nobody here can say
            log.exception("feed_broke")
            self._missed()
        finally:
            self._telling = None

    def _missed(self) -> None:
        self._changed.clear()
        self.audience.dismiss()


@router.get(
    "/spaces/{id}/tips/feed",
    **streams.DOCUMENTED,
    **operation("tips", raises=(NotFound,)),
)
async def watch(here: Here, request: Request, id: Id) -> StreamingResponse:  # noqa: A002
    """A room's tips as they come: server-sent events, each with the tip as it is then.

    ``tip.pending`` is promised, ``tip.settled`` is paid, ``tip.cancelled`` never will be.
    """
    await here.database.run(spaces.get, id)
    audience: Audience[FeedTip] = request.app.state.feed.audience

    async def newest() -> Iterable[FeedTip]:
        return reversed(await here.database.run(_newest, id))

    return streams.to(request, audience.watching(id), newest, told)


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
