"""Disputes, as the API shows them; all amounts in the payment's currency."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from api.schemas.common import Output, Paging, Seconds, Text
from api.schemas.payments import Payment
from takings.payments import dispute_tables


class DisputeFilter(Paging):
    """Which disputes are wanted."""

    payment: Text | None = None
    status: Annotated[Text | None, Field(description="Stripe's word, such as needs_response")] = (
        None
    )
    open: Annotated[bool | None, Field(description="whether the bank has yet to decide")] = None
    expand: list[Literal["data.payment"]] = Field(default=[], alias="expand[]")


class DisputedLine(Output):
    """How the disputes of a payment lie on one tip or ticket of it.

    Of what was ``paid`` refunds have ``returned`` a part; the bank has taken ``disputed`` and may
    yet take what is ``frozen``.
    """

    id: str
    kind: str
    subject: str
    paid: int
    returned: int
    disputed: int
    frozen: int


class Dispute(Output):
    """Money that the listener's bank asks back, or takes, as Stripe last showed it.

    Of its ``amount`` the bank has ``taken`` so much by now, and may yet take what is ``frozen``.
    ``lines`` and ``lost``, what was taken beyond all that the lines had left, are of the payment:
    all its disputes together.
    """

    id: str
    object: Literal["dispute"] = "dispute"
    created: Seconds
    payment: str | Payment
    kind: Literal["dispute", "charge_failure"]
    status: str
    reason: str
    amount: int
    currency: str
    taken: int
    frozen: int
    lost: int
    due_by: Annotated[Seconds | None, Field(description="until when the bank hears us")]
    closed_at: Seconds | None
    lines: list[DisputedLine]

    @classmethod
    def of(cls, row: dispute_tables.Dispute, parts: Sequence[Any]) -> Self:
        """The dispute as the API shows it, given the parts of its payment."""
        of_lines = DisputedLine.model_fields
        lines = [DisputedLine(**{name: getattr(part, name) for name in of_lines}) for part in parts]
        return cls(
            id=row.id,
            created=row.created_at,
            payment=row.payment_id,
            kind=row.kind,
            status=row.status,
            reason=row.reason,
            amount=row.minor,
            currency=row.currency,
            taken=row.taken,
            frozen=row.frozen,
            lost=parts[0].lost,
            due_by=row.due_by,
            closed_at=row.closed_at,
            lines=lines,
        )
