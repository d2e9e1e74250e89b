"""Exposures: what a host has to spend, and may lose again any day.

Two things are known before they are booked: a refund that Stripe has been asked for, and an
inquiry, a bank's question that may become a dispute and freezes nothing.  If all of them took what
they can, each share would give as in ``clawbacks.py``: first what lies in its other drawers, and
the rest out of ``available``.  That rest is exposed.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import splits
from takings.database import fetch
from takings.ledger import accounts
from takings.money import Money
from takings.payments import clawbacks

# The payments of which something may go, and all the shares of those where this host has one.
EXPOSED = """
WITH exposed AS (
  SELECT payment_id FROM refunds WHERE state = 'asked'
   UNION
  SELECT payment_id FROM disputes WHERE stage = 1 -- INQUIRY
), theirs AS (
  SELECT payment_id FROM exposed e
   WHERE EXISTS (SELECT FROM lines l JOIN allotments a ON a.line_id = l.id
                  WHERE l.payment_id = e.payment_id AND a.host_id = $1)
)
SELECT l.payment_id, l.id AS line, l.currency, p.released_at IS NOT NULL AS released,
       l.returned + l.refunding AS returned, l.minor + l.fees_covered AS paid, d.asked,
       r.rules ->> 'refund_fee_bearer' = 'listener' AS keep_fees,
       a.host_id, a.account, a.credited, a.taken, a.held, a.reserved, a.rolling,
       a.fee, a.fee_back, a.dispute_fee, a.directed
  FROM theirs t
  JOIN payments p ON p.id = t.payment_id
  JOIN lines l ON l.payment_id = p.id
  JOIN policies r ON r.name = l.policy AND r.version = l.policy_version
  JOIN allotments a ON a.line_id = l.id
 CROSS JOIN LATERAL (
       SELECT coalesce(sum(CASE stage WHEN 1 THEN minor ELSE taken + frozen END), 0)::bigint
           AS asked
         FROM disputes WHERE payment_id = p.id) d
 ORDER BY l.payment_id, l.id, a.position
"""


async def of_host(session: AsyncSession, host_id: str) -> dict[str, Money]:
    """How much of what is available to a host may go again, by currency; nothing is left out.

    Who wants to compare it with a balance reads it first: what is booked in between counts twice
    then, and never not at all.
    """
    rows = await fetch(session, EXPOSED, host_id)
    found: Counter[str] = Counter()
    for _, payment in groupby(rows, key=attrgetter("payment_id")):
        lines = [list(line) for _, line in groupby(payment, key=attrgetter("line"))]
        left = [line[0].paid - line[0].returned for line in lines]
        reach = splits.divide(min(lines[0][0].asked, sum(left)), left)
        for line, gone in zip(lines, reach, strict=True):
            found[line[0].currency] += _of_line(host_id, line, line[0].returned + gone)
    return {currency: Money(minor, currency) for currency, minor in found.items()}


def _of_line(host_id: str, rows: Sequence[Row[Any]], total: int) -> int:
    """How much of it would leave the host's available money, if that much of a line came back."""
    ranks = [clawbacks.rank(row, keep_fees=row.keep_fees) for row in rows]
    parts = splits.clawback(total, [row.credited for row in rows], ranks)
    return sum(
        max(0, -clawbacks.draw(row, part - row.taken, 0)["available"])
        for row, part in zip(rows, parts, strict=True)
        if row.host_id == host_id and not accounts.is_parked(row.account)
    )
