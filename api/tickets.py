"""Tickets: GET one, GET list by run, listener or purchase, transfer, give back."""

from typing import Annotated

from fastapi import Query
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from api import operations, pages
from api.dependencies import Here, Id
from api.operations import operation
from api.schemas.common import Listing
from api.schemas.tickets import ReturnInput, Ticket, TicketFilter, TransferInput
from takings.errors import NotFound
from takings.records import BadId
from ticketing import admissions, returns, sale_tables, tickets

router = operations.router("tickets")

USING = (
    *(NotFound, tickets.NotYourTicket, tickets.TicketNotPaid, tickets.TicketUsed),
    admissions.TicketVoid,
)
PASSING = (*USING, BadId, tickets.TooLateToTransfer)
RETURNING = (*USING, returns.RefundNotOffered, returns.RefundTooLate)


@router.get("/tickets", **operation("tickets", raises=(NotFound,)))
async def newest(here: Here, asked: Annotated[TicketFilter, Query()]) -> Listing[Ticket]:
    """The tickets, newest first."""
    return await here.database.run(_newest, asked)


@router.get("/tickets/{id}", **operation("tickets", raises=(NotFound,)))
async def one(here: Here, id: Id) -> Ticket:  # noqa: A002 - the name in the address
    """One ticket, as it is now, and its money where it ended."""
    return Ticket.of(await tickets.get(here.database, id))


@router.post("/tickets/{id}/transfer", **operation("tickets", raises=PASSING))
async def transfer(here: Here, id: Id, given: TransferInput) -> Ticket:  # noqa: A002 - as above
    """Pass a ticket on; what its owner has saved of it opens no door any more."""
    passed = await tickets.transfer(here.database, id, given.wish(), listener=given.listener)
    return Ticket.of(passed)


@router.post("/tickets/{id}/refund", **operation("tickets", moves_money=True, raises=RETURNING))
async def refund(here: Here, id: Id, given: ReturnInput) -> Ticket:  # noqa: A002 - as above
    """Give a ticket back, where its run or a new date of the Space allows that.

    Its place goes to the waiting list, then on sale; its money to who paid for it.
    """
    back = returns.give_back(
        here.database, here.stripe, id, listener=given.listener, now=here.now()
    )
    return Ticket.of(await back)


async def _newest(session: AsyncSession, asked: TicketFilter) -> Listing[Ticket]:
    by = {
        col(sale_tables.Ticket.run_id): asked.run,
        col(sale_tables.Ticket.listener_id): asked.listener,
        col(sale_tables.Ticket.purchase_id): asked.purchase,
    }
    page = await pages.newest(session, tickets.EVERY, sale_tables.Ticket, asked, filters=by)
    shown = [Ticket.of(tickets.Issued(*row)) for row in page.rows]
    return Listing(data=shown, has_more=page.has_more, url="/v1/tickets")
