"""Sales: a purchase written down with its tickets, and what becomes of them with its payment.

Whether the hold is still there is decided under the run's lock, when the payment is settled: paid
too late, the tickets come out of what the run has left, or their money is owed from then on.
"""

import secrets
from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import records
from takings.database import fetch
from takings.money import Money
from takings.payments.allotments import columns
from takings.payments.lines import Line
from takings.payments.payments import Kind, Settlement
from ticketing import pools

CLAIM = """
INSERT INTO purchases (id, hold_id, run_id, listener_id, payment_id, created_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (id) DO NOTHING RETURNING id
"""

TICKETS = """
INSERT INTO tickets (id, run_id, tier_id, purchase_id, listener_id, holder, minor, state, secret,
                     created_at)
SELECT t.id, $1, $2, $3, $4, t.holder, $5, 'pending', t.secret, $6
  FROM unnest($7::text[], $8::text[], $9::bytea[]) AS t (id, holder, secret)
"""


async def write(
    session: AsyncSession,
    purchase: str,
    hold: Row[Any],
    price: Money,
    holders: Sequence[str],
    payment: str | None,
    now: datetime,
) -> list[str]:
    """Write a purchase and its tickets down; their ids in order, none if its own was just taken."""
    row = (purchase, hold.id, hold.run_id, hold.listener_id, payment, now)
    if not await fetch(session, CLAIM, *row):
        return []
    tickets = sorted(records.new_id("tkt") for _ in range(hold.quantity))
    names = holders or (None,) * hold.quantity
    rows = [(one, name, secrets.token_bytes(16)) for one, name in zip(tickets, names, strict=True)]
    about = (hold.run_id, hold.tier_id, purchase, hold.listener_id, price.minor, now)
    await fetch(session, TICKETS, *about, *columns(rows))
    return tickets


SELL = "SELECT sell_tickets($1, $2::text[], $3) AS id"


async def sell(
    session: AsyncSession, run: str, purchases: Sequence[str], now: datetime
) -> list[str]:
    """Make the tickets of these purchases valid; answer those for which no seat is left."""
    return [row.id for row in await fetch(session, SELL, run, list(purchases), now)]


# Every run before any Space: a claim has its run locked when it waits for the Space's pool.
LOCK_RUNS = """
SELECT id FROM pools
 WHERE id = ANY($1::text[] || ARRAY(SELECT 'space:' || space_id FROM runs WHERE id = ANY($1)))
 ORDER BY id LIKE 'space:%', id FOR NO KEY UPDATE
"""


async def _lock(session: AsyncSession, runs: Collection[str]) -> None:
    """These runs are locked together, where they are several, in the order that all keep."""
    if len(runs) > 1:
        await fetch(session, LOCK_RUNS, sorted(runs))


PAID = """
SELECT id, payment_id, run_id FROM purchases
 WHERE payment_id = ANY($1::text[]) ORDER BY run_id, id
"""


async def settle(session: AsyncSession, lines: Sequence[Line], now: datetime) -> Collection[str]:
    """These tickets have been paid: they are valid, but for those without a seat, answered here.

    What is owed for the latter is written down with it.
    """
    rows = await fetch(session, PAID, sorted({line.payment for line in lines}))
    await _lock(session, {row.run_id for row in rows})
    unseated: set[str] = set()
    for run, group in groupby(rows, key=attrgetter("run_id")):
        unseated.update(await sell(session, run, [row.id for row in group], now))
    late = {row.payment_id for row in rows if row.id in unseated}
    return {line.id for line in lines if line.payment in late}


OPEN = """
SELECT run_id, id FROM purchases
 WHERE payment_id = ANY($1::text[]) AND num_nonnulls(settled_at, unseated_at, cancelled_at) = 0
 ORDER BY run_id, id
"""

CANCEL = """
WITH over AS (
  UPDATE purchases SET cancelled_at = $2
   WHERE id = ANY($1::text[]) AND num_nonnulls(settled_at, unseated_at, cancelled_at) = 0
  RETURNING hold_id
)
UPDATE holds h SET paying = false FROM over o WHERE h.id = o.hold_id RETURNING h.id, h.state
"""

FREE = "SELECT free_holds($1, $2::text[], 'expired', $3)"


async def cancel(session: AsyncSession, payments: Sequence[str], now: datetime) -> None:
    """These purchases will not be paid; what they held is free if its time was over, else held."""
    rows = await fetch(session, OPEN, list(payments))
    await _lock(session, {row.run_id for row in rows})
    for run, group in groupby(rows, key=attrgetter("run_id")):
        await pools.lock(session, run)
        found = await fetch(session, CANCEL, [row.id for row in group], now)
        await fetch(session, FREE, run, [row.id for row in found if row.state == "expiring"], now)


SETTLEMENT: Settlement = {"ticket": Kind(paid=settle, over=cancel)}
"""What this package adds to the settlement of payments."""
