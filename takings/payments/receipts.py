"""Receipts: where each cent of a payment went, and what has come back of it by now.

    paid     = what the hosts got + commission + covered card fee       on every line, and in all
    gross    = commission + net                                         for every host
    returned = what each of them gave back of that

Stripe's fee is not part of that sum: Stripe takes it of the whole, and its bearer pays it out of
what they got.  It is known once the charge's balance transaction is.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import splits
from takings.database import fetch
from takings.errors import Conflict, Corrupt
from takings.ledger import accounts
from takings.money import Money
from takings.payments import payments
from takings.policies.rules import Bearer


class NoReceipt(Conflict):
    """The payment {id} is {state}: nothing has been paid that could have gone anywhere.

    Wait until it is paid.
    """


class ReceiptDiffers(Corrupt):
    """The receipt of {id} shows {shown} of {paid} paid, and {came} of {returned} returned.

    Run "takings verify": the checks of lines name what is wrong.
    """


@dataclass(frozen=True, slots=True)
class Share:
    """One host's part: ``net`` is what they got of ``gross``; ``fee`` and ``returned`` went since.

    ``fee`` is Stripe's, where it was passed on to them.
    """

    host: str
    gross: Money
    commission: Money
    net: Money
    fee: Money
    returned: Money

    @property
    def left(self) -> Money:
        """What the host has of it now."""
        return self.net - self.fee - self.returned

    def __add__(self, other: "Share") -> "Share":
        return Share(
            host=self.host,
            gross=self.gross + other.gross,
            commission=self.commission + other.commission,
            net=self.net + other.net,
            fee=self.fee + other.fee,
            returned=self.returned + other.returned,
        )


@dataclass(frozen=True, slots=True)
class Line:
    """Where one tip or ticket went; ``fee`` is its part of Stripe's, None while that is not known.

    ``fee_bearer`` is whose it is: the listener's where they covered it (what it differs from
    ``fees_covered`` is the platform's), the host's where it was passed on, else the platform's.
    """

    id: str
    kind: str
    subject: str
    space: str
    agreement_version: int
    amount: Money
    fees_covered: Money
    shares: tuple[Share, ...]
    commission: Money
    commission_returned: Money
    fees_returned: Money
    fee: Money | None
    fee_bearer: Bearer

    @property
    def returned(self) -> Money:
        """What has come back of it from all who got it."""
        platform = self.commission_returned + self.fees_returned
        return sum((share.returned for share in self.shares), platform)


@dataclass(frozen=True, slots=True)
class Refund:
    """Money that goes or went back, and how much of it is of which line."""

    id: str
    state: str
    reason: str
    lines: Mapping[str, Money]

    @property
    def amount(self) -> Money:
        """All of it."""
        first, *others = self.lines.values()
        return sum(others, first)


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where a payment went, line by line; ``fee`` is what Stripe kept, None while not known."""

    payment: str
    listener: str
    paid_at: datetime
    paid: Money
    lines: tuple[Line, ...]
    fee: Money | None
    refunds: tuple[Refund, ...]

    @property
    def hosts(self) -> Mapping[str, Share]:
        """Each host's receipt: their part over all lines."""
        found: dict[str, Share] = {}
        for line in self.lines:
            for share in line.shares:
                found[share.host] = found[share.host] + share if share.host in found else share
        return found

    @property
    def commission(self) -> Money:
        """What the platform kept when it was paid."""
        return self._total(line.commission for line in self.lines)

    @property
    def fees_covered(self) -> Money:
        """What the listener paid on top, for the card."""
        return self._total(line.fees_covered for line in self.lines)

    @property
    def returned(self) -> Money:
        """What has gone back to the listener, by us or through their bank."""
        return self._total(line.returned for line in self.lines)

    def _total(self, amounts: Iterable[Money]) -> Money:
        return sum(amounts, Money(0, self.paid.currency))


# One statement, so that all of it is of one moment, whatever is being booked just then.
WENT = """
SELECT p.id AS payment, p.listener_id, p.paid_at, p.minor AS paid, p.currency,
       l.id AS line, l.kind, l.subject, l.space_id, l.agreement_version, l.minor, l.fees_covered,
       l.returned + l.disputed AS returned, r.rules ->> 'fee_bearer' AS bearer,
       a.host_id, a.account, a.gross, a.credited, a.taken, coalesce(f.minor, 0)::bigint AS passed,
       c.fee, c.currency AS fee_currency, back.refunds::text AS refunds
  FROM payments p
  JOIN lines l ON l.payment_id = p.id
  JOIN policies r ON r.name = l.policy AND r.version = l.policy_version
  JOIN allotments a ON a.line_id = l.id
  LEFT JOIN (  -- of a tab, a part of the charge goes back, and a part of its fee with it
       SELECT currency, sum(minor) AS minor, sum(fee)::bigint AS fee
         FROM cash
        WHERE subject = $1 AND category IN ('charge', 'partial_capture_reversal')
        GROUP BY currency) c
    ON c.currency <> p.currency OR c.minor = p.minor
  LEFT JOIN (
       SELECT p.line, split_part(a.name, ':', 3) AS host_id, sum(p.minor) AS minor
         FROM entries e
         JOIN postings p ON p.entry_id = e.id AND p.posted_at = e.posted_at AND p.line IS NOT NULL
         JOIN accounts a ON a.id = p.account_id
        WHERE e.subject = $1 AND e.kind = 'fee_passed' GROUP BY 1, 2) f
    ON f.line = a.line_id AND f.host_id = a.host_id
 CROSS JOIN (
       SELECT coalesce(jsonb_agg(jsonb_build_object(
                'id', id, 'state', state, 'reason', reason, 'lines', (
                  SELECT jsonb_object_agg(line_id, minor) FROM refund_lines WHERE refund_id = id))
              ORDER BY created_at, id), '[]') AS refunds
         FROM refunds WHERE payment_id = $1) back
 WHERE p.id = $1 ORDER BY l.id, a.position
"""


async def of(session: AsyncSession, payment_id: str) -> Receipt:
    """The receipt of a payment, as it stands now; NotFound, or NoReceipt where nothing was paid."""
    rows = await fetch(session, WENT, payment_id)
    if not rows:
        payment = await payments.get(session, payment_id)
        raise NoReceipt(id=payment_id, state=payment.state)
    receipt = _receipt(rows)
    platform = receipt.commission + receipt.fees_covered
    shown = sum((share.net for share in receipt.hosts.values()), platform)
    each = groupby(rows, key=attrgetter("line"))
    returned = Money(sum(next(group).returned for _, group in each), receipt.paid.currency)
    if (shown, receipt.returned) != (receipt.paid, returned):
        facts = {"paid": receipt.paid, "came": receipt.returned, "returned": returned}
        raise ReceiptDiffers(id=payment_id, shown=shown, **facts)
    return receipt


def _receipt(rows: Sequence[Row[Any]]) -> Receipt:
    first = rows[0]
    by_line = [list(group) for _, group in groupby(rows, key=attrgetter("line"))]
    fee = None if first.fee is None else Money(first.fee, first.fee_currency)
    parts: Sequence[int | None] = [None] * len(by_line)
    if fee is not None:  # as it is passed on
        parts = splits.divide(fee.minor, [found[0].minor for found in by_line])
    return Receipt(
        payment=first.payment,
        listener=first.listener_id,
        paid_at=first.paid_at,
        paid=Money(first.paid, first.currency),
        lines=tuple(_line(found, part) for found, part in zip(by_line, parts, strict=True)),
        fee=fee,
        refunds=tuple(_refund(found, first.currency) for found in json.loads(first.refunds)),
    )


def _line(rows: Sequence[Row[Any]], fee: int | None) -> Line:
    first = rows[0]
    covered = [row for row in rows if row.account == accounts.FEES_COVERED]
    kept = [row for row in rows if row.host_id is None and row.account != accounts.FEES_COVERED]

    def total(found: Sequence[Row[Any]], column: str) -> Money:
        return Money(sum(getattr(row, column) for row in found), first.currency)

    # A fee in another currency than the payment's cannot be passed on.
    served = any(row.gross for row in rows)  # where nothing could be given, no host bears it
    passable = first.bearer != "host" or (served and first.fee_currency in (None, first.currency))
    return Line(
        id=first.line,
        kind=first.kind,
        subject=first.subject,
        space=first.space_id,
        agreement_version=first.agreement_version,
        amount=Money(first.minor, first.currency),
        fees_covered=total(covered, "credited"),
        shares=tuple(_share(row) for row in rows if row.host_id is not None),
        commission=total(kept, "credited"),
        commission_returned=total(kept, "taken"),
        fees_returned=total(covered, "taken"),
        fee=None if fee is None else Money(fee, first.fee_currency),
        fee_bearer=first.bearer if passable else "platform",
    )


def _share(row: Row[Any]) -> Share:
    gross = max(row.gross, row.credited)  # none is counted of what nothing could be given for
    minors = (gross, gross - row.credited, row.credited, row.passed, row.taken)
    return Share(row.host_id, *(Money(minor, row.currency) for minor in minors))


def _refund(found: Mapping[str, Any], currency: str) -> Refund:
    parts = {line: Money(minor, currency) for line, minor in found["lines"].items()}
    return Refund(found["id"], found["state"], found["reason"], parts)
