"""Holds, as the API hears and shows them."""

from typing import Annotated, Literal, Self

from pydantic import Field

from api.schemas.common import Input, Output, OwnId, Seconds, Text
from api.schemas.tips import Listener
from ticketing import holds

Quantity = Annotated[int, Field(strict=True, description="how many tickets")]
Address = Annotated[
    Text,
    Field(
        description="where the listener comes from on the net; only a digest of it is kept, for "
        "the run's limit per address"
    ),
]


class HoldInput(Input):
    """Tickets that a listener wants to hold: all of them, or as few as ``least``.

    Without a tier it is the first that is on sale and has room.
    """

    id: OwnId | None = None
    run: Text
    listener: Listener
    quantity: Quantity = 1
    least: Annotated[Quantity, Field(description="how few would do; unset: all or nothing")] | (
        None
    ) = None
    tier: Text | None = None
    code: Text | None = None
    address: Address | None = None

    def claim(self, hold_id: str) -> holds.Claim:
        """The claim as the box office knows it."""
        return holds.Claim(
            hold_id,
            self.run,
            self.listener,
            self.quantity,
            self.least,
            self.tier,
            self.code,
            self.address,
        )


class Claimant(Input):
    """Whose hold it is."""

    listener: Listener


class Hold(Output):
    """Tickets set aside until ``expires_at``; ``price`` is what each of them costs in it.

    ``remaining`` is what the run had left when it was claimed.
    """

    id: str
    object: Literal["hold"] = "hold"
    created: Seconds
    run: str
    tier: str
    listener: str
    quantity: int
    price: int
    currency: str
    state: Literal["held", "expiring", "sold", "released", "expired"]
    expires_at: Seconds
    remaining: int

    @classmethod
    def of(cls, held: holds.Held) -> Self:
        """The hold as the API shows it."""
        return cls(
            id=held.id,
            created=held.created_at,
            run=held.run,
            tier=held.tier,
            listener=held.listener,
            quantity=held.quantity,
            price=held.price.minor,
            currency=held.price.currency,
            state=held.state,
            expires_at=held.expires_at,
            remaining=held.remaining,
        )
