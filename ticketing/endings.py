"""Endings: a hold whose time is over while it is being paid ends at Stripe first.

Who pays first has won: Stripe lets a page expire only if nobody has paid it.  Nobody's lock is held
while Stripe is asked, and the seat stays taken until Stripe says that the payment is over; a bank
that takes days to decide keeps it for as long.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database
from takings.payments import captures
from takings.payments.asks import Ask
from takings.payments.stripe import Stripe
from ticketing.sales import FREE, SETTLEMENT

BATCH: Final = 100

# What waits for a bank, for an answer of Stripe's, or for its page to be known, is not in the way.
EXPIRING = """
SELECT h.id, h.run_id, p.id AS payment
  FROM holds h
  LEFT JOIN purchases b ON b.hold_id = h.id AND b.cancelled_at IS NULL AND b.unseated_at IS NULL
  LEFT JOIN payments p ON p.id = b.payment_id
 WHERE h.state = 'expiring'
   AND (p.id IS NULL
        OR p.state = 'open' AND coalesce(p.intent_id, p.session_id) IS NOT NULL
           AND NOT EXISTS (SELECT FROM asks a
                            WHERE a.key IN ('expire:' || p.id, 'cancel:' || p.id)))
 ORDER BY h.run_id, h.expires_at LIMIT $1
"""


async def carry(database: Database, door: Stripe, *, now: datetime) -> int:
    """End the payments of holds whose time is over, a batch of them; answer how many that were.

    What nobody is paying any more is free at once.
    """
    rows = await database.fetch(EXPIRING, BATCH)
    unpaid = [row for row in rows if row.payment is None]
    for run, group in groupby(unpaid, key=attrgetter("run_id")):
        await database.fetch(FREE, run, [row.id for row in group], now)
    payments = sorted({row.payment for row in rows if row.payment is not None})
    found = await database.run(_end, payments, now)
    await captures.carry_all(database, door, found, SETTLEMENT, now=now)
    return len(rows)


async def _end(session: AsyncSession, payments: Sequence[str], now: datetime) -> list[Ask]:
    """What is to be asked of Stripe for these payments, under their locks, in the order of ids."""
    found: list[Ask] = []
    for one in payments:
        payment = await captures.lock(session, one)
        if payment.state == "open" and (ask := await captures.end(session, payment, now)):
            found.append(ask)
    return found
