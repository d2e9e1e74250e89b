"""Tickets and the cancellation of their Space, as the API hears and shows them."""

from typing import Annotated, Literal, Self

from pydantic import Field

from api.schemas.common import Input, Output, Paging, Seconds, Text
from ticketing import cancellations, tickets

Listener = Annotated[Text, Field(description="whose ticket it is now, as your system knows them")]


class TransferInput(Input):
    """To whom a ticket goes: a gift, or whatever the two have agreed on."""

    listener: Listener
    to: Annotated[Text, Field(description="whose it is from now on")]
    holder: Annotated[Text | None, Field(description="the name of who will come with it")] = None

    def wish(self) -> tickets.Transfer:
        """The transfer as the tickets know it."""
        return tickets.Transfer(self.to, self.holder)


class ReturnInput(Input):
    """Who gives a ticket back."""

    listener: Listener


class TicketFilter(Paging):
    """Which tickets are wanted."""

    run: Text | None = None
    listener: Text | None = None
    purchase: Text | None = None


class TicketRefund(Output):
    """The money of a ticket that ended: it goes to who paid, whoever had the ticket last.

    Owed until a refund is asked of Stripe, done when Stripe has taken it; ``error`` says why it was
    refused: then it is asked for again.
    """

    cause: Literal["asked", "cancelled", "rescheduled", "no_show", "no_seat"]
    state: Literal["owed", "asked", "done"]
    refund: str | None
    error: str | None


class Ticket(Output):
    """A place in a Space; the numbers of a run have no gap, and a transfer bumps the serial."""

    id: str
    object: Literal["ticket"] = "ticket"
    created: Seconds
    space: str
    run: str
    tier: str
    purchase: str
    listener: str
    holder: str | None
    state: Literal["pending", "valid", "void"]
    number: int | None
    serial: int
    amount: int
    currency: str
    issued_at: Seconds | None
    voided_at: Seconds | None
    refund: TicketRefund | None

    @classmethod
    def of(cls, found: tickets.Issued) -> Self:
        """The ticket as the API shows it."""
        ticket, run = found.ticket, found.run
        return cls(
            id=ticket.id,
            created=ticket.created_at,
            space=run.space_id,
            run=run.id,
            tier=ticket.tier_id,
            purchase=ticket.purchase_id,
            listener=ticket.listener_id,
            holder=ticket.holder,
            state=ticket.state,
            number=ticket.number,
            serial=ticket.serial,
            amount=ticket.minor,
            currency=run.currency,
            issued_at=ticket.issued_at,
            voided_at=ticket.voided_at,
            refund=_refund(found),
        )


def _refund(found: tickets.Issued) -> TicketRefund | None:
    row, state = found.refund, found.refund_state
    if row is None or state is None:
        return None
    return TicketRefund(cause=row.cause, state=state, refund=row.refund_id, error=row.error)


class Sum(Output):
    """An amount in one currency."""

    amount: int
    currency: str


class Cancellation(Output):
    """How far the cancellation of a Space has come.

    Of its ``tickets``, ``voided`` have ended; of ``to_refund`` that cost something, or were paid
    too late, ``refunded`` are paid back (``amounts``, by currency) and ``failed`` were sent back by
    a bank.  ``paused`` says why refunds wait, where they do.
    """

    object: Literal["cancellation"] = "cancellation"
    space: str
    no_show: bool
    tickets: int
    voided: int
    to_refund: int
    refunded: int
    failed: int
    amounts: list[Sum]
    paused: str | None
    done: bool

    @classmethod
    def of(cls, found: cancellations.Progress) -> Self:
        """The cancellation as the API shows it."""
        amounts = [Sum(amount=one.minor, currency=one.currency) for one in found.amounts]
        return cls(
            space=found.space,
            no_show=found.no_show,
            tickets=found.tickets,
            voided=found.voided,
            to_refund=found.to_refund,
            refunded=found.refunded,
            failed=found.failed,
            amounts=amounts,
            paused=found.paused,
            done=found.done,
        )
