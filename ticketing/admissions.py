"""Admissions: a ticket is used once, at the door of its own Space.

The one row that a ticket may have decides who was first.  Its ticket is locked meanwhile, so that
it is not passed on or given back in the same instant: whoever does that locks the ticket, then asks
``used``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy.engine import Row
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import records
from takings.database import Database, fetch
from takings.errors import Conflict, Refused
from takings.spaces import spaces
from ticketing import door_keys, passes
from ticketing.door_tables import Admission
from ticketing.passes import BadPass, Pass
from ticketing.sale_tables import Ticket
from ticketing.tables import Tier


class AlreadyAdmitted(Conflict):
    """The ticket {number} was admitted at {at}, at the door {where}.

    Nobody else is let in with it.
    """


class PassReplaced(Conflict):
    """The ticket {number} was passed on since: this is its pass no more.

    Whose ticket it is now has a pass of their own.
    """


class TicketVoid(Conflict):
    """The ticket {number} was given back, or its Space called off.

    Nobody is let in with it; its money is on its way to who bought it.
    """


class WrongSpace(Refused):
    """The ticket {number} is for another Space, {space}.

    Show the way to its door.
    """


class SpaceCancelled(Conflict):
    """The Space {space} was cancelled.

    Nobody is let in; who bought a ticket has all of their money back.
    """


class AdmissionDiffers(Conflict):
    """There is already an admission {id}, and it is another ticket's.

    Admit the ticket under an id of its own.
    """

    param = "id"


@dataclass(frozen=True, slots=True)
class AdmissionWish:
    """A pass that is shown at the door of a Space; ``door`` is the name of the device."""

    id: str
    text: str
    space: str
    door: str
    place: str | None = None


@dataclass(frozen=True, slots=True)
class Admitted:
    """An admission, with its ticket and the name of its tier."""

    admission: Admission
    ticket: Ticket
    tier: str


EVERY = select(Admission, Ticket, Tier.name).where(
    Admission.ticket_id == Ticket.id, Tier.id == Ticket.tier_id
)

ADMIT = """
INSERT INTO admissions (ticket_id, id, space_id, door, place, happened_at, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $6) ON CONFLICT DO NOTHING RETURNING id
"""


async def admit(database: Database, wish: AdmissionWish, *, now: datetime) -> Admitted:
    """Let in whoever shows the pass, once; repeatable by its id.

    Raises NotFound for the Space, BadPass, WrongSpace, PassReplaced, TicketVoid, SpaceCancelled,
    AdmissionDiffers, or AlreadyAdmitted, which says where and when.
    """
    records.check_id(wish.id)

    async def step(session: AsyncSession) -> Admitted:
        await spaces.get(session, wish.space)
        shown = passes.read(wish.text, await door_keys.readable(session))
        known = await _by(session, Admission.id == wish.id)
        if known is not None:
            if (known.ticket.run_id, known.ticket.number) != (shown.run, shown.number):
                raise AdmissionDiffers(id=wish.id)
            return known
        ticket = (await tickets(session, [shown], SHARED)).get((shown.run, shown.number))
        found = check(ticket, shown, wish.space)
        told = (found.id, wish.id, wish.space, wish.door, wish.place, now)
        mine = await fetch(session, ADMIT, *told)
        of_it = Admission.id == wish.id if mine else Admission.ticket_id == found.id
        first = await _by(session, of_it)
        if first is None:  # another ticket's, under this id, a moment ago
            raise AdmissionDiffers(id=wish.id)
        if first.admission.id != wish.id:
            raise _already(first)
        return first

    return await database.run(step)


async def used(session: AsyncSession, ticket_id: str) -> Admission | None:
    """The ticket's admission, if it has been used; who asks in order to change it locks it first.

    The row of the ticket, locked in an earlier statement, is what makes the answer last.
    """
    return await session.get(Admission, ticket_id, populate_existing=True)


async def _by(session: AsyncSession, what: Any) -> Admitted | None:
    row = (await session.exec(EVERY.where(what))).first()
    return None if row is None else Admitted(*row)


def _already(first: Admitted) -> AlreadyAdmitted:
    at, where = first.admission, [first.admission.door, first.admission.place]
    return AlreadyAdmitted(
        number=first.ticket.number,
        at=f"{at.happened_at:%Y-%m-%d %H:%M:%S} UTC",
        where=", ".join(filter(None, where)),
    )


SHARED: Final = "FOR SHARE OF t"
"""The ticket stays as it is, and others may look at it: its one admission decides between them."""

ALONE: Final = "FOR NO KEY UPDATE OF t"
"""The ticket stays as it is, and nobody else admits it meanwhile."""

TICKETS = """
SELECT t.id, t.run_id, t.number, t.serial, t.secret, t.state, t.issued_at,
       r.space_id, s.state AS space_state
  FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::integer[])) AS a (run, number)
  JOIN tickets t ON t.run_id = a.run AND t.number = a.number
  JOIN runs r ON r.id = t.run_id
  JOIN spaces s ON s.id = r.space_id
 ORDER BY t.id
"""


async def tickets(
    session: AsyncSession, shown: Sequence[Pass], lock: str
) -> dict[tuple[str, int], Row[Any]]:
    """The tickets that passes speak of, by run and number, locked in the order of their ids."""
    runs, numbers = [one.run for one in shown], [one.number for one in shown]
    rows = await fetch(session, f"{TICKETS} {lock}", runs, numbers)
    return {(row.run_id, row.number): row for row in rows}


def check(ticket: Row[Any] | None, shown: Pass, space: str) -> Row[Any]:
    """The ticket, if a pass opens the door of the Space; else what is wrong with it."""
    if ticket is None or shown.serial > ticket.serial:
        raise BadPass(why="there is no such ticket")
    number = ticket.number
    if ticket.space_id != space:
        raise WrongSpace(number=number, space=ticket.space_id)
    if shown.serial < ticket.serial:
        raise PassReplaced(number=number)
    if shown.digest not in (b"", passes.digest(ticket.secret)):
        raise BadPass(why="there is no such ticket")
    if ticket.space_state == "cancelled":
        raise SpaceCancelled(space=space)
    if ticket.state != "valid":
        raise TicketVoid(number=number)
    return ticket
