"""The desk: claims of a hot run, each done once, many of them in one statement and one commit.

Claims for one run that arrive while a statement is in flight are the next statement.  It looks for
acts that are known already, claims for all others, and notes the act of every hold that it makes;
so a claim that is refused leaves nothing behind, and its key is free.  Whatever is out of the
ordinary (an act or a hold that is known, a body that cannot be read) is left to the door.

That a run is sold out is remembered for a moment, so that those who come too late do not take the
lock of those who pay; that tickets are left, only the database says.

A hold's id is made of its actor and key alone: whoever comes with the same again, at the same
instant or after a crash, meets the hold that is there.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from weakref import WeakValueDictionary

from fastapi import Request
from pydantic import ValidationError
from sqlalchemy.engine import Row
from starlette.responses import Response

from api.acts import Act, lasting_id
from api.schemas.holds import Hold, HoldInput
from takings.batching import Batcher
from takings.database import Database, LawBroken
from ticketing import holds
from ticketing.holds import Claim, Held, SoldOut

JSON: Final = "application/json"

FIRST = """
SELECT * FROM claim_by_acts($1, $2, $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                            $8::bytea[], $9::text[], $10::text[], $11::text[], $12::bytea[],
                            $13::text[], $14::integer[], $15::integer[])
"""

KNOWN = """
SELECT a.actor, a.key FROM unnest($1::text[], $2::text[]) AS q (actor, key)
  JOIN acts a ON a.actor = q.actor AND a.key = q.key
"""

REMEMBERED: Final = timedelta(milliseconds=250)
"""How long a run is answered for as sold out without asking again."""

RUNS: Final = 1_000
"""Of how many runs that is remembered."""

ONE_ACT: Final = "acts_actor_key_key"

Asked = tuple[Act, Claim]
Name = tuple[str, str]


def hold_id(actor: str, key: str) -> str:
    """The id of the hold that an act makes, whenever it is tried."""
    return lasting_id("hold", actor, key)


class Desk:
    """The claims of one process.  A caller who gives up while waiting leaves nothing behind."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lines: WeakValueDictionary[str, Batcher[Asked, Held | None]] = WeakValueDictionary()
        self._regrets: set[asyncio.Task[int]] = set()
        self._sold_out: dict[str, tuple[SoldOut, datetime]] = {}
        self._knowing: Batcher[Name, bool] = Batcher(self._known)

    async def claim(self, act: Act, wish: Claim, *, named: bool = False) -> Held | None:
        """Hold tickets; None where the act is known.  Raises as ``holds.claim`` does.

        ``named`` says that the caller has given the hold its id, so that it may be there already.
        """
        holds.check(wish)
        refusal, until = self._sold_out.get(wish.run, (None, act.begun_at))
        if refusal is not None and act.begun_at < until and not named:
            if await self._knowing.put((act.actor, act.key)):
                return None
            raise SoldOut(**refusal.facts)
        line = self._lines.get(wish.run)
        if line is None:

            async def write(asked: Sequence[Asked]) -> Sequence[Held | Exception | None]:
                return await self._write(wish.run, asked)

            line = self._lines[wish.run] = Batcher(write, unwanted=self._give_back)
        return await line.put((act, wish))

    async def _write(self, run: str, asked: Sequence[Asked]) -> Sequence[Held | Exception | None]:
        acts = list({(act.actor, act.key): act for act, _ in reversed(asked)}.values())
        first = {id(act) for act in acts}
        chosen = [(act, wish) for act, wish in asked if id(act) in first]
        now = max(act.begun_at for act, _ in chosen)
        about = ("id", "actor", "key", "operation", "target", "fingerprint")
        columns = [[getattr(act, name) for act, _ in chosen] for name in about]
        columns += holds.columns([wish for _, wish in chosen])
        found = await self._fetch(run, now, *columns)
        rows = {id(act): row for (act, _), row in zip(chosen, found, strict=True)}
        answers = [_answer(wish, rows.get(id(act)), now) for act, wish in asked]
        self._remember(run, answers, now)
        return answers

    async def _fetch(self, *told: Any) -> Sequence[Row[Any]]:
        while True:
            try:
                return await self._database.fetch(FIRST, *told)
            except LawBroken as error:
                if error.facts["law"] != ONE_ACT:
                    raise
                # Another process has just noted another act under one of these keys: it is known.

    def _remember(self, run: str, answers: Sequence[object], now: datetime) -> None:
        """Whether the run is sold out to the last ticket, as of now; the last answer knows."""
        self._sold_out.pop(run, None)
        last = answers[-1]
        if isinstance(last, SoldOut) and last.facts["remaining"] == 0:
            if len(self._sold_out) > RUNS:
                self._sold_out.clear()
            self._sold_out[run] = last, now + REMEMBERED

    async def _known(self, names: Sequence[Name]) -> Sequence[bool]:
        columns = [list(column) for column in zip(*names, strict=True)]
        found = {(row.actor, row.key) for row in await self._database.fetch(KNOWN, *columns)}
        return [name in found for name in names]

    def _give_back(self, asked: Asked, held: Held | None) -> None:
        """What was held for a caller who is gone is free again."""
        if held is not None:
            act, _ = asked
            free = holds.free(self._database, held.run, held.id, now=act.begun_at)
            task = asyncio.create_task(free)
            self._regrets.add(task)
            task.add_done_callback(self._regrets.discard)


def _answer(wish: Claim, row: Row[Any] | None, now: datetime) -> Held | Exception | None:
    if row is None or row.known:  # or the same act twice in one batch
        return None
    return holds.answer(wish, row, now)


async def first(request: Request, act: Act) -> Response | None:
    """A hold's first request, answered; None where it is not the first, or cannot be read."""
    if not request.headers.get("content-type", "").startswith(JSON):
        return None
    try:
        given = HoldInput.model_validate_json(await request.body())
    except ValidationError:
        return None
    desk: Desk = request.app.state.desk
    wish = given.claim(given.id or hold_id(act.actor, act.key))
    held = await desk.claim(act, wish, named=given.id is not None)
    if held is None:
        return None
    return Response(Hold.of(held).model_dump_json(), media_type=JSON)
