"""Refunds, as the API hears and shows them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from api.schemas.common import (
    Currency,
    Input,
    Minor,
    Output,
    OwnId,
    Prose,
    Seconds,
    Text,
)
from api.schemas.payments import Payment
from takings.money import Money
from takings.payments import tables


class Part(Input):
    """How much of one line is to be returned."""

    line: Annotated[Text, Field(description="of the payment; a tip's is the id of its receipt")]
    amount: Minor


class RefundInput(Input):
    """Money to be returned: an amount in its currency, or so much of some lines, or all there is.

    Without ``lines`` an amount is divided by what each line has left.
    """

    id: OwnId | None = None
    amount: Minor | None = None
    currency: Currency | None = None
    lines: Annotated[list[Part], Field(min_length=1, max_length=1000)] | None = None
    reason: Prose = ""

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.amount is None) != (self.currency is None):
            raise ValueError("amount and currency go together: send both or neither")
        return self

    @model_validator(mode="after")
    def _once_each(self) -> Self:
        if self.lines is not None and len({part.line for part in self.lines}) < len(self.lines):
            raise ValueError("each line is named once: add up what belongs together")
        return self

    def parts(self) -> dict[str, int] | None:
        """How much of which line, where lines are named."""
        return None if self.lines is None else {part.line: part.amount for part in self.lines}

    def money(self) -> Money | None:
        """The amount as the books know it; raises UnknownCurrency or AmountTooLarge."""
        if self.amount is None or self.currency is None:
            return None
        return Money(self.amount, self.currency)


class Refund(Output):
    """Money that is returned to a listener: asked of Stripe, booked, failed, or refused."""

    id: str
    object: Literal["refund"] = "refund"
    created: Seconds
    payment: str | Payment
    amount: int
    currency: str
    state: Literal["asked", "booked", "failed", "refused"]
    reason: str
    stripe_refund: str | None
    error: str | None
    booked_at: Seconds | None

    @classmethod
    def of(cls, row: tables.Refund) -> Self:
        """The refund as the API shows it."""
        return cls(
            id=row.id,
            created=row.created_at,
            payment=row.payment_id,
            amount=row.minor,
            currency=row.currency,
            state=row.state,
            reason=row.reason,
            stripe_refund=row.stripe_id,
            error=row.error,
            booked_at=row.booked_at,
        )
