"""Stripe's fee, passed on to the hosts where their policy says so, as soon as it is known.

The fee is known when the charge's balance transaction is; that may be before or after the payment
is settled.  Whichever comes second passes it on, in its own transaction, under the payment's lock.
"""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import splits
from takings.database import fetch
from takings.ledger import accounts
from takings.ledger.entries import Entry, Posting, moving
from takings.money import Money

OF_A_CHARGE = frozenset({"charge", "partial_capture_reversal"})
"""The categories of Stripe's lines whose fees are one charge's: of a tab, a part goes back."""

KNOWN = """
SELECT c.subject AS payment, c.id AS txn, c.fee, c.currency, c.created_at,
       l.id AS line, l.minor, r.rules ->> 'fee_bearer' AS bearer,
       a.position, a.host_id, a.gross, a.held
  FROM (SELECT subject, currency, sum(minor) AS minor, sum(fee)::bigint AS fee,
               min(id) FILTER (WHERE category = 'charge') AS id, max(created_at) AS created_at
          FROM cash
         WHERE subject = ANY($1::text[]) AND category IN ('charge', 'partial_capture_reversal')
         GROUP BY subject, currency) c
  JOIN payments p ON p.id = c.subject AND p.state = 'paid' AND p.currency = c.currency
                 AND p.minor = c.minor  -- all lines are there: the charge, and what went back of it
  JOIN lines l ON l.payment_id = p.id
  JOIN policies r ON r.name = l.policy AND r.version = l.policy_version
  JOIN allotments a ON a.line_id = l.id AND a.host_id IS NOT NULL
 WHERE c.fee > 0
 ORDER BY c.subject, l.id, a.position
"""

TAKE = """
UPDATE allotments a SET held = a.held - t.minor
  FROM unnest($1::text[], $2::smallint[], $3::bigint[]) AS t (line, position, minor)
 WHERE a.line_id = t.line AND a.position = t.position
"""


async def passed(session: AsyncSession, payments: Sequence[str]) -> list[Entry]:
    """The entries that pass on the fees of these payments, where both sides are known by now.

    The caller holds the payments' locks, has just made the second side known, and posts these.  It
    names payments with a line whose fee the host bears; mostly there is none.
    """
    if not payments:
        return []
    rows = await fetch(session, KNOWN, list(payments))
    entries: list[Entry] = []
    taken: list[tuple[str, int, int]] = []
    for _, group in groupby(rows, key=attrgetter("payment")):
        found = list(group)
        postings = _over_lines(found, taken)
        total = sum(leg.money.minor for leg in postings)
        if total:
            entries.append(_entry(found[0], total, postings))
    if taken:
        await fetch(session, TAKE, *[list(column) for column in zip(*taken, strict=True)])
    return entries


def _over_lines(rows: Sequence[Row[Any]], taken: list[tuple[str, int, int]]) -> list[Posting]:
    """The fee over the payment's lines by amount, then inside a line over its hosts by share."""
    by_line = [list(group) for _, group in groupby(rows, key=attrgetter("line"))]
    parts = splits.divide(rows[0].fee, [line[0].minor for line in by_line])
    postings: list[Posting] = []
    for line, part in zip(by_line, parts, strict=True):
        if line[0].bearer != "host" or not any(row.gross for row in line):
            continue  # where nothing could be given, the platform bears it
        for row, fee in zip(line, splits.divide(part, [r.gross for r in line]), strict=True):
            held = min(fee, row.held)
            taken.append((row.line, row.position, held))
            for drawer, minor in (("held", held), ("available", fee - held)):
                account = accounts.of_host(row.host_id, drawer)  # type: ignore[arg-type]
                postings += moving(account, Money(minor, row.currency), row.line)
    return postings


def _entry(row: Row[Any], total: int, postings: Sequence[Posting]) -> Entry:
    fee = Posting(accounts.STRIPE_FEES, Money(-total, row.currency))
    return Entry(
        key=f"payment:{row.payment}:fee_passed",
        kind="fee_passed",
        subject=row.payment,
        happened_at=row.created_at,
        postings=(*postings, fee),
        source=row.txn,
    )
