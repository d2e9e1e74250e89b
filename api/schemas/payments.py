"""Payments, their lines and who was credited what, as the API shows them."""

from collections.abc import Sequence
from typing import Literal, Self

from api.schemas.common import Output, Paging, Seconds, Text
from takings.payments import tables

State = Literal["open", "processing", "authorised", "capturing", "paid", "cancelled"]


class PaymentFilter(Paging):
    """Which payments are wanted."""

    listener: Text | None = None
    state: State | None = None


class Allotment(Output):
    """What one account was credited for a line; ``host`` is null for the platform's part.

    ``taken`` is what refunds and disputes took back of it, ``held`` what waits for its release.
    """

    host: str | None
    account: str
    credited: int
    taken: int
    held: int

    @classmethod
    def of(cls, row: tables.Allotment) -> Self:
        """The allotment as the API shows it."""
        return cls(
            host=row.host_id,
            account=row.account,
            credited=row.credited,
            taken=row.taken,
            held=row.held,
        )


class Line(Output):
    """What a payment pays for, with the rules frozen when it was sold; shares once it is paid.

    ``disputed`` is its part of what the bank took back, ``frozen`` of what it may yet take.
    """

    id: str
    object: Literal["line"] = "line"
    kind: str
    subject: str
    space: str
    agreement_version: int
    policy: str
    policy_version: int
    amount: int
    fees_covered: int
    refunding: int
    returned: int
    disputed: int
    frozen: int
    shares: list[Allotment]

    @classmethod
    def of(cls, row: tables.Line, allotted: Sequence[tables.Allotment]) -> Self:
        """The line as the API shows it."""
        return cls(
            id=row.id,
            kind=row.kind,
            subject=row.subject,
            space=row.space_id,
            agreement_version=row.agreement_version,
            policy=row.policy,
            policy_version=row.policy_version,
            amount=row.minor,
            fees_covered=row.fees_covered,
            refunding=row.refunding,
            returned=row.returned,
            disputed=row.disputed,
            frozen=row.frozen,
            shares=[Allotment.of(part) for part in allotted if part.line_id == row.id],
        )


class Payment(Output):
    """What a listener owes or has paid, and what Stripe calls it.

    ``lost`` is what the bank took back beyond all that its lines had left.
    """

    id: str
    object: Literal["payment"] = "payment"
    created: Seconds
    listener: str
    surface: str
    state: State
    amount: int
    currency: str
    fees_covered: int
    lost: int
    payment_intent: str | None
    checkout_session: str | None
    charge: str | None
    paid_at: Seconds | None
    released_at: Seconds | None
    lines: list[Line]

    @classmethod
    def of(cls, row: tables.Payment, lines: Sequence[Line]) -> Self:
        """The payment as the API shows it."""
        return cls(
            id=row.id,
            created=row.created_at,
            listener=row.listener_id,
            surface=row.surface,
            state=row.state,
            amount=row.minor,
            currency=row.currency,
            fees_covered=row.fees_covered,
            lost=row.lost,
            payment_intent=row.intent_id,
            checkout_session=row.session_id,
            charge=row.charge_id,
            paid_at=row.paid_at,
            released_at=row.released_at,
            lines=list(lines),
        )
