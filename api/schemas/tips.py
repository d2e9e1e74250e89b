"""Tips, as the API hears and shows them."""

from typing import Annotated, Literal, Self

from pydantic import Field

from api.schemas.common import (
    Currency,
    Input,
    Minor,
    Output,
    OwnId,
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
from takings.policies.rules import Channel
from tipping import tips

Listener = Annotated[Text, Field(description="who pays: an id that your platform gives")]
Anonymous = Annotated[
    bool, Field(strict=True, description="the room's feed does not name the listener")
]
How = Annotated[
    Surface,
    Field(
        description="``checkout`` redirects to Stripe's page, ``intent`` is for a client that "
        "embeds Stripe's form, ``saved`` charges a card that the listener has saved at Stripe"
    ),
]
Through = Annotated[
    Channel,
    Field(description="``ios`` and ``android`` can be previewed only: the store has the money"),
]
Back = Annotated[Url, Field(description="for ``checkout``: where the listener comes back to")]
Customer = Annotated[Text, Field(description="for ``saved``: the listener at Stripe, cus_…")]
Card = Annotated[Text, Field(description="for ``saved``: the card at Stripe, pm_…")]


class TipInput(Input):
    """A tip that a listener wants to send, and how they want to pay."""

    id: OwnId | None = None
    space: Text
    listener: Listener
    amount: Minor
    currency: Currency
    message: Prose | None = None
    anonymous: Anonymous = False
    undoable: Annotated[
        bool, Field(strict=True, description="the listener has ten seconds to take it back")
    ] = False
    channel: Through = "web"
    surface: How = "checkout"
    success_url: Back | None = None
    cancel_url: Back | None = None
    customer: Customer | None = None
    payment_method: Card | None = None

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

    Both are null once that is done.  ``charged`` is what its payment costs the listener: the tip,
    and the card fee where the listener bears it; of a tip on a tab, what the whole tab costs, which
    is its cap until it is closed.  ``undo_until`` is set while it can be undone.
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
        due = payment.state == "open"
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
            url=payment.url if due else None,
            client_secret=payment.client_secret if due else None,
            undo_until=sent.undo_until,
            settled_at=tip.settled_at,
            cancelled_at=tip.cancelled_at,
        )
