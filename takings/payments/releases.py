"""Releases: what a line still holds becomes the host's to take, when its rules say so.

A payment is released when its room has ended, the policy's release days and refund window have
passed since, and Stripe has made the money available; the commission that was deferred becomes
income with it.  A room that was cancelled while it was live has ended too: its tips were given for
what had been, but its tickets go back, as does a ticket that ended before, and what was paid for a
seat that nobody had: none of that is released.  What an open dispute has frozen stays so.

Where a policy keeps a rolling reserve, its part of every release is kept for its days, and becomes
the host's to take then.

Tickets are paid weeks ahead, so one looks for the rooms whose time has come, not for payments.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import commission
from takings.database import Database, fetch
from takings.ledger import accounts, journal
from takings.ledger.entries import Entry, Posting, moving
from takings.money import Money
from takings.payments import allotments

# The rooms that have such payments, each with its policies' days: from one to the next in the
# index, however many payments lie between.  Then those of the rooms whose time has come.
ROOM_BY_ROOM = """
WITH RECURSIVE rooms (id, days) AS (
  (SELECT p.space_id, p.release_days FROM payments p
    WHERE p.state = 'paid' AND p.released_at IS NULL
    ORDER BY p.space_id, p.release_days LIMIT 1)
   UNION ALL
  SELECT n.space_id, n.release_days FROM rooms r, LATERAL (
    SELECT p.space_id, p.release_days FROM payments p
     WHERE p.state = 'paid' AND p.released_at IS NULL
       AND (p.space_id, p.release_days) > (r.id, r.days)
     ORDER BY p.space_id, p.release_days LIMIT 1) AS n
)
SELECT due.id
  FROM rooms r
  JOIN spaces s ON s.id = r.id AND s.ended_at + r.days * interval '1 day' <= $1,
       LATERAL (
    SELECT p.id FROM payments p
     WHERE p.state = 'paid' AND p.released_at IS NULL
       AND p.space_id = r.id AND p.release_days = r.days
       AND EXISTS (SELECT FROM cash c WHERE c.subject = p.id AND c.category = 'charge'
                                        AND c.matured_at IS NOT NULL)
       AND NOT EXISTS (
           SELECT FROM lines l JOIN allotments a ON a.line_id = l.id
            WHERE l.payment_id = p.id AND a.host_id IS NOT NULL AND a.taken < a.credited
              AND (a.gross = 0
                   OR l.kind = 'ticket' AND s.state = 'cancelled'
                   OR l.kind = 'ticket' AND EXISTS (
                      SELECT FROM ticket_refunds o  -- given back, and owed still
                       WHERE o.ticket_id = l.subject)))
     ORDER BY p.id LIMIT $2 {lock}) AS due
 LIMIT $2
"""

DUE = ROOM_BY_ROOM.format(lock="FOR NO KEY UPDATE OF p SKIP LOCKED")

WAITING = f"SELECT count(*) AS payments FROM ({ROOM_BY_ROOM.format(lock='')}) AS due"

HELD = """
SELECT l.payment_id, l.currency, a.line_id, a.position, a.host_id, a.account, a.held,
       coalesce((r.rules #>> '{rolling_reserve,rate_bps}')::int, 0) AS rolls_bps,
       (r.rules #>> '{rolling_reserve,days}')::int AS rolls_days
  FROM lines l JOIN allotments a ON a.line_id = l.id AND a.held > 0
  JOIN policies r ON r.name = l.policy AND r.version = l.policy_version
 WHERE l.payment_id = ANY($1::text[])
 ORDER BY l.payment_id, a.line_id, a.position FOR NO KEY UPDATE OF a
"""

EMPTY = """
UPDATE allotments a SET held = 0, rolling = a.rolling + m.rolling
  FROM unnest($1::text[], $2::smallint[], $3::bigint[]) AS m (line, position, rolling)
 WHERE a.line_id = m.line AND a.position = m.position
"""

RELEASED = """
UPDATE payments SET released_at = $2, rolls_at = r.at
  FROM unnest($1::text[], $3::timestamptz[]) AS r (id, at) WHERE payments.id = r.id
"""


async def release(database: Database, *, now: datetime, batch: int = 500) -> int:
    """Release every payment that is due, a batch at a time; answer how many."""

    async def step(session: AsyncSession) -> int:
        due = [row.id for row in await fetch(session, DUE, now, batch)]
        held = await fetch(session, HELD, due)
        await journal.post(session, _entries(held, now))
        kept = [(row.line_id, row.position, _rolling(row)) for row in held]
        if kept:
            await fetch(session, EMPTY, *allotments.columns(kept))
        rolls = {row.payment_id: now + timedelta(row.rolls_days) for row in held if _rolling(row)}
        await fetch(session, RELEASED, due, now, [rolls.get(payment) for payment in due])
        return len(due)

    return await _all(database, step)


async def _all(database: Database, step: Callable[[AsyncSession], Awaitable[int]]) -> int:
    """Take one batch after the other until nothing is left; how many in all."""
    done = 0
    while some := await database.run(step):
        done += some
    return done


def _rolling(row: Row[Any]) -> int:
    """What the rolling reserve keeps of what is released of one share."""
    is_share = row.host_id is not None and not accounts.is_parked(row.account)
    return commission.part(row.held, row.rolls_bps) if is_share else 0


ROLLING = """
SELECT id FROM payments WHERE rolls_at <= $1
 ORDER BY rolls_at, id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED
"""

KEPT = """
SELECT l.payment_id, l.currency, a.line_id, a.host_id, a.rolling
  FROM lines l JOIN allotments a ON a.line_id = l.id AND a.rolling > 0
 WHERE l.payment_id = ANY($1::text[])
 ORDER BY l.payment_id, a.line_id, a.position FOR NO KEY UPDATE OF a
"""

ROLLED = """
WITH rolled AS (
  UPDATE allotments a SET rolling = 0
    FROM lines l WHERE l.id = a.line_id AND l.payment_id = ANY($1::text[]) AND a.rolling > 0
)
UPDATE payments SET rolls_at = NULL WHERE id = ANY($1::text[])
"""


async def roll(database: Database, *, now: datetime, batch: int = 500) -> int:
    """Give the hosts what the reserve has kept for its days; answer of how many payments."""

    async def step(session: AsyncSession) -> int:
        due = [row.id for row in await fetch(session, ROLLING, now, batch)]
        kept = await fetch(session, KEPT, due)
        entries = []
        for payment, rows in groupby(kept, key=attrgetter("payment_id")):
            legs = [leg for row in rows for leg in _moved(row, "rolling", row.rolling)]
            entries.append(_entry(payment, "rolled", legs, now))
        await journal.post(session, entries)
        await fetch(session, ROLLED, due)
        return len(due)

    return await _all(database, step)


def _moved(row: Row[Any], drawer: accounts.Drawer, minor: int) -> tuple[Posting, ...]:
    """A host's money from one drawer into the available one."""
    money = Money(minor, row.currency)
    return (
        *moving(accounts.of_host(row.host_id, drawer), money, row.line_id),
        *moving(accounts.of_host(row.host_id, accounts.OWING), -money, row.line_id),
    )


async def waiting(database: Database, *, now: datetime, most: int) -> int:
    """How many payments are due and not released yet, counted up to a bound."""
    rows = await database.fetch(WAITING, now, most)
    return int(rows[0].payments)


def _entries(held: Sequence[Row[Any]], now: datetime) -> list[Entry]:
    """One entry for each payment: exactly what each of its lines still holds."""
    entries = []
    for payment, rows in groupby(held, key=attrgetter("payment_id")):
        postings: list[Posting] = []
        for row in rows:
            kept = Money(_rolling(row), row.currency)
            money = Money(row.held, row.currency)
            later = allotments.later(row.host_id, row.account)
            postings.append(Posting(row.account, money, row.line_id))
            postings += moving(later, kept - money, row.line_id)
            if kept:
                postings.append(
                    Posting(accounts.of_host(row.host_id, "rolling"), -kept, row.line_id)
                )
        entries.append(_entry(payment, "released", postings, now))
    return entries


def _entry(payment: str, what: str, postings: Sequence[Posting], now: datetime) -> Entry:
    return Entry(
        key=f"payment:{payment}:{what}",
        kind=what,
        subject=payment,
        happened_at=now,
        postings=tuple(postings),
    )
