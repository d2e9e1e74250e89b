"""Captures: money that is authorised first, and taken when its time has come, or let go.

    open ──► authorised ──► capturing ──► paid       when the undo time is over, or a tab closes
      │          │              │
      └──────────┴──────────────┴──► cancelled       undone, nothing to take, or lapsed at the bank

Undo and capture meet under the payment's lock, and the first has won: what is capturing cannot be
undone, what is cancelled is never captured.  The winner's ask is written in the same transaction,
and carried to Stripe with none open; a crash leaves it to ``sweeps.unanswered``.  What became of it
says the object at Stripe, so an ask that Stripe did not do is seen, and asked anew.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database, fetch
from takings.errors import NotFound
from takings.payments import asks, payments
from takings.payments.asks import Ask
from takings.payments.objects import Object
from takings.payments.payments import Settlement
from takings.payments.stripe import Call, Stripe

Capture = Literal["at_once", "after_undo", "at_close"]
"""When a payment's money is taken: when it is paid, ``UNDO`` later, or when its tab is closed."""

UNDO: Final = timedelta(seconds=10)
"""How long a tip can be undone, from when we know that its money is authorised."""

CALLS: Final[frozenset[Call]] = frozenset(
    {"payment_intents.capture", "payment_intents.cancel", "checkout.sessions.expire"}
)
"""The calls that ``carry`` carries."""

BATCH = 50

AUTHORISED = """
UPDATE payments
   SET state = 'authorised', intent_id = coalesce(intent_id, $2),
       capture_at = CASE capture WHEN 'after_undo' THEN $3::timestamptz + $4::interval END
 WHERE id = $1 AND state IN ('open', 'processing')
"""


async def authorised(session: AsyncSession, intent: Object, now: datetime) -> None:
    """The bank has set the money aside: from now on it can be captured, and the undo time runs."""
    payment = intent["metadata"]["takings_payment"]
    await fetch(session, AUTHORISED, payment, intent["id"], now, UNDO)


PROCESS = "UPDATE payments SET state = 'processing' WHERE id = $1 AND state = 'open'"


async def processing(session: AsyncSession, payment: str) -> None:
    """A debit is under way: the bank decides in the next days."""
    await fetch(session, PROCESS, payment)


OPEN = "UPDATE payments SET state = 'open' WHERE id = $1 AND state = 'processing'"


async def failed(session: AsyncSession, payment: str) -> None:
    """An attempt to pay came to nothing, and the next one may be made."""
    await fetch(session, OPEN, payment)


LOCK = """
SELECT id, state, capture, capture_at, currency, intent_id, session_id
  FROM payments WHERE id = $1 FOR NO KEY UPDATE
"""


async def lock(session: AsyncSession, payment_id: str) -> Row[Any]:
    """The payment, held until the transaction ends: nobody else captures it or lets it go."""
    for row in await fetch(session, LOCK, payment_id):
        return row
    raise NotFound(kind="payment", id=payment_id)


async def let_go(
    session: AsyncSession, payment: Row[Any], settlement: Settlement, now: datetime
) -> Ask | None:
    """Cancel a payment whose lock is held; answer what is to be asked of Stripe, if anything.

    Nothing is where its opening is still under way: ``orders`` then lets go what that made.
    """
    await payments.cancel(session, [payment.id], settlement, now)
    return await end(session, payment, now)


async def end(session: AsyncSession, payment: Row[Any], now: datetime) -> Ask | None:
    """What is to be asked of Stripe so that nobody can pay a payment any more, if anything.

    Its lock is held.  It is over when Stripe says so: who pays first has won.  Nothing is asked
    where that was asked before, or while Stripe's object is not known.
    """
    if payment.intent_id is not None:
        return await _cancel(session, payment.id, payment.intent_id, now)
    if payment.session_id is None or await asks.known(session, f"expire:{payment.id}"):
        return None
    params = {"id": payment.session_id}
    return await asks.write(
        session, f"expire:{payment.id}", "checkout.sessions.expire", params, now
    )


async def _cancel(session: AsyncSession, payment: str, intent: str, now: datetime) -> Ask | None:
    key, params = f"cancel:{payment}", {"id": intent}
    if await asks.known(session, key):
        return None
    return await asks.write(session, key, "payment_intents.cancel", params, now)


REDUCE = """
UPDATE payments SET state = 'capturing', minor = $2, fees_covered = $3 WHERE id = $1
RETURNING id, intent_id, minor
"""


async def reduced(
    session: AsyncSession, payment_id: str, minor: int, fees_covered: int, now: datetime
) -> Ask:
    """Capture this much of what is authorised, and no more; the rest is let go by Stripe."""
    rows = await fetch(session, REDUCE, payment_id, minor, fees_covered)
    return await _capture(session, rows[0], now)


async def _capture(session: AsyncSession, row: Row[Any], now: datetime) -> Ask:
    params = {"id": row.intent_id, "amount_to_capture": row.minor}
    return await asks.write(session, f"capture:{row.id}", "payment_intents.capture", params, now)


DUE = """
UPDATE payments SET state = 'capturing'
 WHERE id IN (SELECT id FROM payments WHERE state = 'authorised' AND capture_at <= $1
               ORDER BY capture_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED)
RETURNING id, intent_id, minor
"""


async def due(database: Database, door: Stripe, settlement: Settlement, *, now: datetime) -> int:
    """Capture what can no longer be undone, a batch of it; answer how many that were."""

    async def step(session: AsyncSession) -> list[Ask]:
        rows = await fetch(session, DUE, now, BATCH)
        return [await _capture(session, row, now) for row in rows]

    found = await database.run(step)
    await carry_all(database, door, found, settlement, now=now)
    return len(found)


async def carry_all(
    database: Database, door: Stripe, found: Sequence[Ask], settlement: Settlement, *, now: datetime
) -> None:
    """Carry several asks, a few side by side; what fails is left to ``sweeps.unanswered``."""
    by_key = {ask.key: ask for ask in found}

    async def one(key: str) -> None:
        await carry(database, door, by_key[key], settlement, now=now)

    await asks.side_by_side(by_key, one)


async def carry(
    database: Database, door: Stripe, ask: Ask, settlement: Settlement, *, now: datetime
) -> None:
    """Carry a capture or a letting-go to Stripe, and record how the object is then."""
    answer = await asks.answer(database, door, ask, now)
    further = await database.run(_record, ask, answer, settlement, now)
    if further is not None:
        await carry(database, door, further, settlement, now=now)


async def _record(
    session: AsyncSession, ask: Ask, found: Object, settlement: Settlement, now: datetime
) -> Ask | None:
    """Book what has become of it; answer what is to be asked at once because of that."""
    if not await asks.answered(session, ask.key, now):
        return None
    payment, status = ask.key.split(":")[1], found["status"]
    if status == "complete":  # a session that was paid before it could expire: its intent is known
        return await _cancel(session, payment, found["payment_intent"], now)
    if status == "succeeded":
        await payments.settle(session, [payments.paid_by_intent(found, now)], settlement, now)
    elif status in ("canceled", "expired"):
        await payments.cancel(session, [payment], settlement, now)
    else:  # Stripe did not do it, and the key would only bring the same answer
        await asks.anew(session, ask, now)
    return None
