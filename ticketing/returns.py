"""Returns: tickets given back, and the money of every ticket that ended, by one path.

    owed ──► asked ──► done        a refund of Stripe's, of exactly the lines of these tickets
      ▲        │
      └────────┘ refused: owed again, and asked later, under another refund

Whatever ends a ticket (``void_tickets``) writes in its transaction that its money is owed; asking
Stripe for it comes afterwards.  Asking, too, is written down first: the refund, what it reserves,
and for which tickets it is, in one transaction.  So a crash anywhere leaves rows that say how far
it has come, and nothing is paid back twice.  An empty balance at Stripe pauses all refunds in its
currency; they go on by themselves.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from takings import records
from takings.database import Database, fetch
from takings.errors import Conflict, Refused, Unavailable
from takings.payments import asks, refunds
from takings.payments.asks import Ask, InFlight
from takings.payments.stripe import Stripe, StripeRefused
from ticketing import tickets
from ticketing.sale_tables import Ticket
from ticketing.tickets import Issued

BATCH: Final = 50
"""How many payments one call of ``pay`` is about: once a second, half of what Stripe takes."""

SOON: Final = timedelta(minutes=1)
"""How long a refused refund waits until it is asked anew; each time twice as long."""

LATEST: Final = timedelta(hours=1)
"""How long at most."""

EMPTY: Final = "balance_insufficient"
"""Stripe's word for it."""

REASONS: Final[Mapping[str, str]] = {
    "asked": "the ticket was given back",
    "cancelled": "the Space was cancelled",
    "rescheduled": "the Space was moved to another time",
    "no_show": "the Space never went live",
    "no_seat": "paid too late for a place",
}


class RefundNotOffered(Refused):
    """Tickets of the run {run} are not taken back by wish, or its Space has no time yet.

    Pass the ticket on instead; of a Space that is cancelled or moved every ticket is refunded.
    """


class RefundTooLate(Conflict):
    """The ticket {id} cannot be given back any more: {why}.

    Pass it on, as long as the Space is not over.
    """


class BalanceEmpty(Unavailable):
    """Stripe's balance cannot pay the refund {id} now.

    Nothing is lost: refunds in this currency go on when there is money again.
    """


async def give_back(
    database: Database, door: Stripe, ticket_id: str, *, listener: str, now: datetime
) -> Issued:
    """End a ticket by its owner's wish; its place goes on sale, its money to who paid; repeatable.

    That Stripe refuses or is away changes nothing about it: then the money is owed, and a worker
    asks again.  Raises NotFound, NotYourTicket, TicketNotPaid, TicketVoid, TicketUsed,
    RefundNotOffered or RefundTooLate.
    """
    payment = await database.run(_give_back, ticket_id, listener, now)
    if payment is not None:
        with suppress(Refused, Unavailable):
            await _carry(database, door, payment, now)
    return await tickets.get(database, ticket_id)


LOCK_RUN = "SELECT lock_run(run_id) FROM tickets WHERE id = $1"

VOID = "SELECT void_tickets($1, $2::text[], $3, $4) AS many"

PAYMENT = "SELECT payment_id FROM purchases WHERE id = $1"


async def _give_back(
    session: AsyncSession, ticket_id: str, listener: str, now: datetime
) -> str | None:
    """End it, under the lock of its run; answer which payment owes something for it."""
    await fetch(session, LOCK_RUN, ticket_id)
    ticket = await tickets.lock(session, ticket_id)
    rows = await fetch(session, PAYMENT, ticket.purchase_id)
    payment: str | None = rows[0].payment_id
    refund = (await tickets.of(session, ticket_id)).refund
    again = refund is not None and refund.cause in ("asked", "rescheduled")
    if not again or ticket.listener_id != listener:
        await tickets.check_usable(session, ticket, listener)
        cause = await _cause(session, ticket, now)
        await fetch(session, VOID, ticket.run_id, [ticket_id], cause, now)
    return payment


RULES = """
SELECT s.state, s.starts_at, s.starts_at - r.refund_until_h * interval '1 hour' AS until,
       s.rescheduled_at > $2::timestamptz AS moved
  FROM runs r JOIN spaces s ON s.id = r.space_id WHERE r.id = $1
"""


async def _cause(session: AsyncSession, ticket: Ticket, now: datetime) -> str:
    """Why the ticket can be given back now; raises where it cannot."""
    (rule,) = await fetch(session, RULES, ticket.run_id, ticket.created_at)
    if rule.state == "cancelled":
        raise RefundTooLate(id=ticket.id, why="the Space is cancelled, its money comes by itself")
    if rule.state != "scheduled":
        raise RefundTooLate(id=ticket.id, why="the Space has begun")
    if rule.until is not None and now <= rule.until:
        return "asked"
    if rule.moved and now < rule.starts_at:
        return "rescheduled"
    if rule.until is None:
        raise RefundNotOffered(run=ticket.run_id)
    raise RefundTooLate(id=ticket.id, why=f"that was possible until {rule.until.isoformat()}")


DUE = """
WITH paused AS (
  SELECT r.currency
    FROM ticket_refunds o JOIN tickets t ON t.id = o.ticket_id JOIN runs r ON r.id = t.run_id
   WHERE o.done_at IS NULL AND o.next_at > $1 AND o.error LIKE '%' || $3 || '%'
)
SELECT b.payment_id
  FROM ticket_refunds o JOIN tickets t ON t.id = o.ticket_id JOIN runs r ON r.id = t.run_id
  JOIN purchases b ON b.id = t.purchase_id
 WHERE o.done_at IS NULL AND o.refund_id IS NULL AND o.next_at <= $1
   AND r.currency NOT IN (SELECT currency FROM paused)
 ORDER BY o.next_at, o.ticket_id LIMIT $2
"""


async def pay(database: Database, door: Stripe, *, now: datetime) -> int:
    """Pay back what is owed, a batch of payments; answer how many refunds are done since.

    Stops where Stripe is away or its balance is empty.
    """
    done = await _record(database, None, now)  # what others carried, or a crash has left
    rows = await database.fetch(DUE, now, BATCH, EMPTY)

    async def one(payment: str) -> None:
        nonlocal done
        done += await _carry(database, door, payment, now)

    await asks.side_by_side(dict.fromkeys(row.payment_id for row in rows), one)
    return done


# Done when Stripe has taken it: one that a bank sends back later is a matter for a person.
RECORD = """
UPDATE ticket_refunds o
   SET done_at = CASE r.state WHEN 'refused' THEN NULL ELSE $1::timestamptz END,
       refund_id = CASE r.state WHEN 'refused' THEN NULL ELSE r.id END,
       next_at = CASE r.state WHEN 'refused'
                 THEN $1::timestamptz + least($2::interval * 2 ^ least(o.attempts - 1, 20),
                                              $3::interval)
                 ELSE o.next_at END,
       error = r.error
  FROM refunds r
 WHERE r.id = o.refund_id AND o.done_at IS NULL AND r.state <> 'asked'
   AND ($4::text[] IS NULL OR o.ticket_id = ANY($4))
RETURNING o.ticket_id, o.done_at
"""


async def _record(database: Database, these: Sequence[str] | None, now: datetime) -> int:
    """Note what became of refunds, those of these tickets or all; answer how many are done."""
    rows = await database.fetch(RECORD, now, SOON, LATEST, these)
    return sum(row.done_at is not None for row in rows)


async def _carry(database: Database, door: Stripe, payment: str, now: datetime) -> int:
    """Ask Stripe for what a payment's tickets are owed; answer how many of them have it."""
    these, ask = await database.run(_ask, payment, now)
    if ask is None:
        return 0
    try:
        await refunds.carry(database, door, ask, now=now)
    except StripeRefused as error:
        if error.facts["stripe_code"] == EMPTY:
            raise BalanceEmpty(id=ask.key.partition(":")[2]) from error
        raise
    finally:
        done = await _record(database, these, now)
    return done


# Two workers at one payment: the second finds nothing that is free.
OWED = """
SELECT o.ticket_id, o.cause, l.id AS line
  FROM ticket_refunds o JOIN tickets t ON t.id = o.ticket_id
  JOIN purchases b ON b.id = t.purchase_id
  JOIN lines l ON l.payment_id = b.payment_id AND l.kind = 'ticket' AND l.subject = t.id
 WHERE b.payment_id = $1 AND o.done_at IS NULL AND o.refund_id IS NULL AND o.next_at <= $2
 ORDER BY o.ticket_id FOR UPDATE OF o SKIP LOCKED
"""

ASKED = """
UPDATE ticket_refunds SET refund_id = $2, attempts = attempts + 1, error = NULL
 WHERE ticket_id = ANY($1::text[])
"""

RETURNED = "UPDATE ticket_refunds SET done_at = $2 WHERE ticket_id = ANY($1::text[])"

WAIT = "UPDATE ticket_refunds SET next_at = $2 WHERE ticket_id = ANY($1::text[])"


async def _ask(
    session: AsyncSession, payment: str, now: datetime
) -> tuple[Sequence[str], Ask | None]:
    """Write down one refund for all tickets of a payment that are owed theirs; and for which."""
    owed = await fetch(session, OWED, payment, now)
    if not owed:
        return (), None
    these, reason = [row.ticket_id for row in owed], REASONS[owed[0].cause]
    refund = records.new_id("ref")
    lines = {row.line: row.cause != "asked" for row in owed}  # by wish, a covered card fee stays
    try:
        ask = await refunds.rest(session, refund, payment, lines, reason, now)
    except InFlight:  # somebody is refunding it by hand, or the bank has it
        await fetch(session, WAIT, these, now + SOON)
        return these, None
    if ask is None:
        await fetch(session, RETURNED, these, now)
    else:
        await fetch(session, ASKED, these, refund)
    return these, ask
