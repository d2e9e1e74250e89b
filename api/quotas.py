"""Quotas: GET, and their feed; read once for all who ask at the same time.

A process asks the database once for everybody who asks about a run within 100 milliseconds, and
four times a second for all the runs that are watched, however many watch them.
"""

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog
from fastapi import Request
from starlette.responses import Response, StreamingResponse

from api import operations, streams
from api.dependencies import Id
from api.operations import operation
from api.runtime import Runtime
from api.schemas import quotas as schemas
from api.streams import Audience, Watcher
from takings.batching import Batcher
from takings.errors import NotFound
from ticketing import quotas
from ticketing.quotas import Quota

log = structlog.get_logger()

router = operations.router("quotas")

FRESH: Final = timedelta(milliseconds=100)
"""For how long an answer may be given again."""

POLL_S: Final = 0.25
"""How often the runs that are watched are read."""

MOST: Final = 1_000
"""How many runs are remembered; they are forgotten together."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A quota, and its JSON."""

    quota: Quota
    body: bytes = field(compare=False)


class Board:
    """What runs have left, as one process last read it, and who watches that."""

    def __init__(self, runtime: Runtime) -> None:
        self.audience: Audience[Shown] = Audience()
        self._runtime = runtime
        self._known: dict[str, Shown] = {}
        self._reading: Batcher[str, Shown] = Batcher(self._read, most=MOST)
        self._told: dict[str, Shown] = {}
        self._polling: asyncio.Task[None] | None = None

    def seen(self, run: str) -> Quota | None:
        """What a run has left, if that was read a moment ago."""
        shown = self._fresh(run)
        return shown.quota if shown is not None else None

    async def of(self, run: str) -> Shown:
        """What a run has left, read a moment ago at the latest; raises NotFound."""
        return self._fresh(run) or await self._reading.put(run)

    def _fresh(self, run: str) -> Shown | None:
        shown = self._known.get(run)
        if (
            shown is None
            or not shown.quota.as_of <= self._runtime.now() < shown.quota.as_of + FRESH
        ):
            return None
        return shown

    async def _read(self, runs: Sequence[str]) -> Sequence[Shown | Exception]:
        asked = {run for run in runs if self._fresh(run) is None}  # or read while these waited
        found = {run: self._known.get(run) for run in set(runs) - asked}
        if asked:
            found |= await self._look(asked)
        return [found.get(run) or NotFound(kind="run", id=run) for run in runs]

    async def _look(self, runs: Collection[str]) -> dict[str, Shown]:
        """Read them now, and remember what they are."""
        now = self._runtime.now()
        found = {
            run: Shown(quota, schemas.Quota.of(quota).model_dump_json().encode())
            for run, quota in (await quotas.of(self._runtime.database, runs, now=now)).items()
        }
        if len(self._known) > MOST:
            self._known.clear()
        self._known |= found
        return found

    @contextmanager
    def watching(self, run: str) -> Iterator[Watcher[Shown]]:
        """While inside, the queue is given what the run has left, whenever that changes."""
        with self.audience.watching(run) as changes:
            self._told.pop(run, None)  # whatever was read before they came is told to them again
            if self._polling is None:
                self._polling = asyncio.create_task(self._poll())
            yield changes

    async def _poll(self) -> None:
        try:
            while self.audience.watched:
                found = await self._look(self.audience.watched)
                for run, shown in found.items():
                    if self._told.get(run) != shown:
                        self.audience.tell(run, shown)
                self._told = found
                await asyncio.sleep(POLL_S)
        except Exception:  # what has changed, nobody here can say
            log.exception("quotas_not_read")
            self.audience.dismiss()
        finally:
            self._polling = None
            self._told.clear()


@router.get(
    "/runs/{id}/quota",
    response_model=schemas.Quota,
    **operation("tickets", raises=(NotFound,)),
)
async def one(request: Request, id: Id) -> Response:  # noqa: A002 - the name in the address
    """What a run has left; made to be asked often, and 100 milliseconds old at the most."""
    board: Board = request.app.state.board
    return Response((await board.of(id)).body, media_type="application/json")


@router.get(
    "/runs/{id}/quota/feed",
    **streams.DOCUMENTED,
    **operation("tickets", raises=(NotFound,)),
)
async def watch(request: Request, id: Id) -> StreamingResponse:  # noqa: A002 - as above
    """What a run has left, whenever it changes: server-sent events ``quota``, each the whole."""
    board: Board = request.app.state.board
    await board.of(id)

    async def now() -> Iterable[Shown]:
        return [await board.of(id)]

    return streams.to(request, board.watching(id), now, told)


def told(shown: Shown) -> str:
    """A quota as a server-sent event."""
    return f"event: quota\ndata: {shown.body.decode()}\n\n"
