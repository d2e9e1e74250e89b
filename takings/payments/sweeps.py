"""Sweeps: what no webhook told us, we go and find.

Cash is always swept, never believed from an event; the charge behind it proves the payment as well
as its event does.  Events that Stripe could not deliver are
fetched and stored as if they had come.  Payments that stay open are looked up.  Asks that a crash
left behind are carried on.
"""

from collections.abc import Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings.batching import ahead
from takings.database import Database
from takings.errors import Invalid, TakingsError, Unavailable
from takings.payments import (
    asks,
    captures,
    cash,
    facts,
    objects,
    orders,
    payments,
    refunds,
    returns,
    webhooks,
)
from takings.payments.objects import CashLine
from takings.payments.payments import Paid, Settlement
from takings.payments.stripe import Stripe

log = structlog.get_logger()

LOOK_BACK = timedelta(hours=1)
"""How far the slow sweep looks behind the quick one, for lines that Stripe showed late."""

ABANDONED = timedelta(days=9)
"""After how long an open payment is no longer looked up: when even an authorisation has lapsed."""

CURSOR = "SELECT value, swept_at FROM cursors WHERE name = $1"

ADVANCE = """
INSERT INTO cursors AS c (name, value, swept_at) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET value = excluded.value, swept_at = excluded.swept_at
"""


BEGIN = """
INSERT INTO cursors (name, value, swept_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING
"""

QUICK, SLOW = "new_cash", "all_cash"

CALLS = captures.CALLS | orders.CALLS | {refunds.CALL}
"""The calls whose asks are carried on here; of others those take care who write them."""


async def _cursor(database: Database, name: str) -> Row[Any] | None:
    rows = await database.fetch(CURSOR, name)
    return rows[0] if rows else None


async def new_cash(
    database: Database, door: Stripe, settlement: Settlement, *, now: datetime
) -> int:
    """Book the balance transactions that came after the last one we know; answer how many.

    The first time there is none: then all, as ``all_cash`` does.
    """
    found = await _cursor(database, QUICK)
    if found is None:
        return await all_cash(database, door, settlement, now=now)
    booked = 0
    async with aclosing(ahead(door.cash_after(found.value))) as pages:
        async for page in pages:
            booked += await _book(database, door, settlement, page, now)
            await database.fetch(ADVANCE, QUICK, page[-1].id, now)
    return booked


async def all_cash(
    database: Database,
    door: Stripe,
    settlement: Settlement,
    *,
    since: datetime | None = None,
    now: datetime,
) -> int:
    """Book every balance transaction since an instant that is not booked yet; answer how many.

    Unless another is given, the instant lies an hour before the last such sweep that came to its
    end; the first time, before our first payment.  So these sweeps leave no gap, however long
    nobody swept.  A crash starts over, and what was booked is not booked twice.
    """
    booked = 0
    newest: str | None = None
    start = since or await _since(database, now)
    async with aclosing(ahead(door.cash_since(start))) as pages:
        async for page in pages:
            newest = newest or (page[0].id if page else None)
            booked += await _book(database, door, settlement, page, now)
    if since is None:
        await database.fetch(ADVANCE, SLOW, newest or "", now)
        if newest is not None:  # where the quick sweep begins; it goes its own way afterwards
            await database.fetch(BEGIN, QUICK, newest, now)
    return booked


async def _since(database: Database, now: datetime) -> datetime:
    found = await _cursor(database, SLOW)
    rows = await database.fetch("SELECT min(created_at) AS first FROM payments")
    last: datetime = found.swept_at if found is not None else rows[0].first or now
    return last - LOOK_BACK


async def _book(
    database: Database,
    door: Stripe,
    settlement: Settlement,
    page: Sequence[CashLine],
    now: datetime,
) -> int:
    """Book a page in one transaction; if anything is wrong with it, line by line."""
    proofs = [fact for line in page if (fact := _proof(line)) is not None]
    try:
        return await database.run(_step, page, proofs, settlement, now)
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 - one line must not hold up the cash of all others
        log.info("cash_page_by_line", why=str(error))
    return sum([await _line(database, door, settlement, line, now) for line in page])


async def _step(
    session: AsyncSession,
    page: Sequence[CashLine],
    proofs: Sequence[Paid],
    settlement: Settlement,
    now: datetime,
) -> int:
    await payments.settle(session, proofs, settlement, now)
    return await cash.book(session, page, now)


async def _line(
    database: Database, door: Stripe, settlement: Settlement, line: CashLine, now: datetime
) -> int:
    """Book one line: with what it proves, else as it is known, else as bare cash.

    Cash is a fact, and is booked whatever we think of it; what we could not make of it stays open
    in clearing, where the checks name it.
    """
    proof = _proof(line)
    for proofs in ([proof] if proof else [], []):
        try:
            return await database.run(_step, [line], proofs, settlement, now)
        except returns.NotPaid as early:  # a refund whose charge we have not read yet
            found = await door.paid_intent(early.facts["intent"])
            if (paid := facts.by_intent(found, now)) is not None:
                await database.run(payments.settle, [paid], settlement, now)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            log.warning("cash_line_not_understood", line=line.id, why=str(error))
    try:
        return await database.run(cash.book, [line], now, known=False)
    except Invalid as error:  # a currency that we do not know: Stripe's balance will differ
        log.exception("cash_line_not_booked", line=line.id, why=str(error))
        return 0


def _proof(line: CashLine) -> Paid | None:
    """What the charge behind a line proves; a line's charge is as good as its event."""
    if line.category != "charge" or line.source.get("object") != "charge":
        return None
    return facts.by_charge(line.source, line.created_at)


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
    in the end a payment that nobody completed is left alone.
    """
    settled = 0
    for row in await database.fetch(OPEN, now, before - ABANDONED, before, most):
        try:
            settled += await _look_up(database, door, settlement, row, now)
        except Unavailable:
            raise
        except TakingsError as error:  # this one alone; its turn comes again
            log.warning("payment_not_looked_up", payment=row.id, why=error.message)
    return settled


async def _look_up(
    database: Database, door: Stripe, settlement: Settlement, row: Row[Any], now: datetime
) -> bool:
    """Book what has become of an open payment; say whether it was paid."""
    intent = row.intent_id
    if row.session_id:
        session = await door.fetch("checkout.sessions", row.session_id)
        intent = session["payment_intent"]
        if session["status"] == "expired":
            await database.run(payments.cancel, [row.id], settlement, now)
    found = await door.paid_intent(intent) if intent else None
    if found is None:
        return False
    if found["status"] == "canceled":
        await database.run(payments.cancel, [row.id], settlement, now)
    if found["status"] == "requires_capture":
        await database.run(captures.authorised, found, now)
    if found["status"] == "requires_payment_method":
        await database.run(captures.failed, row.id)
    paid = facts.by_intent(found, now)
    await database.run(payments.settle, [paid] if paid else [], settlement, now)
    return paid is not None


async def unanswered(
    database: Database, door: Stripe, settlement: Settlement, *, now: datetime
) -> int:
    """Carry on the asks that a crash or an outage left behind; answer how many were answered."""
    done = 0
    for key in await asks.due(database, CALLS, now):
        ask = await asks.take(database, key, now)
        if ask is None:
            continue
        try:
            if ask.call == refunds.CALL:
                await refunds.carry(database, door, ask, now=now)
            elif ask.call in captures.CALLS:
                await captures.carry(database, door, ask, settlement, now=now)
            else:
                await orders.ask(database, door, ask, settlement, now=now)
            done += 1
        except TakingsError as error:
            log.warning("ask_failed", key=key, error=error.code, why=error.message)
            if isinstance(error, Unavailable):
                break  # the others would only wait for it one after the other
    return done
