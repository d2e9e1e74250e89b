"""Tips, as the API hears and shows them."""

from typing import Annotated, Literal, Self

from pydantic import Field

from api.schemas.common import (
    Currency,
    Input,
    Minor,
    Output,
    Paging,
    Prose,
    Seconds,
    Text,
    Url,
)
from api.schemas.payments import Payment
from api.schemas.spaces import Space
from takings.money import Money
from takings.payments.orders import Surface
from tipping import tips


class TipInput(Input):
    """A tip that a listener wants to send, and how they want to pay."""

    id: Text | None = None
    space: Text
    listener: Text
    amount: Minor
    currency: Currency
    message: Prose | None = None
    anonymous: Annotated[bool, Field(strict=True)] = False
    undoable: Annotated[
        bool, Field(strict=True, description="the listener has ten seconds to take it back")
    ] = False
    surface: Surface = "checkout"
    success_url: Url | None = None
    cancel_url: Url | None = None
    customer: Text | None = None
    payment_method: Text | None = None

    def wish(self, tip_id: str) -> tips.Wish:
        """The tip as the books know it; raises UnknownCurrency or AmountTooLarge."""
        plain = self.model_dump(exclude={"id", "amount", "currency"})
        return tips.Wish(id=tip_id, money=Money(self.amount, self.currency), **plain)


class TipFilter(Paging):
    """Which tips are wanted."""

    space: Text | None = None
    listener: Text | None = None
    expand: list[Literal["data.payment", "data.space"]] = Field(default=[], alias="expand[]")


class Tip(Output):
    """A tip and what is to be done next: go to ``url``, or pay with ``client_secret``.

    ``charged`` is what its payment costs the listener: the tip, and the card fee where the listener
    bears it; of a tip on a tab, the tab's payment.  ``undo_until`` is set while it can be undone.
    """

    id: str
    object: Literal["tip"] = "tip"
    created: Seconds
    space: str | Space
    listener: str
    amount: int
    charged: int
    currency: str
    message: str | None
    anonymous: bool
    surface: str
    state: Literal["pending", "settled", "cancelled"]
    payment: str | Payment
    url: str | None
    client_secret: str | None
    undo_until: Seconds | None
    settled_at: Seconds | None
    cancelled_at: Seconds | None

    @classmethod
    def of(cls, sent: tips.Sent) -> Self:
        """The tip as the API shows it."""
        tip, payment = sent.tip, sent.payment
        pending = sent.state == "pending"
        return cls(
            id=tip.id,
            created=tip.created_at,
            space=tip.space_id,
            listener=tip.listener_id,
            amount=tip.minor,
            charged=payment.minor,
            currency=tip.currency,
            message=tip.message,
            anonymous=tip.anonymous,
            surface=payment.surface,
            state=sent.state,
            payment=payment.id,
            url=payment.url if pending else None,
            client_secret=payment.client_secret if pending else None,
            undo_until=sent.undo_until,
            settled_at=tip.settled_at,
            cancelled_at=tip.cancelled_at,
        )
