"""Refunds, as the API hears and shows them."""

from typing import Literal, Self

from pydantic import model_validator

from api.schemas.common import (
    Currency,
    Input,
    Minor,
    Output,
    Prose,
    Seconds,
    Text,
)
from takings.money import Money
from takings.payments import tables


class RefundInput(Input):
    """Money to be returned: an amount in its currency, or all that is left where there is none."""

    id: Text | None = None
    amount: Minor | None = None
    currency: Currency | None = None
    reason: Prose = ""

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.amount is None) != (self.currency is None):
            raise ValueError("amount and currency go together: send both or neither")
        return self

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
    payment: str
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
