"""Purchases and comps, as the API hears and shows them."""

from typing import Annotated, Literal, Self

from pydantic import Field

from api.schemas.common import Input, Minor, Output, OwnId, Paging, Seconds, Text
from api.schemas.holds import Quantity
from api.schemas.payments import Payment
from api.schemas.tips import Back, Card, Customer, How, Listener, Through
from ticketing import comps, purchases, sale_tables

Holders = Annotated[
    list[Text], Field(max_length=100, description="who will come, one for each ticket, or none")
]


class PurchaseInput(Input):
    """A hold that its listener buys, and how they pay; what costs nothing is bought at once.

    ``amount`` is what the listener gives for each ticket of a tier where that is their choice, in
    the run's currency; elsewhere leave it out.
    """

    id: OwnId | None = None
    hold: Text
    listener: Listener
    holders: Holders = Field(default=[])
    amount: Minor | None = None
    channel: Through = "web"
    surface: How = "checkout"
    success_url: Back | None = None
    cancel_url: Back | None = None
    customer: Customer | None = None
    payment_method: Card | None = None

    def wish(self, purchase_id: str) -> purchases.PurchaseWish:
        """The purchase as the books know it."""
        plain = self.model_dump(exclude={"id", "holders"})
        return purchases.PurchaseWish(id=purchase_id, holders=tuple(self.holders), **plain)


class CompInput(Input):
    """Tickets of a comp tier that the house gives to a listener."""

    id: OwnId | None = None
    tier: Text
    listener: Annotated[Text, Field(description="who is given them: an id of your platform's")]
    quantity: Quantity = 1
    holders: Holders = Field(default=[])

    def wish(self, purchase_id: str, run: str) -> comps.CompWish:
        """The gift as the books know it."""
        plain = self.model_dump(exclude={"id", "holders"})
        return comps.CompWish(id=purchase_id, run=run, holders=tuple(self.holders), **plain)


class PurchaseFilter(Paging):
    """Which purchases are wanted."""

    run: Text | None = None
    listener: Text | None = None
    expand: list[Literal["data.payment"]] = Field(default=[], alias="expand[]")


class PurchasedTicket(Output):
    """A ticket of a purchase; ``number`` is null until it is valid."""

    id: str
    holder: str | None
    amount: int
    state: Literal["pending", "valid", "void"]
    number: int | None

    @classmethod
    def of(cls, ticket: sale_tables.Ticket) -> Self:
        """The ticket as its purchase shows it."""
        return cls(
            id=ticket.id,
            holder=ticket.holder,
            amount=ticket.minor,
            state=ticket.state,
            number=ticket.number,
        )


class Purchase(Output):
    """What becomes of a hold, and what is to be done next: go to ``url``, or use ``client_secret``.

    Both are null once that is done, and for what costs nothing.  ``charged`` is what the payment
    costs the listener, with the card fee where they bear it.  Who has paid too late for any seat is
    ``unseated``: all of it goes back to them.
    """

    id: str
    object: Literal["purchase"] = "purchase"
    created: Seconds
    hold: str
    run: str
    tier: str
    listener: str
    state: Literal["open", "settled", "unseated", "cancelled"]
    tickets: list[PurchasedTicket]
    charged: int
    currency: str
    surface: str | None
    payment: str | Payment | None
    url: str | None
    client_secret: str | None
    settled_at: Seconds | None
    unseated_at: Seconds | None
    cancelled_at: Seconds | None

    @classmethod
    def of(cls, bought: purchases.Bought) -> Self:
        """The purchase as the API shows it."""
        purchase, payment = bought.purchase, bought.payment
        due = payment if payment is not None and payment.state == "open" else None
        return cls(
            id=purchase.id,
            created=purchase.created_at,
            hold=purchase.hold_id,
            run=bought.hold.run_id,
            tier=bought.hold.tier_id,
            listener=bought.hold.listener_id,
            state=bought.state,
            tickets=[PurchasedTicket.of(ticket) for ticket in bought.tickets],
            charged=payment.minor if payment else 0,
            currency=bought.run.currency,
            surface=payment.surface if payment else None,
            payment=payment.id if payment else None,
            url=due.url if due else None,
            client_secret=due.client_secret if due else None,
            settled_at=purchase.settled_at,
            unseated_at=purchase.unseated_at,
            cancelled_at=purchase.cancelled_at,
        )
