"""Webhooks in: every event is stored once as it came, and handled once, in one transaction.

    received ──► done
       │  ▲
       ▼  │ later, with backoff
     failed ──► parked      what time will not heal: another API version, an unknown account

Facts that cannot be undone are taken from the verified payload, many events in one transaction.
Whatever can go back and forth is fetched from Stripe first, with no transaction open meanwhile.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
import structlog
from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database, fetch
from takings.errors import NotFound, Unavailable
from takings.payments import facts
from takings.payments.facts import Reader, Readers, Told
from takings.payments.objects import Notice
from takings.payments.payments import Settlement
from takings.payments.stripe import API_VERSION, Stripe

log = structlog.get_logger()

CHANNEL = "takings_events"
BATCH = 500
ATTEMPTS = 10
NOBODY: Readers = {}
LONGEST = timedelta(hours=1)

STORE = """
WITH stored AS (
  INSERT INTO events (id, endpoint, type, api_version, account, livemode, created_at, payload,
                      received_at, status, attempts, next_at)
  SELECT e.*, $9, 'received', 0, $9
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::boolean[],
                $7::timestamptz[], $8::bytea[])
      AS e (id, endpoint, type, version, account, live, created, payload)
   ORDER BY e.id
  ON CONFLICT (id) DO NOTHING
  RETURNING id
)
SELECT id, (SELECT pg_notify($10, '')) FROM stored  -- once for all of them
"""


async def receive(
    database: Database, notices: Sequence[tuple[str, Notice]], *, now: datetime
) -> Sequence[bool]:
    """Store verified notices, each with the endpoint that took it; say of each if it was new."""
    columns = [
        [notice.id for _, notice in notices],
        [endpoint for endpoint, _ in notices],
        [notice.type for _, notice in notices],
        [notice.api_version for _, notice in notices],
        [notice.account for _, notice in notices],
        [notice.live for _, notice in notices],
        [notice.created_at for _, notice in notices],
        [notice.body for _, notice in notices],
    ]
    rows = await database.fetch(STORE, *columns, now, CHANNEL)
    new = {row.id for row in rows}
    return [notice.id in new for _, notice in notices]


CLAIM = """
SELECT id, type, api_version, account, livemode, created_at, payload, attempts FROM events
 WHERE status IN ('received', 'failed') AND next_at <= $1 AND NOT (type = ANY($2::text[]))
 ORDER BY next_at, id LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED
"""

CLAIM_ONE = """
SELECT id, type, api_version, account, livemode, created_at, payload, attempts FROM events
 WHERE id = $1 AND status IN ('received', 'failed') FOR NO KEY UPDATE SKIP LOCKED
"""

DUE = """
SELECT id, type, api_version, account, livemode, created_at, payload, attempts FROM events
 WHERE status IN ('received', 'failed') AND next_at <= $1 AND type = ANY($2::text[])
 ORDER BY next_at, id LIMIT $3
"""

DONE = """
UPDATE events SET status = 'done', attempts = attempts + 1, handled_at = $2, error = NULL
 WHERE id = ANY($1::text[])
"""

TROUBLE = """
UPDATE events SET status = $2, attempts = attempts + 1, error = $3, next_at = $4
 WHERE id = $1 AND status IN ('received', 'failed')  -- another worker may have handled it since
"""


async def process(
    database: Database,
    door: Stripe,
    settlement: Settlement,
    *,
    readers: Readers = NOBODY,
    now: datetime,
) -> int:
    """Handle the events that are due: one batch of facts, one of what must be fetched.

    ``readers`` read the types that are no business of payments.  Answers how many it looked at; 0
    means that nothing is due.  An event that fails alone does not hold up the others: it is tried
    again later, and parked when that is hopeless.
    """
    readers = _all(settlement, readers)
    try:
        looked = await database.run(_facts, door.live, settlement, list(readers), now)
    except Exception:  # noqa: BLE001 - whatever is wrong with one event must not hold up the rest
        looked = await _one_by_one(database, door.live, settlement, list(readers), now)
    for row in await database.fetch(DUE, now, list(readers), BATCH):
        looked += 1
        if not await _fetched(database, door, row, readers[row.type], now):
            break  # Stripe is away: the others would only wait for it one after the other
    return looked


def _all(settlement: Settlement, others: Readers) -> Readers:
    """The readers from above, and our own of what goes back of a payment."""

    async def book(session: AsyncSession, learned: facts.Learned, now: datetime) -> None:
        await facts.book_learned(session, learned, settlement, now)

    return {**dict.fromkeys(facts.FETCHED, Reader(facts.learn, book)), **others}


async def _facts(
    session: AsyncSession, live: bool, settlement: Settlement, read: Sequence[str], now: datetime
) -> int:
    """One transaction: claim events, book their facts, mark them done."""
    rows = await fetch(session, CLAIM, now, read, BATCH)
    good = [row for row in rows if not await _parked(session, row, live, now)]
    await fetch(session, DONE, [row.id for row in good], now)
    await facts.book(session, _platforms(good), settlement, now)  # last: it locks what others need
    return len(rows)


async def _one_by_one(
    database: Database, live: bool, settlement: Settlement, read: Sequence[str], now: datetime
) -> int:
    """The slow path: something in the batch is wrong, so each event has its own transaction."""

    async def alone(session: AsyncSession, event_id: str) -> None:
        for row in await fetch(session, CLAIM_ONE, event_id):
            if not await _parked(session, row, live, now):
                await facts.book(session, _platforms([row]), settlement, now)
                await fetch(session, DONE, [row.id], now)

    async with database.transaction() as session:
        rows = await fetch(session, CLAIM, now, read, BATCH)
    for row in rows:
        try:
            await database.run(alone, row.id)
        except Exception as error:  # noqa: BLE001 - it is noted on the event
            await database.run(_failed, row, error, now)
    return len(rows)


async def _fetched(
    database: Database, door: Stripe, row: Row[Any], reader: Reader, now: datetime
) -> bool:
    """Ask Stripe how things are, then book that and mark the event, in one transaction.

    False if nobody can be asked just now.
    """
    try:
        if await database.run(_parked, row, door.live, now):
            return True
        learned = await reader.learn(database, door, _told(row))

        async def step(session: AsyncSession) -> None:
            for mine in await fetch(session, CLAIM_ONE, row.id):
                await reader.book(session, learned, now)
                await fetch(session, DONE, [mine.id], now)

        await database.run(step)
    except Exception as error:  # noqa: BLE001 - it is noted on the event
        await database.run(_failed, row, error, now)
        return not isinstance(error, Unavailable)
    return True


async def _parked(session: AsyncSession, row: Row[Any], live: bool, now: datetime) -> bool:
    """Whether the event is one that no retry will heal; then it waits for a person."""
    reason = None
    if row.api_version not in (API_VERSION, None):
        reason = f"it speaks API version {row.api_version}, we speak {API_VERSION}"
    elif row.livemode != live:
        reason = f"it is of {'live' if row.livemode else 'test'} mode, we are not"
    elif row.account is not None and not await _knows(session, row.account):
        reason = f"it is about the account {row.account}, which is nobody's here"
    if reason is not None:
        await fetch(session, TROUBLE, row.id, "parked", reason, now)
        log.warning("event_parked", event_id=row.id, type=row.type, reason=reason)
    return reason is not None


KNOWN = "SELECT id FROM hosts WHERE stripe_account = $1"

# Who parks an event of an account and who writes down whose the account is take turns: else what is
# parked in that very moment would stay so.
TAKE_TURNS = "SELECT pg_advisory_xact_lock(hashtextextended('account ' || $1::text, 0))"

UNPARK = """
UPDATE events SET status = 'received', next_at = $2, attempts = 0
 WHERE account = $1 AND status = 'parked'
"""


async def _knows(session: AsyncSession, account: str) -> bool:
    if not await fetch(session, KNOWN, account):
        await fetch(session, TAKE_TURNS, account)
    return bool(await fetch(session, KNOWN, account))


async def unpark(session: AsyncSession, account: str, now: datetime) -> None:
    """What was told of an account goes on, once it is written down whose it is."""
    await fetch(session, TAKE_TURNS, account)
    await fetch(session, UNPARK, account, now)


async def _failed(session: AsyncSession, row: Row[Any], error: Exception, now: datetime) -> None:
    """Note why, and when to try again: later and later, while trying again can help."""
    tries = row.attempts + 1
    hopeless = tries >= ATTEMPTS and not isinstance(error, Unavailable)
    wait = min(timedelta(seconds=2 ** min(tries, 12)), LONGEST)
    status = "parked" if hopeless else "failed"
    text = f"{getattr(error, 'code', type(error).__name__)}: {error}"
    await fetch(session, TROUBLE, row.id, status, text, now + wait)
    log.warning("event_failed", event_id=row.id, type=row.type, status=status, error=text)


REPLAY = """
UPDATE events SET status = 'received', next_at = $2, attempts = 0 WHERE id = $1 RETURNING id
"""


async def replay(database: Database, event_id: str, *, now: datetime) -> None:
    """Handle an event again, whatever became of it; what it did before is not done twice."""
    if not await database.fetch(REPLAY, event_id, now):
        raise NotFound(kind="event", id=event_id)


def _platforms(rows: Sequence[Row[Any]]) -> list[Told]:
    """What the events tell about the platform's own account."""
    return [_told(row) for row in rows if row.account is None]


def _told(row: Row[Any]) -> Told:
    """What an event tells."""
    event = orjson.loads(row.payload)
    snapshot = (event.get("data") or {}).get("object")
    found = snapshot or event.get("related_object") or {}
    return Told(row.type, row.created_at, found, row.account)
