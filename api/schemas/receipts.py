"""Receipts: where each cent went, as the API shows it; all amounts in the payment's currency."""

from typing import Literal, Self

from api.schemas.common import Output, Seconds
from takings.payments import receipts


class HostShare(Output):
    """One host's part: ``net`` of ``gross``; ``left`` is without what went since."""

    host: str
    gross: int
    commission: int
    net: int
    card_fee: int
    returned: int
    left: int

    @classmethod
    def of(cls, share: receipts.Share) -> Self:
        """The share as the API shows it."""
        return cls(
            host=share.host,
            gross=share.gross.minor,
            commission=share.commission.minor,
            net=share.net.minor,
            card_fee=share.fee.minor,
            returned=share.returned.minor,
            left=share.left.minor,
        )


class ReceiptLine(Output):
    """Where one tip or ticket went.

    ``card_fee`` is its part of what Stripe kept, null while that is not known, in
    ``card_fee_currency``; ``card_fee_bearer`` is whose it is.
    """

    id: str
    object: Literal["receipt_line"] = "receipt_line"
    kind: str
    subject: str
    space: str
    agreement_version: int
    amount: int
    currency: str
    fees_covered: int
    commission: int
    shares: list[HostShare]
    card_fee: int | None
    card_fee_currency: str | None
    card_fee_bearer: Literal["listener", "host", "platform"]
    returned: int

    @classmethod
    def of(cls, line: receipts.Line) -> Self:
        """The line as the API shows it."""
        return cls(
            id=line.id,
            kind=line.kind,
            subject=line.subject,
            space=line.space,
            agreement_version=line.agreement_version,
            amount=line.amount.minor,
            currency=line.amount.currency,
            fees_covered=line.fees_covered.minor,
            commission=line.commission.minor,
            shares=[HostShare.of(share) for share in line.shares],
            card_fee=line.fee.minor if line.fee else None,
            card_fee_currency=line.fee.currency if line.fee else None,
            card_fee_bearer=line.fee_bearer,
            returned=line.returned.minor,
        )


class Receipt(Output):
    """Where a payment went, line by line, and what each host got of it over all lines.

    ``paid`` is the sum of the hosts' ``net``, ``commission`` and ``fees_covered``.
    """

    object: Literal["receipt"] = "receipt"
    payment: str
    listener: str
    paid_at: Seconds
    paid: int
    currency: str
    commission: int
    fees_covered: int
    returned: int
    hosts: list[HostShare]
    lines: list[ReceiptLine]
    refunds: list[str]

    @classmethod
    def of(cls, receipt: receipts.Receipt) -> Self:
        """The receipt as the API shows it."""
        return cls(
            payment=receipt.payment,
            listener=receipt.listener,
            paid_at=receipt.paid_at,
            paid=receipt.paid.minor,
            currency=receipt.paid.currency,
            commission=receipt.commission.minor,
            fees_covered=receipt.fees_covered.minor,
            returned=receipt.returned.minor,
            hosts=[HostShare.of(share) for share in receipt.hosts.values()],
            lines=[ReceiptLine.of(line) for line in receipt.lines],
            refunds=[refund.id for refund in receipt.refunds],
        )
