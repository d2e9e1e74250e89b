"""Doors without the net: what they take along, what they tell later, what two of them both saw.

A door's scans are told as often as it likes, in any order and by many doors: of all scans of a
ticket the earliest is its admission, by time and then by the door's name, and the others are
conflicts.  So is everybody who was let in with a pass that was not good any more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, Self

from sqlalchemy.engine import Row
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import records
from takings.database import Database, fetch
from takings.errors import Invalid, TakingsError
from takings.spaces import spaces
from ticketing import admissions, door_keys, passes
from ticketing.door_tables import AdmissionConflict
from ticketing.passes import BadPass, Pass
from ticketing.sale_tables import Ticket

Turn = tuple[datetime, str]

SKEW: Final = timedelta(minutes=5)
"""How far a door's clock may be from ours."""

TWICE: Final = "already_admitted"
"""The cause of a conflict where a ticket was used before; other causes are codes of errors."""


class ClockWrong(Invalid):
    """The scan of the ticket {number} is of {at}: before it was issued, or still to come.

    Set the clock of the door, and tell the scan with the time that it was.
    """


@dataclass(frozen=True, slots=True)
class DoorTicket:
    """What a door knows of a valid ticket: enough to refuse passes of before and second scans."""

    run: str
    number: int
    serial: int
    digest: bytes
    tier: str
    listener: str
    holder: str | None
    admitted_at: datetime | None


@dataclass(frozen=True, slots=True)
class Scan:
    """What a door saw: a pass as it was, or one that it read and vouches for."""

    seen: str | Pass
    happened_at: datetime
    place: str | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """Where and when a ticket was used; the least of them is first."""

    happened_at: datetime
    door: str
    place: str | None = None

    @property
    def turn(self) -> Turn:
        """Its place among the uses of its ticket."""
        return self.happened_at, self.door


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a scan; a conflict names the ticket's first use."""

    outcome: Literal["admitted", "conflict", "refused"]
    number: int | None = None
    first: Use | None = None
    code: str | None = None


BAD: Final = Judged("refused", code=BadPass.code)
"""What is told of a pass that is nobody's."""


LIST = """
SELECT t.run_id, t.number, t.serial, t.secret, i.name AS tier, t.listener_id, t.holder,
       a.happened_at
  FROM runs r
  JOIN tickets t ON t.run_id = r.id AND t.state = 'valid'
  JOIN tiers i ON i.id = t.tier_id
  LEFT JOIN admissions a ON a.ticket_id = t.id
 WHERE r.space_id = $1 ORDER BY t.run_id, t.number
"""


async def tickets(session: AsyncSession, space_id: str) -> list[DoorTicket]:
    """Every valid ticket of a Space, as its doors take them along; raises NotFound."""
    await spaces.get(session, space_id)
    return [
        DoorTicket(
            run=row.run_id,
            number=row.number,
            serial=row.serial,
            digest=passes.digest(row.secret),
            tier=row.tier,
            listener=row.listener_id,
            holder=row.holder,
            admitted_at=row.happened_at,
        )
        for row in await fetch(session, LIST, space_id)
    ]


async def tell(
    database: Database, space_id: str, door: str, scans: Sequence[Scan], *, now: datetime
) -> list[Judged]:
    """Write down what a door saw while it was alone; what became of each scan, in their order.

    Telling it again changes nothing.  Raises NotFound for the Space.
    """

    async def step(session: AsyncSession) -> list[Judged]:
        await spaces.get(session, space_id)
        keys = await door_keys.readable(session)
        seen = [_read(scan, keys) for scan in scans]
        good = [one for one in seen if one is not None]
        found = await admissions.tickets(session, good, admissions.ALONE)
        book = await _Book.opened(session, space_id, [row.id for row in found.values()])
        uses = [Use(scan.happened_at, door, scan.place) for scan in scans]
        for one, use in sorted(zip(seen, uses, strict=True), key=lambda told: told[1].turn):
            if one is not None and (one.run, one.number) in found:
                book.enter(found[one.run, one.number], one, use, now)
        await book.write(session, now)
        return [
            BAD if one is None else book.judged(found.get((one.run, one.number)), use)
            for one, use in zip(seen, uses, strict=True)
        ]

    return await database.run(step)


async def conflicts(session: AsyncSession, space_id: str) -> list[tuple[AdmissionConflict, Ticket]]:
    """Whom the doors of a Space let in and should not have, oldest first; raises NotFound."""
    await spaces.get(session, space_id)
    wanted = select(AdmissionConflict, Ticket).where(
        AdmissionConflict.space_id == space_id, Ticket.id == AdmissionConflict.ticket_id
    )
    order = col(AdmissionConflict.happened_at), col(AdmissionConflict.ticket_id)
    return [(one, ticket) for one, ticket in await session.exec(wanted.order_by(*order))]


def _read(scan: Scan, keys: Mapping[str, bytes]) -> Pass | None:
    """The pass that was seen; None where it is none of ours."""
    if isinstance(scan.seen, Pass):
        return scan.seen
    try:
        return passes.read(scan.seen, keys)
    except BadPass:
        return None


KNOWN = """
SELECT ticket_id, happened_at, door, place, NULL AS cause FROM admissions
 WHERE ticket_id = ANY ($1::text[])
 UNION ALL
SELECT ticket_id, happened_at, door, place, cause FROM admission_conflicts
 WHERE ticket_id = ANY ($1::text[])
"""

FIRST = """
INSERT INTO admissions (ticket_id, id, space_id, door, place, happened_at, created_at)
SELECT a.ticket, a.id, $1, a.door, a.place, a.at, $7
  FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
       AS a (ticket, id, door, place, at)
    ON CONFLICT (ticket_id)
    DO UPDATE SET door = excluded.door, place = excluded.place, happened_at = excluded.happened_at
"""

OTHERS = """
INSERT INTO admission_conflicts (ticket_id, space_id, door, place, happened_at, cause, created_at)
SELECT a.ticket, $1, a.door, a.place, a.at, a.cause, $7
  FROM unnest($2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::text[])
       AS a (ticket, door, place, at, cause)
    ON CONFLICT DO NOTHING
"""


class _Book:
    """The uses of some tickets: of each its first, and why the others are none."""

    def __init__(self, space_id: str) -> None:
        self._space = space_id
        self._first: dict[str, Use] = {}
        self._others: dict[tuple[str, Turn], tuple[Use, str]] = {}
        self._new_first: set[str] = set()
        self._new_others: set[tuple[str, Turn]] = set()

    @classmethod
    async def opened(cls, session: AsyncSession, space_id: str, ticket_ids: list[str]) -> Self:
        """The book as far as it is written; the tickets are locked."""
        book = cls(space_id)
        for row in await fetch(session, KNOWN, ticket_ids):
            use = Use(row.happened_at, row.door, row.place)
            if row.cause is None:
                book._first[row.ticket_id] = use
            else:
                book._others[row.ticket_id, use.turn] = use, row.cause
        return book

    def enter(self, ticket: Row[Any], shown: Pass, use: Use, now: datetime) -> None:
        """One use of a ticket; one that is written already stays what it is."""
        first = self._first.get(ticket.id)
        known = first is not None and first.turn == use.turn
        if known or (ticket.id, use.turn) in self._others:
            return
        try:
            admissions.check(ticket, shown, self._space)
            if not ticket.issued_at - SKEW <= use.happened_at <= now + SKEW:
                raise ClockWrong(number=ticket.number, at=use.happened_at.isoformat())
        except TakingsError as wrong:
            self._set_aside(ticket.id, use, wrong.code)
            return
        if first is not None:
            use, later = sorted((first, use), key=lambda one: one.turn)
            self._set_aside(ticket.id, later, TWICE)
        if use is not first:
            self._first[ticket.id] = use
            self._new_first.add(ticket.id)

    def _set_aside(self, ticket_id: str, use: Use, cause: str) -> None:
        self._others[ticket_id, use.turn] = use, cause
        self._new_others.add((ticket_id, use.turn))

    def judged(self, ticket: Row[Any] | None, use: Use) -> Judged:
        """What became of a use."""
        if ticket is None:
            return BAD
        first = self._first.get(ticket.id)
        if first is not None and first.turn == use.turn:
            return Judged("admitted", ticket.number, first)
        _, cause = self._others[ticket.id, use.turn]
        if cause == TWICE:
            return Judged("conflict", ticket.number, first, cause)
        return Judged("refused", ticket.number, None, cause)

    async def write(self, session: AsyncSession, now: datetime) -> None:
        """Write down what is new, in two statements."""
        firsts = [(ticket, self._first[ticket]) for ticket in sorted(self._new_first)]
        await fetch(
            session,
            FIRST,
            self._space,
            [ticket for ticket, _ in firsts],
            [records.derived_id("adm", use.happened_at, ticket) for ticket, use in firsts],
            [use.door for _, use in firsts],
            [use.place for _, use in firsts],
            [use.happened_at for _, use in firsts],
            now,
        )
        others = [(key[0], *self._others[key]) for key in sorted(self._new_others)]
        await fetch(
            session,
            OTHERS,
            self._space,
            [ticket for ticket, _, _ in others],
            [use.door for _, use, _ in others],
            [use.place for _, use, _ in others],
            [use.happened_at for _, use, _ in others],
            [cause for _, _, cause in others],
            now,
        )
