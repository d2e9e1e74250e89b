"""Sweeps: what no webhook told us, we go and find.

Cash is always swept, never believed from an event; the charge behind it proves the payment as well
as its event does.  Events that Stripe could not deliver are
fetched and stored as if they had come.  Payments that stay open are looked up.  Asks that a crash
left behind are carried on.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database, fetch
from takings.errors import TakingsError
from takings.payments import asks, cash, facts, objects, orders, payments, refunds, webhooks
from takings.payments.objects import CashLine
from takings.payments.payments import Paid, Settlement
from takings.payments.stripe import Stripe

log = structlog.get_logger()

LOOK_BACK = timedelta(hours=1)
"""How far the slow sweep looks behind the quick one, for lines that Stripe showed late."""

ABANDONED = timedelta(days=7)
"""After how long an open payment is no longer looked up."""

CURSOR = "SELECT value, swept_at FROM cursors WHERE name = $1"

ADVANCE = """
INSERT INTO cursors AS c (name, value, swept_at) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET value = excluded.value, swept_at = excluded.swept_at
"""


async def _cursor(database: Database, name: str) -> Row[Any] | None:
    rows = await database.fetch(CURSOR, name)
    return rows[0] if rows else None


async def new_cash(
    database: Database, door: Stripe, settlement: Settlement, *, now: datetime
) -> int:
    """Book the balance transactions that came after the last one we know; answer how many.

    The first time there is none: then all of the last hour's, and older ones by ``all_cash``.
    """
    found = await _cursor(database, "cash")
    if found is None:
        return await all_cash(database, door, settlement, since=now - LOOK_BACK, now=now)
    after: str = found.value
    booked = 0
    while page := await door.cash_after(after):
        after = page[-1].id
        booked += await _book(database, door, settlement, page, now, cursor=after)
    return booked


async def all_cash(
    database: Database, door: Stripe, settlement: Settlement, *, since: datetime, now: datetime
) -> int:
    """Book every balance transaction since an instant that is not booked yet; answer how many.

    Newest page first.  The cursor moves when all pages are done, so a crash starts over, and what
    was booked is not booked twice.
    """
    booked = 0
    newest: str | None = None
    async for page in door.cash_since(since):
        newest = newest or (page[0].id if page else None)
        booked += await _book(database, door, settlement, page, now)
    if newest is not None:
        await database.fetch(ADVANCE, "cash", newest, now)
    return booked


async def _book(
    database: Database,
    door: Stripe,
    settlement: Settlement,
    page: Sequence[CashLine],
    now: datetime,
    *,
    cursor: str | None = None,
) -> int:
    """Book one page in one transaction, after the payments that its charges prove."""
    proofs = [fact for line in page if (fact := _proof(line)) is not None]

    async def step(session: AsyncSession) -> int:
        await payments.settle(session, proofs, settlement, now)
        new = await cash.book(session, page, now)
        if cursor is not None:
            await fetch(session, ADVANCE, "cash", cursor, now)
        return new

    while True:
        try:
            return await database.run(step)
        except refunds.NotPaid as early:  # a refund whose charge is on a page that we have not read
            if any(fact.payment == early.facts["id"] for fact in proofs):
                raise
            found = await door.fetch("payment_intents", early.facts["intent"])
            proofs.append(payments.paid_by_intent(found))


def _proof(line: CashLine) -> Paid | None:
    """What the charge behind a line proves; a line's charge is as good as its event."""
    return facts.by_charge(line.source) if line.source.get("object") == "charge" else None


async def lost_events(database: Database, door: Stripe, *, since: datetime, now: datetime) -> int:
    """Store the events that Stripe could not deliver, as if they had come; answer how many."""
    stored = 0
    async for page in door.undelivered(since):
        told = [objects.notice(event) for event in page]
        notices = [("connect" if one.account else "account", one) for one in told]
        stored += sum(await webhooks.receive(database, notices, now=now)) if notices else 0
    return stored


OPEN = """
UPDATE payments SET looked_at = $1
 WHERE id IN (SELECT id FROM payments
               WHERE state IN ('open', 'processing', 'authorised')
                 AND created_at BETWEEN $2 AND $3
                 AND (intent_id IS NOT NULL OR session_id IS NOT NULL)
               ORDER BY looked_at NULLS FIRST, created_at LIMIT $4 FOR UPDATE SKIP LOCKED)
RETURNING id, intent_id, session_id
"""


async def open_payments(
    database: Database,
    door: Stripe,
    settlement: Settlement,
    *,
    before: datetime,
    now: datetime,
    most: int = 100,
) -> int:
    """Look up payments that have been open since before an instant; answer how many are settled.

    An event may be lost for good; this finds out all the same.  Those never looked at come first;
    after a week a payment that nobody completed is left alone.
    """
    settled = 0
    for row in await database.fetch(OPEN, now, before - ABANDONED, before, most):
        kind, object_id = (
            ("checkout.sessions", row.session_id)
            if row.session_id
            else ("payment_intents", row.intent_id)
        )
        found = await door.fetch(kind, object_id)
        event = EVENT_OF.get((kind, found["status"]))
        if event is not None:
            await database.run(facts.book, [(event, found)], settlement, now)
            settled += event in facts.PROOFS
    return settled


EVENT_OF: Mapping[tuple[str, str], str] = {
    ("payment_intents", "succeeded"): "payment_intent.succeeded",
    ("payment_intents", "canceled"): "payment_intent.canceled",
    ("checkout.sessions", "complete"): "checkout.session.completed",
    ("checkout.sessions", "expired"): "checkout.session.expired",
}
"""Which event a looked-up object is as good as."""


async def unanswered(
    database: Database, door: Stripe, settlement: Settlement, *, now: datetime
) -> int:
    """Carry on the asks that a crash or an outage left behind; answer how many were answered."""
    done = 0
    for key in [*await asks.due(database, now)]:
        ask = await asks.take(database, key, now)
        if ask is None:
            continue
        try:
            if ask.call == "refunds.create":
                await refunds.carry(database, door, ask, now=now)
            else:
                await orders.ask(database, door, ask, settlement, now=now)
            done += 1
        except TakingsError as error:
            log.warning("ask_failed", key=key, error=error.code, why=error.message)
    return done
