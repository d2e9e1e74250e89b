"""Holds: tickets set aside for one buyer until a time.

    held ──► sold                    its purchase was paid, or cost nothing
      ├────► released                given back by its buyer
      ├────► expired                 its time was over, and a sweep came by
      └────► expiring ──► expired    the same, but its payment had to end at Stripe first

Many claims for one run are one statement, one lock and one commit (``claim_tickets``).  Expiry is a
change of state, never a look at the clock: a hold counts until a sweep, or a claim that needs the
room, has let it go under the run's lock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from sqlalchemy.engine import Row
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import records
from takings.database import Database, fetch
from takings.errors import Conflict, Invalid, NotFound, Refused, TakingsError, Unavailable
from takings.money import Money
from ticketing.tables import Hold, Run

MOST: Final = 100
"""How many tickets one hold is for, at most."""

PATIENCE: Final = timedelta(seconds=60)
"""When to ask again for what is sold out, where nothing will be free sooner."""


class QuantityOutOfRange(Invalid):
    """{quantity} tickets cannot be held at once: 1 to {most} can.

    Hold at least one, and larger groups in several holds.
    """

    param = "quantity"


class LeastOutOfRange(Invalid):
    """{least} is not between one and the {quantity} tickets that are wanted.

    Say how few would do, or nothing where only all of them will.
    """

    param = "least"


class SoldOut(Unavailable):
    """The run {run} has {remaining} tickets left, and that is not enough.

    Held ones may become free: ask again in {retry_after_s} seconds, or join the waiting list.
    """


class NotOnSale(Conflict):
    """The run {run} sells no such tickets at this time.

    Look at the run: when it and its tiers open and close, and whether the Space still takes place.
    """


class LotsAreDrawn(Conflict):
    """For the run {run} lots are drawn until {until}: until then nobody can hold tickets.

    Join the waiting list: all who come until then have the same chance.
    """


class TooManyTickets(Refused):
    """The listener or their address may have {left} more tickets of the run {run}.

    Hold at most as many; tickets that are held, bought and given on count.
    """

    param = "quantity"


class UnknownCode(Refused):
    """The run {run} knows no code {promo!r}.

    Look for a slip, or leave the code out.
    """

    param = "code"


class CodeUsedUp(Refused):
    """The code {promo!r} has been used too often, or its time is over.

    Leave the code out.
    """

    param = "code"


class HoldDiffers(Conflict):
    """There is already a hold {id}, and it is another one.

    Hold the tickets under an id of their own.
    """

    param = "id"


class NotYourHold(Refused):
    """The hold {id} is another listener's.

    Only who claimed it can do that.
    """

    param = "listener"


class HoldOver(Conflict):
    """The hold {id} is {state}.

    Hold tickets anew, if there are any left.
    """


@dataclass(frozen=True, slots=True)
class Claim:
    """Tickets of a run that a listener wants to hold.

    Without a tier it is the first that is on sale and has room.  ``least`` is how few of them the
    listener would take: all or nothing, unless it is told.  ``address`` is where they come from on
    the net; only a digest of it is kept, another one in each run.  That hides it from who looks,
    not from who has the database and tries every address there is.
    """

    id: str
    run: str
    listener: str
    quantity: int = 1
    least: int | None = None
    tier: str | None = None
    code: str | None = None
    address: str | None = None

    @property
    def fewest(self) -> int:
        """How few of them would do."""
        return self.quantity if self.least is None else self.least

    @property
    def origin(self) -> bytes | None:
        """The digest of the address."""
        if self.address is None:
            return None
        return sha256(f"{self.run}\n{self.address}".encode()).digest()[:16]


@dataclass(frozen=True, slots=True)
class Held:
    """A hold as it is: what one ticket costs in it, until when it lasts.

    ``remaining`` is what the run had left when it was claimed.
    """

    id: str
    run: str
    tier: str
    listener: str
    quantity: int
    price: Money
    state: str
    expires_at: datetime
    created_at: datetime
    remaining: int


def check(claim: Claim) -> None:
    """Nothing happens if the claim is well formed; else BadId, Quantity- or LeastOutOfRange."""
    records.check_id(claim.id, claim.listener)
    if not 1 <= claim.quantity <= MOST:
        raise QuantityOutOfRange(quantity=claim.quantity, most=MOST)
    if not 1 <= claim.fewest <= claim.quantity:
        raise LeastOutOfRange(least=claim.fewest, quantity=claim.quantity)


async def claim(database: Database, wish: Claim, *, now: datetime) -> Held:
    """Hold tickets, all of them or as few as the claim allows; repeatable by its id.

    Raises what is wrong with the claim, NotFound for its run or tier, and SoldOut, NotOnSale,
    LotsAreDrawn, TooManyTickets, UnknownCode, CodeUsedUp or HoldDiffers.
    """
    check(wish)
    rows = await database.fetch(CLAIM, wish.run, now, *columns([wish]))
    found = answer(wish, rows[0] if rows else None, now)
    if isinstance(found, Held):
        return found
    raise found


CLAIM = """
SELECT * FROM claim_tickets($1, 'buyer', $2, $3::text[], $4::text[], $5::text[], $6::bytea[],
                            $7::text[], $8::integer[], $9::integer[])
"""


def columns(claims: Sequence[Claim]) -> list[list[Any]]:
    """Claims as the arrays that ``claim_tickets`` takes."""
    names = ("id", "tier", "listener", "origin", "code", "quantity", "fewest")
    return [[getattr(claim, name) for claim in claims] for name in names]


def answer(wish: Claim, row: Row[Any] | None, now: datetime) -> Held | TakingsError:
    """What ``claim_tickets`` made of a claim; it has no row where there is no such run."""
    if row is None or row.outcome is None:
        return NotFound(kind="run", id=wish.run)
    if row.outcome != "held":
        return refusal(wish, row, now)
    return Held(
        id=wish.id,
        run=wish.run,
        tier=row.tier,
        listener=wish.listener,
        quantity=row.given,
        price=Money(row.price, row.pays_in),
        state=row.now_is,
        expires_at=row.lasts_until,
        created_at=row.made,
        remaining=row.left_over,
    )


def refusal(wish: Claim, row: Row[Any], now: datetime) -> TakingsError:
    """Why ``claim_tickets`` did not hold what was wished for."""
    match row.outcome:
        case "sold_out":
            free_at = min(row.lasts_until or now + PATIENCE, now + PATIENCE)
            wait_s = max(1, -(-(free_at - now) // timedelta(seconds=1)))
            return SoldOut(run=wish.run, remaining=row.left_over, retry_after_s=wait_s)
        case "drawing":
            return LotsAreDrawn(run=wish.run, until=row.lasts_until.isoformat())
        case "limit":
            return TooManyTickets(run=wish.run, left=row.most)
        case "no_tier":
            return NotFound(kind="tier", id=wish.tier)
        case "differs":
            return HoldDiffers(id=wish.id)
    kinds = {"not_on_sale": NotOnSale, "no_code": UnknownCode, "code_over": CodeUsedUp}
    return kinds[row.outcome](run=wish.run, promo=wish.code)


FREE = "SELECT free_holds($1, $2::text[], 'released', $3) AS many"


async def free(database: Database, run: str, hold_id: str, *, now: datetime) -> int:
    """Let a hold go that nobody pays for: what it held goes to the waiting list, or on sale."""
    rows = await database.fetch(FREE, run, [hold_id], now)
    return int(rows[0].many)


ONE = """
SELECT h.id, h.run_id, h.listener_id, h.state, h.paying,
       CASE WHEN EXISTS (SELECT FROM waiting w WHERE w.hold_id = h.id) THEN r.offer_s
                                                                       ELSE r.hold_s END AS lasts_s
  FROM holds h JOIN runs r ON r.id = h.run_id WHERE h.id = $1 FOR NO KEY UPDATE OF h
"""

ENDING = "UPDATE holds SET state = 'expiring' WHERE id = $1 AND state = 'held' AND paying"


async def release(database: Database, hold_id: str, listener: str, *, now: datetime) -> Held:
    """Give tickets back before the hold's time is over; repeatable.

    Where a payment is open it ends at Stripe first.  Raises NotFound, NotYourHold, or HoldOver
    where they are sold.
    """

    async def step(session: AsyncSession) -> str | None:
        hold = await _yours(session, hold_id, listener)
        if hold.state == "sold":
            raise HoldOver(id=hold_id, state=hold.state)
        await fetch(session, ENDING, hold_id)
        return hold.run_id if hold.state == "held" and not hold.paying else None

    run = await database.run(step)
    if run is not None:  # the run's lock comes before its holds', so this is a step of its own
        await free(database, run, hold_id, now=now)
    return await get(database, hold_id)


EXTEND = """
UPDATE holds SET expires_at = greatest(expires_at, created_at + 2 * $2::interval) WHERE id = $1
"""


async def extend(database: Database, hold_id: str, listener: str) -> Held:
    """Let a hold last twice as long as it did at first; asking again changes nothing.

    Raises NotFound, NotYourHold, or HoldOver where it is no longer held.
    """

    async def step(session: AsyncSession) -> None:
        hold = await _yours(session, hold_id, listener)
        if hold.state != "held":
            raise HoldOver(id=hold_id, state=hold.state)
        await fetch(session, EXTEND, hold_id, timedelta(seconds=hold.lasts_s))

    await database.run(step)
    return await get(database, hold_id)


async def _yours(session: AsyncSession, hold_id: str, listener: str) -> Row[Any]:
    """The hold, locked, if it is the listener's."""
    for hold in await fetch(session, ONE, hold_id):
        if hold.listener_id != listener:
            raise NotYourHold(id=hold_id)
        return hold
    raise NotFound(kind="hold", id=hold_id)


DUE = """
SELECT run_id FROM (
  SELECT DISTINCT run_id FROM holds WHERE state = 'held' AND expires_at <= $1) AS due
 ORDER BY random() LIMIT $2
"""

SWEEP = "SELECT sweep_holds($1, $2) AS freed"

RUNS_AT_ONCE: Final = 100
"""How many runs, drawn by lot: one that cannot be swept is not always in the others' way."""


async def sweep(database: Database, *, now: datetime) -> int:
    """Let every hold go whose time is over, a run at a time; answer how many are free again.

    Those with an open payment only begin to end: what they hold is free when Stripe has ended it.
    """
    freed = 0
    for due in await database.fetch(DUE, now, RUNS_AT_ONCE):
        rows = await database.fetch(SWEEP, due.run_id, now)
        freed += rows[0].freed
    return freed


async def get(database: Database, hold_id: str) -> Held:
    """The hold of this id, or NotFound."""
    return await database.run(of, hold_id)


async def of(session: AsyncSession, hold_id: str) -> Held:
    """The same, as a step."""
    wanted = select(Hold, Run).where(Hold.run_id == Run.id, Hold.id == hold_id)
    for hold, run in await session.exec(wanted):
        return Held(
            id=hold.id,
            run=hold.run_id,
            tier=hold.tier_id,
            listener=hold.listener_id,
            quantity=hold.quantity,
            price=Money(hold.minor, run.currency),
            state=hold.state,
            expires_at=hold.expires_at,
            created_at=hold.created_at,
            remaining=hold.remaining,
        )
    raise NotFound(kind="hold", id=hold_id)
