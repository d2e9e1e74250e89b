"""Lines: what exactly a payout pays, each a posting on the host's available money.

No line is written.  The journal numbers an account's postings without a gap and keeps the balance
beside each; so the postings between two payouts, and what the earlier one left, sum to the later
one by themselves (docs/decisions/payout-lines.md).  What a refused payout had taken and given back
cancels out and is not shown.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import fetch
from takings.errors import NotFound
from takings.money import Money
from takings.payouts.tables import Payout

KINDS: Final[Mapping[str, str]] = {
    "released": "earning",
    "rolled": "rolling_reserve",
    "fee_passed": "fee",
    "refund_booked": "refund",
    "refund_failed": "refund_failed",
    "reversal_booked": "returned_payout",
}
"""What an entry's kind is called on a payout; what is not named here keeps its name."""

BROUGHT, CARRIED = "brought", "carried"
"""The lines of what the last payout left, and of what this one leaves: the last two of all."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a payout: what it adds, from the host's side, and why.

    ``of`` and ``about`` are the kind of the payment's line and the tip or ticket that it is.
    """

    id: str
    kind: str
    money: Money
    entry: str | None = None
    happened_at: datetime | None = None
    source: str | None = None  # the payment, refund, dispute or transfer that the entry is about
    payment: str | None = None
    line: str | None = None
    of: str | None = None
    about: str | None = None
    space: str | None = None


# The cursor is an entry's posting: by its time and number one is back in the index at once.
PAGE = """
SELECT p.entry_id, p.n, p.minor, p.happened_at, e.kind, e.subject, p.line, l.payment_id,
       l.kind AS of, l.subject AS about, l.space_id
  FROM postings p
  JOIN entries e ON e.id = p.entry_id AND e.posted_at = p.posted_at
  LEFT JOIN lines l ON l.id = p.line
 WHERE p.account_id = $1 AND p.slot = 0
   AND p.posted_at >= $2 AND p.posted_at <= $3 AND p.seq > $4 AND p.seq <= $5
   AND (p.posted_at, p.seq) > ($2, $4)
   AND e.kind NOT IN ('payout_requested', 'payout_refused')
 ORDER BY p.posted_at, p.seq LIMIT $6
"""

AT = """
SELECT posted_at, seq FROM postings WHERE entry_id = $1 AND n = $2 AND account_id = $3
"""

KINDS_OF = """
SELECT e.kind, -sum(p.minor)::bigint AS minor
  FROM postings p JOIN entries e ON e.id = p.entry_id AND e.posted_at = p.posted_at
 WHERE p.account_id = $1 AND p.slot = 0
   AND p.posted_at >= $2 AND p.posted_at <= $3 AND p.seq > $4 AND p.seq <= $5
   AND e.kind NOT IN ('payout_requested', 'payout_refused')
 GROUP BY e.kind ORDER BY min(p.seq)
"""

BEGINNING = datetime.min


async def of(
    session: AsyncSession, payout: Payout, *, after: str | None = None, limit: int
) -> Sequence[Line]:
    """The lines of a payout after one of them, in the order in which they were posted.

    All together sum to the payout.  A page that is not full is the last one.  NotFound where
    ``after`` is none of its lines.
    """
    ends = [line for line in _ends(payout)]
    names = [line.id for line in ends]
    if after in names:
        return ends[names.index(after) + 1 :][:limit]
    at, seq = await _place(session, payout, after)
    rows = await fetch(
        session, PAGE, payout.account_id, at, payout.upto_at, seq, payout.upto_seq, limit
    )
    return [*(_line(row, payout.currency) for row in rows), *ends][:limit]
