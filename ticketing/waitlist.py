"""The waiting list of a run: who is told no now, and comes first when something becomes free.

    waiting ──► offered ──► taken     its purchase was paid, or cost nothing
       │           ├──────► lapsed    the offer's time was over
       ├───────────┴──────► left      they gave up their place, or gave the offer back
       └──────────────────► lapsed    the Space is over

An offer is a hold with a deadline.  It is made inside the transaction that frees the tickets
(``offer_tickets``), before a buyer can see them: to the first who would take as few as
there are.  Where lots are drawn, whoever joins before the draw is over has a random place, and
nothing is offered until then.
"""

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database, fetch
from takings.errors import Conflict, NotFound, TakingsError
from ticketing import holds, pools
from ticketing.holds import Claim, NotOnSale, TooManyTickets

LOTS: Final = 10**12
"""How many lots there are; as microseconds since 1970 they are all before anybody joins later."""


class StillOnSale(Conflict):
    """The run {run} has such tickets left, and nobody waits for them.

    Hold them.
    """


class AlreadyWaiting(Conflict):
    """The listener waits for tickets of the run {run} already: {id}.

    Leave it first to wait for something else.
    """

    param = "listener"


class WaitDiffers(Conflict):
    """There is already a place {id} on a waiting list, and it is another one.

    Join under an id of its own.
    """

    param = "id"


class WaitOver(Conflict):
    """The place {id} on the waiting list is {state}: its tickets are bought.

    Give the tickets back, if the run allows that.
    """


@dataclass(frozen=True, slots=True)
class WaitWish:
    """Tickets of a run that a listener would wait for, as in a claim."""

    id: str
    run: str
    listener: str
    quantity: int = 1
    least: int | None = None
    tier: str | None = None
    address: str | None = None

    @property
    def claim(self) -> Claim:
        """What they would hold, if it were there."""
        return Claim(**asdict(self))


@dataclass(frozen=True, slots=True)
class Place:
    """A place on a waiting list: 1 is next, None who waits no more, or until lots are drawn.

    Offered, its tickets are in a hold, for as long as that lasts.
    """

    id: str
    run: str
    tier: str | None
    listener: str
    quantity: int
    least: int
    state: str
    place: int | None
    hold: str | None
    offered_until: datetime | None
    created_at: datetime


JOIN = "SELECT * FROM join_waiting($1, $2, $3, $4, $5, $6, $7, $8, $9)"


async def join(database: Database, wish: WaitWish, *, now: datetime) -> Place:
    """Take a place on the list, and what is free for it at once; repeatable by its id.

    Raises NotFound for its run or tier, BadId, Quantity- or LeastOutOfRange, NotOnSale,
    StillOnSale, AlreadyWaiting, TooManyTickets or WaitDiffers.
    """
    claim = wish.claim
    holds.check(claim)
    told = (wish.listener, claim.origin, wish.tier, wish.quantity, claim.fewest)
    rows = await database.fetch(JOIN, wish.run, wish.id, *told, secrets.randbelow(LOTS), now)
    if not rows:
        raise NotFound(kind="run", id=wish.run)
    if rows[0].outcome != "joined":
        raise _refusal(wish, rows[0])
    return await get(database, wish.id, now=now)


def _refusal(wish: WaitWish, row: Row[Any]) -> TakingsError:
    match row.outcome:
        case "no_tier":
            return NotFound(kind="tier", id=wish.tier)
        case "waits":
            return AlreadyWaiting(run=wish.run, id=row.known)
        case "limit":
            return TooManyTickets(run=wish.run, left=row.allowed)
        case "differs":
            return WaitDiffers(id=wish.id)
    return {"not_on_sale": NotOnSale, "on_sale": StillOnSale}[row.outcome](run=wish.run)


ONE = "SELECT run_id FROM waiting WHERE id = $1"
LEAVE = "UPDATE waiting SET state = 'left', ended_at = $2 WHERE id = $1 AND state = 'waiting'"
AS_IT_IS = "SELECT state, hold_id, listener_id FROM waiting WHERE id = $1"


async def leave(database: Database, waiting_id: str, *, now: datetime) -> Place:
    """Give up a place on the list, and give back what was offered; repeatable.

    Where the offer's payment is open, that ends at Stripe first.  Raises NotFound, or WaitOver
    where the tickets are bought.
    """

    async def step(session: AsyncSession) -> Row[Any]:
        for row in await fetch(session, ONE, waiting_id):
            await pools.lock(session, row.run_id)
            await fetch(session, LEAVE, waiting_id, now)
            return (await fetch(session, AS_IT_IS, waiting_id))[0]
        raise NotFound(kind="place on a waiting list", id=waiting_id)

    known = await database.run(step)
    if known.state == "taken":
        raise WaitOver(id=waiting_id, state=known.state)
    if known.state == "offered":
        await holds.release(database, known.hold_id, known.listener_id, now=now)
    return await get(database, waiting_id, now=now)


# Who is before the first of them is counted once, and from there on they are numbered.
PLACES = """
WITH asked AS (
  SELECT w.run_id, min(w.rank) AS low, max(w.rank) AS high
    FROM waiting w JOIN runs r ON r.id = w.run_id
   WHERE w.id = ANY ($1) AND w.state = 'waiting'
     AND coalesce(r.opens_at + r.draw_s * interval '1 s' <= $2, true)
   GROUP BY w.run_id
), turns AS (
  SELECT b.id, f.before + row_number() OVER (PARTITION BY a.run_id ORDER BY b.rank, b.id) AS place
    FROM asked a,
         LATERAL (SELECT count(*) AS before FROM waiting b
                   WHERE b.run_id = a.run_id AND b.state = 'waiting' AND b.rank < a.low) AS f,
         LATERAL (SELECT b.id, b.rank FROM waiting b
                   WHERE b.run_id = a.run_id AND b.state = 'waiting'
                     AND b.rank BETWEEN a.low AND a.high) AS b
)
SELECT w.*, h.expires_at AS offered_until, t.place
  FROM waiting w
  LEFT JOIN turns t ON t.id = w.id
  LEFT JOIN holds h ON h.id = w.hold_id AND w.state = 'offered'
 WHERE w.id = ANY ($1)
"""


async def get(database: Database, waiting_id: str, *, now: datetime) -> Place:
    """The place of this id, or NotFound."""
    return (await database.run(of, [waiting_id], now))[0]


async def of(session: AsyncSession, ids: Sequence[str], now: datetime) -> list[Place]:
    """The same of several, in their order, as a step."""
    found = {row.id: _place(row) for row in await fetch(session, PLACES, list(ids), now)}
    for one in ids:
        if one not in found:
            raise NotFound(kind="place on a waiting list", id=one)
    return [found[one] for one in ids]


def _place(row: Row[Any]) -> Place:
    return Place(
        id=row.id,
        run=row.run_id,
        tier=row.tier_id,
        listener=row.listener_id,
        quantity=row.quantity,
        least=row.least,
        state=row.state,
        place=row.place,
        hold=row.hold_id,
        offered_until=row.offered_until,
        created_at=row.created_at,
    )


# What nobody freed: lots that are drawn now, a tier that opens, room in the Space that another of
# its runs gave back.  And runs whose Space is over.  From one run to the next in the index, however
# many wait for each.
DUE = """
WITH RECURSIVE waited (run_id) AS (
  (SELECT w.run_id FROM waiting w WHERE w.state = 'waiting' ORDER BY w.run_id LIMIT 1)
   UNION ALL
  SELECT n.run_id FROM waited d, LATERAL (
    SELECT w.run_id FROM waiting w WHERE w.state = 'waiting' AND w.run_id > d.run_id
     ORDER BY w.run_id LIMIT 1) AS n
)
SELECT r.id, r.cancelled_at IS NOT NULL OR s.state IN ('ended', 'cancelled') AS over
  FROM waited d
  JOIN runs r ON r.id = d.run_id JOIN spaces s ON s.id = r.space_id JOIN pools p ON p.id = r.id
 WHERE r.cancelled_at IS NOT NULL OR s.state IN ('ended', 'cancelled')
    OR (p.held + p.sold < p.quota
        AND coalesce(r.opens_at + r.draw_s * interval '1 s' <= $1, true))
 ORDER BY random() LIMIT $2
"""

RUNS_AT_ONCE: Final = 100

OFFER = "SELECT offer_tickets($1, $2) AS many"

LAPSE = """
UPDATE waiting SET state = 'lapsed', ended_at = $2 WHERE run_id = $1 AND state = 'waiting'
RETURNING id
"""


async def serve(database: Database, *, now: datetime) -> int:
    """Offer what is free to who waits, and let who waits in vain go; a run at a time.

    Answers how many places that changed.
    """
    changed = 0
    for run in await database.fetch(DUE, now, RUNS_AT_ONCE):
        if run.over:
            changed += await database.run(lapse, run.id, now)
        else:
            changed += (await database.fetch(OFFER, run.id, now))[0].many
    return changed


async def lapse(session: AsyncSession, run: str, now: datetime) -> int:
    """Send home whoever waits for a run; answer how many they were."""
    await pools.lock(session, run)
    return len(await fetch(session, LAPSE, run, now))
