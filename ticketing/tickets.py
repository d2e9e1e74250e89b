"""Tickets: what a buyer has in the end; passed on, given back, used once.

    pending ──► valid ──► void
       └──────────────────► void       paid for, and no place was left

A ticket belongs to a listener, not to whoever paid for it: passing one on, as a gift or against
money that is none of our business, changes its owner and its secret, so that what the one before
has saved opens no door.  What is paid back goes to who paid (``returns.py``).
"""

import secrets
from dataclasses import dataclass
from typing import Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import records
from takings.database import Database, fetch
from takings.errors import Conflict, NotFound, Refused
from ticketing import admissions
from ticketing.admissions import TicketVoid
from ticketing.sale_tables import Ticket, TicketRefund
from ticketing.tables import Run

SECRET_BYTES: Final = 16


class NotYourTicket(Refused):
    """The ticket {id} is another listener's.

    Only whose it is can do that; it may have been passed on.
    """

    param = "listener"


class TicketNotPaid(Conflict):
    """The ticket {id} is not paid yet.

    Wait until its purchase is settled.
    """


class TicketUsed(Conflict):
    """The ticket {id} was used at {used_at}.

    Who is in the room cannot pass their ticket on or give it back.
    """


class TooLateToTransfer(Conflict):
    """The Space {space} is {state}: its tickets are not passed on any more.

    Of a cancelled Space every ticket is refunded, and nobody needs to ask for it.
    """


@dataclass(frozen=True, slots=True)
class Transfer:
    """To whom a ticket goes, and the name of who will come with it, if that is to be known."""

    to: str
    holder: str | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """A ticket, the run it is of, and its money where it ended."""

    ticket: Ticket
    run: Run
    refund: TicketRefund | None

    @property
    def refund_state(self) -> str | None:
        """Owed until a refund is asked of Stripe, done when Stripe has taken it; None: not owed."""
        if self.refund is None:
            return None
        if self.refund.done_at is not None:
            return "done"
        return "owed" if self.refund.refund_id is None else "asked"


async def transfer(database: Database, ticket_id: str, wish: Transfer, *, listener: str) -> Issued:
    """Pass a ticket on: from now on it is another listener's, under a secret of its own.

    ``listener`` is whose it is.  Repeating it changes nothing.  Raises NotFound, NotYourTicket,
    TicketNotPaid, TicketVoid, TicketUsed or TooLateToTransfer.
    """
    records.check_id(wish.to)
    await database.run(_transfer, ticket_id, wish, listener, secrets.token_bytes(SECRET_BYTES))
    return await get(database, ticket_id)


SPACE = "SELECT s.id, s.state FROM runs r JOIN spaces s ON s.id = r.space_id WHERE r.id = $1"

HAND_OVER = """
UPDATE tickets SET listener_id = $2, holder = $3, secret = $4, serial = serial + 1 WHERE id = $1
"""


async def _transfer(
    session: AsyncSession, ticket_id: str, wish: Transfer, listener: str, secret: bytes
) -> None:
    ticket = await lock(session, ticket_id)
    if ticket.state == "valid" and (ticket.listener_id, ticket.holder) == (wish.to, wish.holder):
        return
    await check_usable(session, ticket, listener)
    for space in await fetch(session, SPACE, ticket.run_id):
        if space.state not in ("scheduled", "live"):
            raise TooLateToTransfer(space=space.id, state=space.state)
    await fetch(session, HAND_OVER, ticket_id, wish.to, wish.holder, secret)


async def lock(session: AsyncSession, ticket_id: str) -> Ticket:
    """The ticket, held until the transaction ends: nobody passes it on, uses it or ends it."""
    ticket = await session.get(
        Ticket, ticket_id, with_for_update={"key_share": True}, populate_existing=True
    )
    if ticket is None:
        raise NotFound(kind="ticket", id=ticket_id)
    return ticket


async def check_usable(session: AsyncSession, ticket: Ticket, listener: str) -> None:
    """Nothing happens if the ticket, which is locked, is the listener's, paid and not used up."""
    if ticket.listener_id != listener:
        raise NotYourTicket(id=ticket.id)
    if ticket.state == "pending":
        raise TicketNotPaid(id=ticket.id)
    if ticket.state == "void":
        raise TicketVoid(number=ticket.number or ticket.id)
    admission = await admissions.used(session, ticket.id)
    if admission is not None:
        raise TicketUsed(id=ticket.id, used_at=admission.happened_at.isoformat())


EVERY: Final = (
    select(Ticket, Run, TicketRefund)
    .join(Run, col(Run.id) == col(Ticket.run_id))
    .join(TicketRefund, col(TicketRefund.ticket_id) == col(Ticket.id), isouter=True)
)
"""Every ticket with its run, and its money where it ended; the columns of ``Issued``."""


async def get(database: Database, ticket_id: str) -> Issued:
    """The ticket of this id, or NotFound."""
    return await database.run(of, ticket_id)


async def of(session: AsyncSession, ticket_id: str) -> Issued:
    """The same, as a step."""
    for row in await session.exec(EVERY.where(Ticket.id == ticket_id)):
        return Issued(*row)
    raise NotFound(kind="ticket", id=ticket_id)
