"""Asks: what we want of Stripe is a row first, and a call second.

The row says which call, with which parameters, under which idempotency key.  It is committed
together with what it is for; whoever holds its lease makes the call; the answer is recorded
together with its effect.  A crash anywhere leaves a row that the next run finishes, under the same
key and with the same parameters, so that Stripe does it once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
import structlog
from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database, fetch
from takings.errors import Conflict, TakingsError, Unavailable
from takings.payments.objects import Object
from takings.payments.stripe import (
    CLOCK_BOUND,
    KEY_LIFE,
    Call,
    Stripe,
    StripeRefused,
    StripeStuck,
)

log = structlog.get_logger()

LEASE = timedelta(seconds=60)
"""Longer than all tries of one call to Stripe together."""

LONGEST = timedelta(hours=1)
"""How long what Stripe did not do waits at most until it is asked anew."""

AT_ONCE: Final = 8
"""How many calls to Stripe one batch makes side by side."""


class InFlight(Conflict):
    """The same request is being worked on right now.

    Send it again in a moment to get its answer.
    """


@dataclass(frozen=True, slots=True)
class Ask:
    """One thing asked of Stripe."""

    key: str
    call: Call
    params: Mapping[str, Any]
    asked_at: datetime
    again: bool  # an earlier try may have had its effect
    expired: bool  # Stripe may have forgotten the key

    @property
    def about(self) -> str | None:
        """The object of Stripe's that it changes; None where it makes one, if only of another."""
        return None if self.call.endswith(".create") else self.params.get("id")


WRITE = """
INSERT INTO asks (key, call, params, leased_until, attempts, first_asked_at)
VALUES ($1, $2, $3::jsonb, $4::timestamptz + $5::interval, 1, $4)
"""

TAKE = """
UPDATE asks
   SET leased_until = $2::timestamptz + $3::interval, attempts = attempts + 1
 WHERE key = $1 AND answered_at IS NULL AND leased_until <= $2
RETURNING key, call, params, first_asked_at, attempts
"""

TAKE_DUE = """
UPDATE asks
   SET leased_until = $1::timestamptz + $2::interval, attempts = attempts + 1
 WHERE key IN (SELECT key FROM asks
                WHERE answered_at IS NULL AND leased_until <= $1 AND call = ANY($3::text[])
                ORDER BY leased_until, key LIMIT $4 FOR UPDATE SKIP LOCKED)
RETURNING key, call, params, first_asked_at, attempts
"""

WRITE_MANY = """
INSERT INTO asks (key, call, params, leased_until, attempts, first_asked_at)
SELECT key, $3, params::jsonb, $4, 0, $4 FROM unnest($1::text[], $2::text[]) AS a (key, params)
"""

DUE = """
SELECT key FROM asks
 WHERE answered_at IS NULL AND leased_until <= $1 AND call = ANY($2::text[])
 ORDER BY leased_until LIMIT $3
"""

FREE = "UPDATE asks SET leased_until = $2 WHERE key = $1 AND answered_at IS NULL"

ANSWERED = """
UPDATE asks SET answered_at = $2 WHERE key = ANY($1::text[]) AND answered_at IS NULL RETURNING key
"""


async def write(
    session: AsyncSession,
    key: str,
    call: Call,
    params: Mapping[str, Any],
    now: datetime,
    *,
    lease: timedelta = LEASE,
) -> Ask:
    """Write down what will be asked, and take its lease: the writer is the one who calls."""
    text = orjson.dumps(params).decode()
    await fetch(session, WRITE, key, call, text, now, lease)
    return Ask(key, call, params, now, again=False, expired=False)


async def take(database: Database, key: str, now: datetime) -> Ask | None:
    """The ask, if nobody has answered it and nobody else is at it."""
    rows = await database.fetch(TAKE, key, now, LEASE)
    return _taken(rows[0], now) if rows else None


def _taken(row: Row[Any], now: datetime) -> Ask:
    params = orjson.loads(row.params) if isinstance(row.params, str) else row.params
    expired = now - row.first_asked_at > KEY_LIFE
    again = row.attempts > 1
    return Ask(row.key, row.call, params, row.first_asked_at, again=again, expired=expired)


async def write_many(
    session: AsyncSession, call: Call, asked: Mapping[str, Mapping[str, Any]], now: datetime
) -> None:
    """Write down what will be asked, by key: due at once, to whoever takes it first."""
    texts = [orjson.dumps(params).decode() for params in asked.values()]
    await fetch(session, WRITE_MANY, list(asked), texts, call, now)


async def take_due(
    database: Database, calls: Collection[Call], now: datetime, *, limit: int
) -> list[Ask]:
    """Unanswered asks of these calls that nobody is at, with their leases."""
    rows = await database.fetch(TAKE_DUE, now, LEASE, list(calls), limit)
    return [_taken(row, now) for row in rows]


async def answer(database: Database, door: Stripe, ask: Ask, now: datetime) -> Object | None:
    """What Stripe made of an ask; None if it made nothing and must not be asked again.

    Where asking again would not be safe (Stripe may have forgotten the key) or of no use (it
    failed, and will repeat that), Stripe's own list says what became of it.  Of an ask that changes
    an object, that object says it, also where Stripe refused: the caller sees whether it was done.
    Where Stripe is away the ask is free again for whoever comes next.
    """
    try:
        if not ask.expired:
            with suppress(StripeStuck):
                return await door.ask(ask.call, ask.params, ask.key)
        return await _looked_up(door, ask)
    except StripeRefused:
        if (ask.again or ask.about) and (found := await _looked_up(door, ask)) is not None:
            return found  # refused now, but done before
        raise
    except Unavailable:
        await database.fetch(FREE, ask.key, now)
        raise


async def _looked_up(door: Stripe, ask: Ask) -> Object | None:
    if ask.about is not None:
        return await door.fetch(ask.call.rpartition(".")[0], ask.about)
    since = ask.asked_at - CLOCK_BOUND
    return await door.find(ask.call, ask.params["metadata"], since, ask.params)


async def anew(session: AsyncSession, ask: Ask, now: datetime) -> None:
    """Ask the same under a next key, later and later: for what Stripe shows that it did not do.

    Under the old key it would only repeat itself.
    """
    kind, subject, *count = ask.key.split(":")
    nth = int(count[0]) + 1 if count else 2
    lease = min(LEASE * 2 ** min(nth - 2, 10), LONGEST)
    await write(session, f"{kind}:{subject}:{nth}", ask.call, ask.params, now, lease=lease)


async def known(session: AsyncSession, key: str) -> bool:
    """Whether this has been asked before, whatever the answer."""
    return bool(await fetch(session, "SELECT key FROM asks WHERE key = $1", key))


async def answered(session: AsyncSession, key: str, now: datetime) -> bool:
    """Note that the ask has its answer; False if it had one already."""
    return bool(await fetch(session, ANSWERED, [key], now))


async def all_answered(session: AsyncSession, keys: Sequence[str], now: datetime) -> None:
    """Note that these asks have their answers."""
    await fetch(session, ANSWERED, keys, now)


async def side_by_side(keys: Iterable[str], carry: Callable[[str], Awaitable[None]]) -> None:
    """Carry a batch to Stripe, a few at a time; who fails is logged, and left to a later try."""
    turns, away = asyncio.Semaphore(AT_ONCE), asyncio.Event()

    async def one(key: str) -> None:
        async with turns:
            if away.is_set():
                return  # it would only wait for Stripe as the others did
            try:
                await carry(key)
            except TakingsError as error:
                log.warning("ask_failed", key=key, error=error.code, why=error.message)
                if isinstance(error, Unavailable):
                    away.set()

    await asyncio.gather(*(one(key) for key in keys))


async def due(
    database: Database, calls: Collection[Call], now: datetime, *, limit: int = 100
) -> Sequence[str]:
    """The keys of unanswered asks of these calls that nobody is at: what a crash left behind."""
    return [row.key for row in await database.fetch(DUE, now, list(calls), limit)]
