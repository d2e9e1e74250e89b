"""Clawbacks: what comes back of a payment comes out of the money of those who were credited.

It is a state, computed anew whenever a refund or a dispute changes, so that the order in which we
hear of them is of no account: a line's refunds come first, and what the bank has taken is divided
over what they left of the lines; what it took beyond that is the platform's loss.  Who was credited
gives by the weights of those credits.  What an open dispute may yet take is frozen: the hosts'
parts of it lie in ``reserved``.

A host's part comes out of that line's own money: what leaves ``reserved``, then held, then the
rolling reserve, and the rest out of ``available``, the only drawer that may go below zero: Stripe
has paid already.  What is given back goes where the line's money is by now.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import splits
from takings.database import fetch
from takings.ledger import accounts, journal
from takings.ledger.accounts import Drawer
from takings.ledger.entries import Entry, Posting, moving
from takings.money import Money
from takings.payments.allotments import columns, later

LINES = """
SELECT l.id, l.currency, l.returned, l.minor + l.fees_covered AS paid,
       r.rules ->> 'refund_fee_bearer' = 'listener' AS keep_fees
  FROM lines l JOIN policies r ON r.name = l.policy AND r.version = l.policy_version
 WHERE l.payment_id = $1 ORDER BY l.id FOR NO KEY UPDATE OF l
"""

DISPUTED = """
SELECT coalesce(sum(taken), 0)::bigint AS taken, coalesce(sum(frozen), 0)::bigint AS frozen
  FROM disputes WHERE payment_id = $1
"""

DIVIDED = """
UPDATE lines l SET disputed = d.disputed, frozen = d.frozen
  FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS d (id, disputed, frozen)
 WHERE l.id = d.id AND (l.disputed, l.frozen) <> (d.disputed, d.frozen)
"""

LOST = """
UPDATE payments p SET lost = $2 FROM payments was
 WHERE p.id = $1 AND was.id = p.id AND was.lost <> $2 RETURNING p.lost - was.lost AS more
"""


async def recompute(session: AsyncSession, payment_id: str) -> list[Posting]:
    """Take, freeze and give back until every share is as the refunds and disputes are now.

    Holds the payment's lock already.  The postings sum to what was taken more, the loss among them.
    """
    lines = await fetch(session, LINES, payment_id)
    [disputes] = await fetch(session, DISPUTED, payment_id)
    left = [line.paid - line.returned for line in lines]
    most, asked = sum(left), disputes.taken + disputes.frozen
    taken = splits.divide(min(disputes.taken, most), left)
    reach = splits.divide(min(asked, most), left)
    frozen = [both - gone for both, gone in zip(reach, taken, strict=True)]
    await fetch(session, DIVIDED, [line.id for line in lines], list(taken), frozen)
    postings: list[Posting] = []
    for line, gone, ice in zip(lines, taken, frozen, strict=True):
        total = line.returned + gone
        postings += await _line(session, line, total, total + ice)
    for lost in await fetch(session, LOST, payment_id, max(0, disputes.taken - most)):
        postings += moving(accounts.LOSSES, Money(lost.more, lines[0].currency))
    return postings


SHARES = """
SELECT a.line_id, a.position, a.host_id, a.account, a.gross, a.credited, a.taken, a.held,
       a.reserved, a.rolling, a.fee, a.fee_back, a.dispute_fee, a.directed,
       p.released_at IS NOT NULL AS released
  FROM allotments a JOIN lines l ON l.id = a.line_id JOIN payments p ON p.id = l.payment_id
 WHERE a.line_id = $1 ORDER BY a.position FOR UPDATE OF a
"""

MOVE = """
UPDATE allotments a
   SET taken = a.taken + m.taken, held = a.held + m.held, reserved = a.reserved + m.reserved,
       rolling = a.rolling + m.rolling
  FROM unnest($2::smallint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
    AS m (position, taken, held, reserved, rolling)
 WHERE a.line_id = $1 AND a.position = m.position
"""

UNCOUNT = """
UPDATE lifetime_sales l SET minor = l.minor + m.minor
  FROM unnest($1::text[], $2::bigint[]) AS m (host_id, minor)
 WHERE l.host_id = m.host_id AND l.currency = $3
"""

FIRST, BY_WEIGHT, LAST = range(3)

Moves = dict[Drawer, int]
"""By how much each drawer of a share changes; what is taken is missing from their sum."""


async def _line(
    session: AsyncSession, line: Row[Any], total: int, reach: int
) -> tuple[Posting, ...]:
    """Take of one line until ``total`` has come back, and reserve what reaches beyond."""
    rows = await fetch(session, SHARES, line.id)
    weights = [row.credited for row in rows]
    ranks = [rank(row, keep_fees=line.keep_fees) for row in rows]
    taken = splits.clawback(total, weights, ranks)
    frozen = splits.clawback(reach, weights, ranks)
    before, whole = sum(row.taken for row in rows), sum(weights)
    postings: list[Posting] = []
    moved: list[tuple[int, ...]] = []
    counts: list[tuple[str, int]] = []
    for row, part, ice in zip(rows, taken, frozen, strict=True):
        take = part - row.taken
        if row.host_id is None or accounts.is_parked(row.account):
            held = _of_the_platform(row, take)
            moves: Moves = {"held": -held}
            postings += moving(row.account, Money(held, line.currency), line.id)
            elsewhere = later(row.host_id, row.account)
            postings += moving(elsewhere, Money(take - held, line.currency), line.id)
        else:
            moves = draw(row, take, ice - part)
            postings += _posted(row.host_id, moves, line)
        drawers = [moves.get(drawer, 0) for drawer in ("held", "reserved", "rolling")]
        moved.append((row.position, take, *drawers))
        if row.host_id is not None:
            gone = counted(row.gross, total, whole) - counted(row.gross, before, whole)
            counts.append((row.host_id, gone))
    if any(any(one[1:]) for one in moved):
        await fetch(session, MOVE, line.id, *columns(moved))
    if any(gone for _, gone in counts):
        await fetch(session, UNCOUNT, *columns(sorted(counts)), line.currency)
    return tuple(postings)


def draw(row: Any, take: int, reserve: int) -> Moves:
    """How a host's share gives ``take`` and keeps ``reserve`` frozen.

    What leaves the reserve pays first; what it need not pay goes home.
    """
    moves: Moves = {"held": 0, "reserved": reserve - row.reserved, "rolling": 0, "available": 0}
    due = take + moves["reserved"]
    if due <= 0:
        moves["available"] = home(row, -due)
        moves["held"] = -due - moves["available"]
        return moves
    for drawer in ("held", "rolling"):
        part = min(due, getattr(row, drawer))
        moves[drawer] = -part
        due -= part
    moves["available"] = -due
    return moves


def home(row: Any, minor: int) -> int:
    """How much of what comes back to a share is available at once; the rest is held.

    All of it where the line is released; else what the line took of available money before.
    """
    if row.released:
        return minor
    left: int = row.credited - row.taken - row.fee + row.fee_back - row.dispute_fee
    short: int = row.held + row.reserved + row.rolling - left
    return min(minor, max(0, short))


def _posted(host: str, moves: Moves, line: Row[Any]) -> Iterator[Posting]:
    for drawer, minor in moves.items():
        yield from moving(accounts.of_host(host, drawer), Money(-minor, line.currency), line.id)


def _of_the_platform(row: Row[Any], take: int) -> int:
    """How much of it moves on the account that was credited; the rest where that went since."""
    if take > 0:
        return min(take, int(row.held))
    at_home = not row.released and later(row.host_id, row.account) != row.account
    return take if at_home else 0


def rank(row: Row[Any], *, keep_fees: bool) -> int:
    """When a share gives: first what is directed to the listener, last a covered card fee.

    The listener bears that in a refund of ours, but one made at Stripe, or the bank, may return it.
    """
    if row.directed:
        return FIRST
    return LAST if keep_fees and row.account == accounts.FEES_COVERED else BY_WEIGHT


def counted(gross: int, returned: int, whole: int) -> int:
    """How much of a host's gross share counts still, when so much of the line has come back."""
    return gross - splits.divide(gross, (returned, whole - returned))[0]


SHORT = """
INSERT INTO recoveries (cause, host_id, currency, minor, created_at)
SELECT $1, t.host, a.currency, least(t.minor, b.minor), $2
  FROM unnest($3::text[], $4::text[], $5::text[], $6::bigint[])
    AS t (host, account, currency, minor)
  JOIN accounts a ON a.name = t.account AND a.currency = t.currency
  JOIN balances b ON b.account_id = a.id AND b.minor > 0
ON CONFLICT DO NOTHING
"""


async def post(session: AsyncSession, entries: Sequence[Entry], now: datetime) -> None:
    """Write the entries, and note what they took of hosts' money that was not there any more.

    Payouts look at those notes, and ask it back where it went.
    """
    await journal.post(session, entries)
    for entry in entries:
        taken: Counter[tuple[str, str]] = Counter()
        for leg in entry.postings:
            if accounts.may_owe(leg.account):
                taken[leg.account, leg.money.currency] += leg.money.minor
        rows = [
            (accounts.host_of(name), name, currency, minor)
            for (name, currency), minor in sorted(taken.items())
            if minor > 0
        ]
        if rows:
            await fetch(session, SHORT, entry.key, now, *columns(rows))
