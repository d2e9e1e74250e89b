"""Calendars: a Space, or a ticket for it, as an iCalendar file (RFC 5545).

The same thing keeps its UID, and a later file of it has a higher SEQUENCE, so that a calendar that
has it already moves it or strikes it out.
"""

from datetime import datetime, timedelta
from typing import Final

from icalendar import Calendar, Event
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from takings.errors import Conflict, NotFound
from takings.spaces import spaces
from takings.spaces.tables import Space
from ticketing.sale_tables import Ticket
from ticketing.tables import Run, Tier

LASTS: Final = timedelta(hours=1)
"""How long a Space is taken to last until it has ended: nobody says so before."""

MADE_BY: Final = "-//Takings//Takings//EN"


class NoTimeYet(Conflict):
    """The Space {id} has no time yet.

    Say when it starts, then ask again.
    """


async def of_space(session: AsyncSession, space_id: str) -> bytes:
    """When a Space is; raises NotFound or NoTimeYet."""
    space = await spaces.get(session, space_id)
    changed = _latest(space)
    return _calendar(_event(space, space.id, space.created_at, changed))


async def of_ticket(session: AsyncSession, ticket_id: str) -> bytes:
    """The same for somebody's ticket, struck out where it is not valid any more."""
    wanted = (
        select(Ticket, Tier.name, Space)
        .where(Ticket.id == ticket_id, Tier.id == Ticket.tier_id)
        .where(Run.id == Ticket.run_id, Space.id == Run.space_id)
    )
    for ticket, tier, space in await session.exec(wanted):
        changed = max(_latest(space), ticket.voided_at or ticket.issued_at or ticket.created_at)
        event = _event(space, ticket.id, space.created_at, changed)
        numbered = "Ticket" if ticket.number is None else f"Ticket {ticket.number}"
        event.add("description", ", ".join(filter(None, [numbered, tier, ticket.holder])))
        if ticket.state == "void":
            event["status"] = "CANCELLED"
        return _calendar(event)
    raise NotFound(kind="ticket", id=ticket_id)


def _latest(space: Space) -> datetime:
    """When that changed which a calendar says of it."""
    changes = (space.created_at, space.rescheduled_at, space.live_at, space.ended_at)
    return max(change for change in changes if change is not None)


def _event(space: Space, name: str, since: datetime, changed: datetime) -> Event:
    """A Space; the seconds until its last change count what came before it."""
    starts_at = space.starts_at or space.live_at
    if starts_at is None:
        raise NoTimeYet(id=space.id)
    over = space.ended_at if space.state == "ended" else None
    event = Event()
    event.add("uid", f"{name}@takings")
    event.add("sequence", (changed - since) // timedelta(seconds=1))
    event.add("dtstamp", changed)
    event.add("dtstart", starts_at)
    event.add("dtend", over if over and over > starts_at else starts_at + LASTS)
    event.add("summary", space.title)
    event.add("status", "CANCELLED" if space.state == "cancelled" else "CONFIRMED")
    return event


def _calendar(event: Event) -> bytes:
    calendar = Calendar()
    calendar.add("prodid", MADE_BY)
    calendar.add("version", "2.0")
    calendar.add_component(event)
    said: bytes = calendar.to_ical()
    return said
