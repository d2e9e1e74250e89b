"""Cancellations: every ticket of a Space that will not be ends, and its money goes back.

A Space is cancelled in one step, and at that moment nothing of it can be held or bought any more.
What was held, bought and waited for ends afterwards, a few hundred tickets at a time, each with
what is owed for it: what is done is a row, so whoever comes next goes on from there.  A run is
called off when nothing of it is left; a payment that a bank has not decided yet keeps it open.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database, fetch
from takings.errors import Conflict
from takings.money import Money
from takings.spaces import spaces
from ticketing import returns, waitlist

BATCH: Final = 500
"""How many tickets end in one transaction, while nobody else can lock their run."""

RUNS_AT_ONCE: Final = 100
"""How many runs, drawn by lot: one that cannot be ended is not always in the others' way."""

NO_SHOW: Final = timedelta(hours=2)
"""How long after its time a Space with tickets can still go live; then it is cancelled."""


class NotCancelled(Conflict):
    """The Space {id} is {state}: nothing of it is called off.

    Look when it is cancelled.
    """


MISSED = """
UPDATE spaces s SET state = 'cancelled', ended_at = $1, no_show = true
 WHERE s.state = 'scheduled' AND s.starts_at <= $1::timestamptz - $2::interval
   AND EXISTS (SELECT FROM runs r WHERE r.space_id = s.id)
RETURNING s.id
"""


async def no_shows(database: Database, *, now: datetime) -> int:
    """Cancel every Space with tickets that did not go live in time; answer how many."""
    return len(await database.fetch(MISSED, now, NO_SHOW))


DUE = """
SELECT r.id FROM runs r JOIN spaces s ON s.id = r.space_id
 WHERE s.state = 'cancelled' AND r.cancelled_at IS NULL ORDER BY random() LIMIT $1
"""


async def carry(database: Database, *, now: datetime) -> int:
    """End what is left of cancelled Spaces' runs; answer how many tickets ended.

    Their money is owed from the same moment (``returns.pay``).
    """
    voided = 0
    for run in await database.fetch(DUE, RUNS_AT_ONCE):
        while ended := await database.run(_end, run.id, now):
            voided += ended
    return voided


SPACE = """
SELECT lock_run(r.id), CASE WHEN s.no_show THEN 'no_show' ELSE 'cancelled' END AS cause,
       greatest(s.ended_at, $2) AS moment
  FROM runs r JOIN spaces s ON s.id = r.space_id WHERE r.id = $1
"""

# One whose payment is open ends at Stripe first (``endings.py``).
ENDING = "UPDATE holds SET state = 'expiring' WHERE run_id = $1 AND state = 'held' AND paying"

FREE = """
SELECT free_holds($1, ARRAY(SELECT id FROM holds WHERE run_id = $1 AND state = 'held'), 'expired',
                  $2)
"""

VOID = """
SELECT void_tickets($1, ARRAY(
  SELECT id FROM tickets WHERE run_id = $1 AND state = 'valid' ORDER BY number LIMIT $4), $2, $3)
  AS many
"""

OVER = """
UPDATE runs SET cancelled_at = $2
 WHERE id = $1
   AND NOT EXISTS (SELECT FROM holds WHERE run_id = $1 AND state IN ('held', 'expiring'))
   AND NOT EXISTS (SELECT FROM tickets WHERE run_id = $1 AND state = 'valid')
"""


async def _end(session: AsyncSession, run: str, now: datetime) -> int:
    """End what a run holds, and some of its tickets; answer how many tickets, 0 when all are."""
    (space,) = await fetch(session, SPACE, run, now)
    await waitlist.lapse(session, run, space.moment)  # first: nobody is offered what becomes free
    await fetch(session, ENDING, run)
    await fetch(session, FREE, run, space.moment)
    (voided,) = await fetch(session, VOID, run, space.cause, space.moment, BATCH)
    if not voided.many:
        await fetch(session, OVER, run, space.moment)
    return int(voided.many or 0)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the cancellation of a Space has come.

    Of ``tickets`` that were valid, ``voided`` have ended.  Of ``to_refund`` that cost something, or
    were paid too late, ``refunded`` have their money, and ``failed`` were sent back by a bank.
    ``paused`` says why refunds wait, where they do.
    """

    space: str
    no_show: bool
    tickets: int
    voided: int
    to_refund: int
    refunded: int
    failed: int
    amounts: tuple[Money, ...]
    paused: str | None
    done: bool


TICKETS = """
SELECT s.no_show, count(t.id) AS tickets, count(t.voided_at) AS voided,
       NOT EXISTS (SELECT FROM runs r WHERE r.space_id = s.id AND r.cancelled_at IS NULL) AS over
  FROM spaces s
  LEFT JOIN runs r ON r.space_id = s.id
  LEFT JOIN tickets t ON t.run_id = r.id AND t.number IS NOT NULL
                     AND coalesce(t.voided_at >= s.ended_at, true)
 WHERE s.id = $1 GROUP BY s.id
"""

REFUNDS = """
SELECT count(*) AS to_refund, count(*) FILTER (WHERE f.state = 'failed') AS failed,
       count(*) FILTER (WHERE o.done_at IS NOT NULL AND f.state IS DISTINCT FROM 'failed')
         AS refunded,
       count(*) FILTER (WHERE o.done_at IS NULL) AS owed,
       max(o.error) FILTER (WHERE o.done_at IS NULL AND o.error LIKE '%' || $2 || '%') AS paused
  FROM spaces s JOIN runs r ON r.space_id = s.id JOIN tickets t ON t.run_id = r.id
  JOIN ticket_refunds o ON o.ticket_id = t.id AND o.created_at >= s.ended_at
  LEFT JOIN refunds f ON f.id = o.refund_id
 WHERE s.id = $1
"""

AMOUNTS = """
SELECT r.currency, sum(p.minor)::bigint AS minor
  FROM spaces s JOIN runs r ON r.space_id = s.id JOIN tickets t ON t.run_id = r.id
  JOIN ticket_refunds o ON o.ticket_id = t.id AND o.created_at >= s.ended_at
  JOIN refunds f ON f.id = o.refund_id AND f.state = 'booked'
  JOIN refund_lines p ON p.refund_id = f.id
  JOIN lines l ON l.id = p.line_id AND l.kind = 'ticket' AND l.subject = t.id
 WHERE s.id = $1 GROUP BY r.currency ORDER BY r.currency
"""


async def progress(session: AsyncSession, space_id: str) -> Progress:
    """How far the cancellation of a Space has come; raises NotFound or NotCancelled."""
    space = await spaces.get(session, space_id)
    if space.state != "cancelled":
        raise NotCancelled(id=space_id, state=space.state)
    (ended,) = await fetch(session, TICKETS, space_id)
    (money,) = await fetch(session, REFUNDS, space_id, returns.EMPTY)
    amounts = await fetch(session, AMOUNTS, space_id)
    return Progress(
        space=space_id,
        no_show=ended.no_show,
        tickets=ended.tickets,
        voided=ended.voided,
        to_refund=money.to_refund,
        refunded=money.refunded,
        failed=money.failed,
        amounts=tuple(Money(row.minor, row.currency) for row in amounts),
        paused=money.paused,
        done=ended.over and not money.owed,
    )
