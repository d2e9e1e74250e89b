"""Lines: what exactly a payout pays, each a posting on the host's available money.

No line is written.  The journal numbers an account's postings without a gap and keeps the balance
beside each; so the postings between two payouts, and what the earlier one left, sum to the later
one by themselves (docs/decisions/payout-lines.md).  What a refused payout had taken and given back
cancels out and is not shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
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
"""The first line, of what the last payout left, and the last one, of what this one leaves."""


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


# By its time and its number one is back at a posting in the index at once.
RANGE = """
       p.account_id = $1 AND p.slot = 0
   AND p.posted_at >= $2 AND p.posted_at <= $4 AND p.seq > $3 AND p.seq <= $5
   AND (p.posted_at, p.seq) > ($2, $3)
   AND e.kind NOT IN ('payout_requested', 'payout_refused')
"""

PAGE = f"""
SELECT p.entry_id, p.n, p.minor, p.happened_at, e.kind, e.subject, p.line, l.payment_id,
       l.kind AS of, l.subject AS about, l.space_id
  FROM postings p
  JOIN entries e ON e.id = p.entry_id AND e.posted_at = p.posted_at
  LEFT JOIN lines l ON l.id = p.line
 WHERE {RANGE}
 ORDER BY p.posted_at, p.seq LIMIT $6
"""

BY_KIND = f"""
SELECT e.kind, -sum(p.minor)::bigint AS minor
  FROM postings p JOIN entries e ON e.id = p.entry_id AND e.posted_at = p.posted_at
 WHERE {RANGE}
 GROUP BY e.kind ORDER BY min(p.posted_at), e.kind
"""

# First the entry's few postings: an account may have millions.
AT = """
WITH entry AS MATERIALIZED (
  SELECT account_id, posted_at, seq FROM postings WHERE entry_id = $1 AND n::text = $2
)
SELECT posted_at, seq FROM entry WHERE account_id = $3 AND seq > $4 AND seq <= $5
"""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


async def of(
    session: AsyncSession, payout: Payout, *, after: str | None = None, limit: int
) -> Sequence[Line]:
    """The lines of a payout after one of them, in the order in which they were posted.

    All together sum to the payout.  A page that is not full is the last one.  NotFound where
    ``after`` is none of its lines.
    """
    if after == CARRIED:
        return []
    head = _end(payout, BROUGHT, payout.brought) if after is None else ()
    at, seq = await _place(session, payout, after)
    upto = payout.upto_at, payout.upto_seq
    rows = await fetch(session, PAGE, payout.account_id, at, seq, *upto, limit)
    tail = _end(payout, CARRIED, -payout.carried) if len(rows) < limit else ()
    return [*head, *(_line(row, payout.currency) for row in rows), *tail][:limit]


def _end(payout: Payout, kind: str, minor: int) -> tuple[Line, ...]:
    return (Line(kind, kind, Money(minor, payout.currency)),) if minor else ()


async def _place(session: AsyncSession, payout: Payout, after: str | None) -> tuple[datetime, int]:
    """After which posting to go on: its time, and its number on the account."""
    if after is None or after == BROUGHT:
        return payout.after_at or EPOCH, payout.after_seq
    entry, _, number = after.rpartition(".")
    within = payout.account_id, payout.after_seq, payout.upto_seq
    for row in await fetch(session, AT, entry, number, *within):
        return row.posted_at, row.seq
    raise NotFound(kind=f"line of {payout.id}", id=after)


def _line(row: Row[Any], currency: str) -> Line:
    return Line(
        id=f"{row.entry_id}.{row.n}",
        kind=KINDS.get(row.kind, row.kind),
        money=Money(-row.minor, currency),
        entry=row.entry_id,
        happened_at=row.happened_at,
        source=row.subject,
        payment=row.payment_id,
        line=row.line,
        of=row.of,
        about=row.about,
        space=row.space_id,
    )


async def waterfall(session: AsyncSession, payout: Payout) -> dict[str, Money]:
    """What each kind of line adds to a payout, in all: the sums sum to it."""
    since = payout.after_at or EPOCH, payout.after_seq
    upto = payout.upto_at, payout.upto_seq
    rows = await fetch(session, BY_KIND, payout.account_id, *since, *upto)
    found = {BROUGHT: Money(payout.brought, payout.currency)}
    for row in rows:
        kind = KINDS.get(row.kind, row.kind)
        found[kind] = found.get(kind, Money(0, payout.currency)) + Money(row.minor, payout.currency)
    found[CARRIED] = Money(-payout.carried, payout.currency)
    return {kind: money for kind, money in found.items() if money}
