"""Stripe's fees, passed on to the hosts where their policy says so, as soon as they are known.

The fee of a charge is known when the charge's balance transaction is; that may be before or after
the payment is settled.  Whichever comes second passes it on, in its own transaction, under the
payment's lock.  Where the policy gives a passed fee back with a refund, the refund does, or the
fee itself if it comes later.  A dispute's fee stands in the dispute's own line.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
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
from takings.payments import clawbacks

OF_A_CHARGE = frozenset({"charge", "partial_capture_reversal"})
"""The categories of Stripe's lines whose fees are one charge's: of a tab, a part goes back."""

KNOWN = """
SELECT c.subject AS payment, c.id AS txn, c.fee, c.currency, c.created_at,
       l.id AS line, l.minor, r.rules ->> 'fee_bearer' AS bearer,
       a.position, a.host_id, a.account, a.gross, a.held
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
UPDATE allotments a SET held = a.held - t.held, fee = a.fee + t.fee, fee_back = a.fee_back + t.back
  FROM unnest($1::text[], $2::smallint[], $3::bigint[], $4::bigint[], $5::bigint[])
    AS t (line, position, held, fee, back)
 WHERE a.line_id = t.line AND a.position = t.position
"""

Taken = list[tuple[str, int, int, int, int]]
"""Of which share how much was taken of what is held, and how much of its fee it bore and got."""


async def passed(session: AsyncSession, payments: Sequence[str]) -> list[Entry]:
    """The entries that pass on the fees of these payments, where both sides are known by now.

    The caller holds the payments' locks, has just made the second side known, and posts these.  It
    names payments with a line whose fee the host bears; mostly there is none.
    """
    if not payments:
        return []
    rows = await fetch(session, KNOWN, list(payments))
    entries: list[Entry] = []
    taken: Taken = []
    for _, group in groupby(rows, key=attrgetter("payment")):
        found = list(group)
        first = found[0]
        postings = _over_lines(found, taken)
        about = ("fee_passed", first.payment, first.created_at, first.txn)
        entries += _entry(f"payment:{first.payment}:fee_passed", about, postings)
    await _take(session, taken)
    for entry in list(entries):  # what had been refunded before the fee was known
        payment = entry.subject
        entries += await given_back(session, payment, f"payment:{payment}", entry.happened_at)
    return entries


def _over_lines(rows: Sequence[Row[Any]], taken: Taken) -> list[Posting]:
    """The fee over the payment's lines by amount, then inside a line over its hosts by share."""
    by_line = [list(group) for _, group in groupby(rows, key=attrgetter("line"))]
    parts = splits.divide(rows[0].fee, [line[0].minor for line in by_line])
    postings: list[Posting] = []
    for line, part in zip(by_line, parts, strict=True):
        if line[0].bearer != "host" or not any(row.gross for row in line):
            continue  # where nothing could be given, the platform bears it
        for row, fee in zip(line, splits.divide(part, [r.gross for r in line]), strict=True):
            if accounts.is_parked(row.account):
                continue  # nobody is there yet to bear it
            held = min(fee, row.held)
            taken.append((row.line, row.position, held, fee, 0))
            postings += _borne(row, held, fee - held)
    return postings


def _borne(row: Row[Any], held: int, rest: int) -> Iterable[Posting]:
    """A host's part of a fee, out of what the line holds, then out of what else the host has."""
    places = (("held", held), (accounts.OWING, rest))
    return [
        leg
        for drawer, minor in places
        for leg in moving(
            accounts.of_host(row.host_id, drawer),  # type: ignore[arg-type]
            Money(minor, row.currency),
            row.line,
        )
    ]


BORNE = """
SELECT l.id AS line, l.currency, l.returned, l.minor + l.fees_covered AS paid,
       p.released_at IS NOT NULL AS released,
       a.position, a.host_id, a.account, a.credited, a.taken, a.held, a.reserved, a.rolling,
       a.fee, a.fee_back, a.dispute_fee
  FROM payments p
  JOIN lines l ON l.payment_id = p.id
  JOIN policies r ON r.name = l.policy AND r.version = l.policy_version
                 AND r.rules ->> 'refund_fee_bearer' = 'platform'
  JOIN allotments a ON a.line_id = l.id AND a.fee > 0
 WHERE p.id = $1
 ORDER BY l.id, a.position
"""


async def given_back(session: AsyncSession, payment: str, cause: str, at: datetime) -> list[Entry]:
    """The entry that gives a passed fee back with a refund, or takes it again where that failed.

    In all, as much of each line's fee as was refunded of the line; none where policy keeps it.
    """
    rows = await fetch(session, BORNE, payment)
    taken: Taken = []
    postings: list[Posting] = []
    for _, group in groupby(rows, key=attrgetter("line")):
        line = list(group)
        shares = (line[0].returned, line[0].paid - line[0].returned)
        due = splits.divide(sum(row.fee for row in line), shares)[0]
        for row, back in zip(line, splits.divide(due, [r.fee for r in line]), strict=True):
            more = back - row.fee_back
            at_once = clawbacks.home(row, more) if more > 0 else 0
            held = at_once - more if more > 0 else _held(row, -more)
            taken.append((row.line, row.position, held, 0, more))
            postings += _borne(row, held, -more - held)
    await _take(session, taken)
    return _entry(f"{cause}:fee_returned", ("fee_returned", payment, at, None), postings)


def _held(row: Row[Any], minor: int) -> int:
    """How much of it the line still holds."""
    return 0 if row.released else min(minor, int(row.held))


async def _take(session: AsyncSession, taken: Taken) -> None:
    rows = [row for row in taken if any(row[2:])]
    if rows:
        await fetch(session, TAKE, *[list(column) for column in zip(*rows, strict=True)])


OF_DISPUTES = """
SELECT l.id AS line, l.minor, l.currency, a.position, a.host_id, a.account, a.gross, a.dispute_fee
  FROM lines l
  JOIN policies r ON r.name = l.policy AND r.version = l.policy_version
                 AND r.rules ->> 'dispute_fee_bearer' = 'host'
  JOIN allotments a ON a.line_id = l.id AND a.host_id IS NOT NULL AND a.gross > 0
 WHERE l.payment_id = $1
 ORDER BY l.id, a.position
"""


BORE = """
UPDATE allotments SET dispute_fee = dispute_fee + $3 WHERE line_id = $1 AND position = $2
"""


async def of_dispute(
    session: AsyncSession, payment: str, txn: str, fee: Money, at: datetime
) -> list[Entry]:
    """The entry that passes on what Stripe took for a dispute, or gave back of that.

    It comes back to those who bore it; what was a parked share's part, the platform bore.
    """
    found = await fetch(session, OF_DISPUTES, payment)
    rows = [row for row in found if row.currency == fee.currency]
    postings: list[Posting] = []
    borne = [row.dispute_fee for row in rows]
    if fee.minor < 0:
        parts = splits.divide(-min(-fee.minor, sum(borne)), borne)
    else:
        parts = splits.divide(fee.minor, [row.gross for row in rows]) if rows else ()
        parts = tuple(
            0 if accounts.is_parked(row.account) else part
            for row, part in zip(rows, parts, strict=True)
        )
    for row, part in zip(rows, parts, strict=True):
        postings += _borne(row, 0, part)
        if part:
            await fetch(session, BORE, row.line, row.position, part)
    return _entry(f"txn:{txn}:fee_passed", ("dispute_fee_passed", payment, at, txn), postings)


def _entry(
    key: str, about: tuple[str, str, datetime, str | None], postings: Sequence[Posting]
) -> list[Entry]:
    """The entry of a fee that hosts bear, or get back; none where nobody does."""
    kind, subject, at, source = about
    if not postings:
        return []
    total = sum((leg.money for leg in postings[1:]), postings[0].money)
    account = accounts.DISPUTE_FEES if kind == "dispute_fee_passed" else accounts.STRIPE_FEES
    legs = (*postings, *moving(account, -total))
    return [Entry(key, kind, subject, at, legs, source)] if len(legs) > 1 else []
