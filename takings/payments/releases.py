"""Releases: what a line still holds becomes the host's to take, when its rules say so.

A payment is released when its room has ended, the policy's release days and refund window have
passed since, and Stripe has made the money available; the commission that was deferred becomes
income with it.  A room that was cancelled while it was live has ended too: its tips were given for
what had been, but its tickets go back, as does a ticket that ended before, and what was paid for a
seat that nobody had: none of that is released.  Nor is what the bank has taken back.

Tickets are paid weeks ahead, so one looks for the rooms whose time has come, not for payments.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database, fetch
from takings.ledger import journal
from takings.ledger.entries import Entry, Posting
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
       AND NOT EXISTS (SELECT FROM cash c WHERE c.payment_id = p.id
                                            AND c.category IN ('charge_failure', 'dispute'))
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
SELECT l.payment_id, l.currency, a.line_id, a.position, a.host_id, a.account, a.held
  FROM lines l JOIN allotments a ON a.line_id = l.id AND a.held > 0
 WHERE l.payment_id = ANY($1::text[])
 ORDER BY l.payment_id, a.line_id, a.position FOR NO KEY UPDATE OF a
"""

EMPTY = """
UPDATE allotments a SET held = 0
  FROM lines l WHERE l.id = a.line_id AND l.payment_id = ANY($1::text[]) AND a.held > 0
"""

RELEASED = "UPDATE payments SET released_at = $2 WHERE id = ANY($1::text[])"


async def release(database: Database, *, now: datetime, batch: int = 500) -> int:
    """Release every payment that is due, a batch at a time; answer how many."""

    async def step(session: AsyncSession) -> int:
        due = [row.id for row in await fetch(session, DUE, now, batch)]
        held = await fetch(session, HELD, due)
        await journal.post(session, _entries(held, now))
        await fetch(session, EMPTY, due)
        await fetch(session, RELEASED, due, now)
        return len(due)

    done = 0
    while released := await database.run(step):
        done += released
    return done


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
            money = Money(row.held, row.currency)
            later = allotments.later(row.host_id, row.account)
            postings.append(Posting(row.account, money, row.line_id))
            postings.append(Posting(later, -money, row.line_id))
        entries.append(
            Entry(
                key=f"payment:{payment}:released",
                kind="released",
                subject=payment,
                happened_at=now,
                postings=tuple(postings),
            )
        )
    return entries
