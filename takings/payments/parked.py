"""Parked shares: money that waits for a payee who cannot be paid yet.

    parked ──► the payee's     when Stripe lets the payee be sent money (``claim``)
       ├─────► the others'     when its time is over, by the rule of its share (``expire``)
       └─────► the listener's  likewise, by a refund of exactly that share

Whoever it goes to has it as if it had been credited to them: what came back of it before counts as
theirs, and what comes back later does.  While the bank disputes it, it stays.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import records, splits
from takings.database import Database, fetch
from takings.errors import TakingsError
from takings.ledger import accounts
from takings.ledger.entries import Entry, Posting, moving
from takings.money import Money
from takings.payments import asks, clawbacks, refunds, returns
from takings.payments.allotments import columns
from takings.payments.asks import Ask
from takings.payments.stripe import Stripe

log = structlog.get_logger()

BATCH: Final = 100
AGAIN: Final = timedelta(days=7)
"""How long a share waits that cannot go back just now."""

CLAIMED = """
SELECT DISTINCT l.payment_id FROM allotments a
  JOIN hosts h ON h.id = a.host_id AND h.capability = 'active'
  JOIN lines l ON l.id = a.line_id AND l.refunding = 0
 WHERE a.parked_until IS NOT NULL AND NOT a.directed AND l.payment_id > $1
 ORDER BY l.payment_id LIMIT $2
"""

MINE = """
SELECT a.line_id, a.position, a.host_id, a.account, a.credited - a.taken AS minor, l.currency,
       p.released_at IS NOT NULL AS released
  FROM allotments a
  JOIN hosts h ON h.id = a.host_id AND h.capability = 'active'
  JOIN lines l ON l.id = a.line_id AND l.refunding = 0
  JOIN payments p ON p.id = l.payment_id
 WHERE l.payment_id = $1 AND a.parked_until IS NOT NULL AND NOT a.directed
 ORDER BY a.line_id, a.position FOR UPDATE OF a
"""

TO_PAYEE = """
UPDATE allotments a SET account = m.account, held = m.held, parked_until = NULL
  FROM unnest($1::text[], $2::smallint[], $3::text[], $4::bigint[])
    AS m (line, position, account, held)
 WHERE a.line_id = m.line AND a.position = m.position
"""


async def claim(database: Database, *, now: datetime) -> int:
    """Give every payee who can be paid by now what was parked for them; of how many payments."""
    done, after = 0, ""
    while due := await database.fetch(CLAIMED, after, BATCH):
        for row in due:
            try:
                await database.run(_claim, row.payment_id, now)
                done += 1
            except TakingsError as error:  # this payment alone; its turn comes again
                log.warning("share_not_claimed", payment=row.payment_id, why=error.message)
        after = due[-1].payment_id
    return done


async def _claim(session: AsyncSession, payment_id: str, now: datetime) -> None:
    await returns.lock(session, payment_id)
    rows = await fetch(session, MINE, payment_id)
    if not rows:
        return
    held = [0 if row.released else row.minor for row in rows]
    homes = [accounts.of_host(row.host_id, "held") for row in rows]
    places = [(row.line_id, row.position) for row in rows]
    moved = [(*p, home, h) for p, home, h in zip(places, homes, held, strict=True)]
    await fetch(session, TO_PAYEE, *columns(moved))
    frozen = await clawbacks.recompute(session, payment_id)  # by an open dispute, now that it can
    for row in rows:
        home = accounts.of_host(row.host_id, "available" if row.released else "held")
        mine = [leg for leg in frozen if leg.line == row.line_id]
        frozen = [leg for leg in frozen if leg.line != row.line_id]
        key = f"line:{row.line_id}:claimed:{row.host_id}"
        await _post(session, key, payment_id, [*_to(row, home, row.minor), *mine], now)


OVER = """
SELECT a.line_id, a.position, l.payment_id FROM allotments a JOIN lines l ON l.id = a.line_id
 WHERE a.parked_until <= $1 ORDER BY a.parked_until, a.line_id, a.position LIMIT $2
"""

ONE = """
SELECT a.line_id, a.position, a.host_id, a.account, a.gross, a.credited, a.taken,
       a.credited - a.taken AS minor, l.currency, l.frozen, s.unclaimed,
       l.returned + l.disputed AS returned, l.minor + l.fees_covered AS whole,
       p.released_at IS NOT NULL AS released
  FROM allotments a
  JOIN lines l ON l.id = a.line_id
  JOIN payments p ON p.id = l.payment_id
  JOIN shares s ON s.space_id = l.space_id AND s.version = l.agreement_version
               AND s.host_id = a.host_id
 WHERE a.line_id = $1 AND a.position = $2 AND a.parked_until <= $3
   FOR UPDATE OF a
"""

OTHERS = """
SELECT DISTINCT a.host_id, s.weight, s.position
  FROM allotments a
  JOIN lines l ON l.id = a.line_id
  JOIN shares s ON s.space_id = l.space_id AND s.version = l.agreement_version
               AND s.host_id = a.host_id
 WHERE a.line_id = $1 AND a.account NOT LIKE 'liabilities:parked:%'
 ORDER BY s.position
"""


async def expire(database: Database, door: Stripe, *, now: datetime) -> int:
    """Pass on every parked share whose time is over, by its rule; answer how many."""
    due = await database.fetch(OVER, now, BATCH)
    found: dict[str, Ask] = {}
    for row in due:
        try:
            ask = await database.run(_expire, row, now)
        except TakingsError as error:  # this share alone, and others first
            log.warning("share_not_passed_on", line=row.line_id, why=error.message)
            ask = await database.run(_waits, row, now + AGAIN)
        if ask is not None:
            found[ask.key] = ask

    async def carry(key: str) -> None:
        await refunds.carry(database, door, found[key], now=now)

    await asks.side_by_side(found, carry)
    return len(due)


async def _expire(session: AsyncSession, due: Row[Any], now: datetime) -> Ask | None:
    """Pass on one share; answer what is to be asked of Stripe where it goes to the listener."""
    payment = await returns.lock(session, due.payment_id)
    left = {line.id: line for line in await returns.lines_left(session, payment)}
    for share in await fetch(session, ONE, due.line_id, due.position, now):
        others = await fetch(session, OTHERS, share.line_id)
        if not share.gross or share.frozen or left[share.line_id].refunding:
            await _waits(session, share, now + AGAIN)
        elif share.unclaimed == "others" and others:
            await _to_others(session, share, others, due.payment_id, now)
        elif 0 < share.minor <= left[share.line_id].returnable:
            return await _to_listener(session, share, payment, now)
        else:
            await _waits(session, share, now + AGAIN if share.minor else None)
    return None


WAITS = "UPDATE allotments SET parked_until = $3 WHERE line_id = $1 AND position = $2"


async def _waits(session: AsyncSession, share: Row[Any], until: datetime | None) -> None:
    """Nobody passes it on before that; None: nothing is left of it, or it is under way."""
    await fetch(session, WAITS, share.line_id, share.position, until)


PASSED_ON = """
WITH gone AS (
  UPDATE allotments SET gross = 0, credited = 0, taken = 0, parked_until = NULL
   WHERE line_id = $1 AND position = $2
), counted AS (
  UPDATE lifetime_sales l SET minor = l.minor + m.minor
    FROM unnest($9::text[], $10::bigint[]) AS m (host, minor)
   WHERE l.host_id = m.host AND l.currency = $11
)
INSERT INTO allotments (line_id, position, host_id, account, gross, credited, taken, held)
SELECT $1, (SELECT max(position) FROM allotments WHERE line_id = $1) + n, host, account, gross,
       credited, taken, held
  FROM unnest($3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
       WITH ORDINALITY AS s (host, account, gross, credited, taken, held, n)
"""


async def _to_others(
    session: AsyncSession,
    share: Row[Any],
    others: Sequence[Row[Any]],
    payment_id: str,
    now: datetime,
) -> None:
    """The others have it by their own weights, and with it what has come back of it already."""
    weights = [other.weight for other in others]
    credited = splits.divide(share.credited, weights)
    taken = splits.divide(share.taken, credited) if share.credited else credited
    gross = splits.divide(share.gross, weights)
    counts = [clawbacks.counted(one, share.returned, share.whole) for one in (*gross, share.gross)]
    left = [whole - gone for whole, gone in zip(credited, taken, strict=True)]
    hosts = [other.host_id for other in others]
    homes = [accounts.of_host(host, "held") for host in hosts]
    held = [0 if share.released else minor for minor in left]
    rows = (hosts, homes, list(gross), list(credited), list(taken), held)
    moved = [*counts[:-1], -counts[-1]]
    counters = ([*hosts, share.host_id], moved, share.currency)
    await fetch(session, PASSED_ON, share.line_id, share.position, *rows, *counters)
    drawer: accounts.Drawer = "available" if share.released else "held"
    postings = [
        leg
        for host, minor in zip(hosts, left, strict=True)
        for leg in _to(share, accounts.of_host(host, drawer), minor)
    ]
    postings += await clawbacks.recompute(session, payment_id)  # rounding may move a unit
    key = f"line:{share.line_id}:unclaimed:{share.host_id}"
    await _post(session, key, payment_id, postings, now)


async def _to_listener(
    session: AsyncSession, share: Row[Any], payment: Row[Any], now: datetime
) -> Ask:
    """A refund of exactly this share: booked, it gives before anybody else does."""
    await _waits(session, share, None)
    cause = f"{share.line_id} {share.position}"
    return await refunds.directed(
        session,
        records.derived_id("ref", now, cause),
        payment,
        {share.line_id: share.minor},
        payee=share.host_id,
        now=now,
    )


def _to(share: Row[Any], account: str, minor: int) -> Iterator[Posting]:
    """Parked money to where it goes."""
    yield from moving(share.account, Money(minor, share.currency), share.line_id)
    yield from moving(account, Money(-minor, share.currency), share.line_id)


async def _post(
    session: AsyncSession, key: str, payment_id: str, postings: Sequence[Posting], now: datetime
) -> None:
    if postings:
        kind = "claimed" if ":claimed:" in key else "unclaimed"
        entry = Entry(key, kind, payment_id, now, tuple(postings))
        await clawbacks.post(session, [entry], now)
