"""The desk: claims of a hot run, each done once, many of them in one statement and one commit.

Claims for one run that arrive while a statement is in flight are the next statement.  It looks for
acts that are known already, claims for all others, and notes the act of every hold that it makes;
so a claim that is refused leaves nothing behind, and its key is free.  Whatever is out of the
ordinary (an act that is known, a body that cannot be read) is left to the door.

A hold's id is made of its actor and key alone: whoever comes with the same again, at the same
instant or after a crash, meets the hold that is there.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from weakref import WeakValueDictionary

from fastapi import Request
from pydantic import ValidationError
from sqlalchemy.engine import Row
from starlette.responses import Response

from api.acts import Act, lasting_id
from api.schemas.holds import Hold, HoldInput
from takings.batching import Batcher
from takings.database import Database
from ticketing import holds
from ticketing.holds import Claim, Held

JSON: Final = "application/json"

FIRST = """
WITH asked AS (
  SELECT * FROM unnest($3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[],
                       $9::text[], $10::text[], $11::text[], $12::bytea[], $13::text[],
                       $14::integer[], $15::integer[])
    WITH ORDINALITY AS q (name, actor, key, operation, target, fingerprint,
                          hold, tier, listener, origin, code, quantity, least, n)
), fresh AS (
  SELECT * FROM asked q
   WHERE NOT EXISTS (SELECT FROM acts a WHERE a.actor = q.actor AND a.key = q.key)
), claimed AS MATERIALIZED (
  SELECT c.*
    FROM (SELECT array_agg(hold ORDER BY n) AS holds, array_agg(tier ORDER BY n) AS tiers,
                 array_agg(listener ORDER BY n) AS listeners, array_agg(origin ORDER BY n)
                 AS origins, array_agg(code ORDER BY n) AS codes,
                 array_agg(quantity ORDER BY n) AS quantities, array_agg(least ORDER BY n)
                 AS leasts FROM fresh) AS f,
         claim_tickets($1, 'buyer', $2, f.holds, f.tiers, f.listeners, f.origins, f.codes,
                       f.quantities, f.leasts) AS c
), noted AS (
  INSERT INTO acts (id, actor, key, operation, target, fingerprint, begun_at, leased_until,
                    attempts, status, ended_at)
  SELECT f.name, f.actor, f.key, f.operation, f.target, f.fingerprint, $2, $2, 1, 200, $2
    FROM fresh f JOIN claimed c ON c.hold = f.hold WHERE c.outcome = 'held'
   ORDER BY f.actor, f.key
  ON CONFLICT (actor, key) DO NOTHING
)
SELECT c.*, f.n IS NULL AS known
  FROM asked q LEFT JOIN fresh f ON f.n = q.n LEFT JOIN claimed c ON c.hold = q.hold
 ORDER BY q.n
"""

Asked = tuple[Act, Claim]


def hold_id(actor: str, key: str) -> str:
    """The id of the hold that an act makes, whenever it is tried."""
    return lasting_id("hold", actor, key)


class Desk:
    """The claims of one process.  A caller who gives up while waiting leaves nothing behind."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lines: WeakValueDictionary[str, Batcher[Asked, Held | None]] = WeakValueDictionary()
        self._regrets: set[asyncio.Task[int]] = set()

    async def claim(self, act: Act, wish: Claim) -> Held | None:
        """Hold tickets; None where the act is known.  Raises as ``holds.claim`` does."""
        holds.check(wish)
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
        found = await self._database.fetch(FIRST, run, now, *columns)
        rows = {id(act): row for (act, _), row in zip(chosen, found, strict=True)}
        return [_answer(wish, rows.get(id(act)), now) for act, wish in asked]

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
    held = await desk.claim(act, given.claim(given.id or hold_id(act.actor, act.key)))
    if held is None:
        return None
    return Response(Hold.of(held).model_dump_json(), media_type=JSON)
