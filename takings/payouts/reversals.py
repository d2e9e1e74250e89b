"""Reversals: what was taken of a host after it had gone is asked back of the host's own account.

    asked ──► booked       the money is here again, and the host's debt is less by it
      └─────► refused      the account is short of it: the debt stays, later earnings repay it

Payments write a recovery where a refund or a dispute left a host in debt (``clawbacks.py``).  It is
looked at once: the debt that there is then, as far as that recovery made it, is asked back of the
host's newest transfers.  What was reversed at Stripe without us is known by its cash.

Every change to what is reversed of a host's transfers is made while the host's balance is locked.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database, fetch
from takings.errors import NotFound
from takings.ledger import accounts, journal
from takings.ledger.entries import Entry, Posting
from takings.money import Money
from takings.payments import asks, objects
from takings.payments.asks import Ask
from takings.payments.stripe import Call, Stripe, StripeRefused
from takings.payouts import funds
from takings.records import new_id

CALL: Final[Call] = "transfers.reversals.create"
BATCH: Final = 100
LOOK_BACK: Final = timedelta(days=30)
"""How long after it a reversal that was made at Stripe is still found by its cash."""


async def recover(database: Database, door: Stripe, *, now: datetime) -> int:
    """Ask back what hosts owe and had been sent, and book what was; answer how many that were."""
    done = 0
    while await database.run(_look_at_one, now):
        done += 1
    for row in await database.fetch(UNKNOWN, now - LOOK_BACK, BATCH):
        done += await database.run(_heard, row, now)
    due = {ask.key: ask for ask in await asks.take_due(database, [CALL], now, limit=BATCH)}

    async def one(key: str) -> None:
        nonlocal done
        await carry(database, door, due[key], now=now)
        done += 1

    await asks.side_by_side(due, one)
    return done


# While a payout is under way nobody knows yet whether that money will have gone.
OPEN = """
SELECT cause, host_id, currency, minor FROM recoveries r
 WHERE looked_at IS NULL
   AND NOT EXISTS (SELECT FROM payouts p
                    WHERE p.host_id = r.host_id AND p.currency = r.currency
                      AND p.state IN ('waiting', 'sending'))
 ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED
"""

LOOKED_AT = """
UPDATE recoveries SET looked_at = $4 WHERE cause = $1 AND host_id = $2 AND currency = $3
"""

# What is being reversed already will repay its part of the debt.
OWED = """
SELECT greatest(0, b.minor - (SELECT coalesce(sum(reversing), 0) FROM transfers
                               WHERE host_id = $2 AND currency = $3 AND state = 'sent'))::bigint
       AS minor
  FROM accounts a JOIN balances b ON b.account_id = a.id
 WHERE a.name = $1 AND a.currency = $3
"""

TAKE = """
WITH sent AS (
  SELECT id, minor - reversing - reversed AS left_over,
         sum(minor - reversing - reversed) OVER (ORDER BY sent_at DESC, id DESC) AS upto
    FROM transfers
   WHERE host_id = $1 AND currency = $2 AND state = 'sent' AND reversing + reversed < minor
)
UPDATE transfers t SET reversing = t.reversing + least(s.left_over, $3 - s.upto + s.left_over)
  FROM sent s WHERE s.id = t.id AND s.upto - s.left_over < $3
RETURNING t.id, t.stripe_id, least(s.left_over, $3 - s.upto + s.left_over)::bigint AS minor
"""

INSERT = """
INSERT INTO reversals (id, transfer_id, minor, state, cause, created_at)
SELECT r.id, r.transfer_id, r.minor, 'asked', $4, $5
  FROM unnest($1::text[], $2::text[], $3::bigint[]) AS r (id, transfer_id, minor)
"""


async def _look_at_one(session: AsyncSession, now: datetime) -> bool:
    """Look at one recovery, and write what it asks of Stripe; False where none is open."""
    for row in await fetch(session, OPEN):
        await funds.lock(session, [row.host_id])
        account = funds.available(row.host_id)
        owed = await fetch(session, OWED, account, row.host_id, row.currency)
        wanted = min([row.minor, *(one.minor for one in owed)]) if owed else 0
        if wanted:
            taken = await fetch(session, TAKE, row.host_id, row.currency, wanted)
            await _ask(session, taken, row.cause, now)
        await fetch(session, LOOKED_AT, row.cause, row.host_id, row.currency, now)
        return True
    return False


async def _ask(session: AsyncSession, taken: Sequence[Row[Any]], cause: str, now: datetime) -> None:
    ids = [new_id("rev") for _ in taken]
    columns = [row.id for row in taken], [row.minor for row in taken]
    await fetch(session, INSERT, ids, *columns, cause, now)
    asked = {
        f"reversal:{reversal}": {
            "id": row.stripe_id,
            "amount": row.minor,
            "metadata": {"takings_reversal": reversal, "takings_transfer": row.id},
        }
        for reversal, row in zip(ids, taken, strict=True)
    }
    await asks.write_many(session, CALL, asked, now)


async def carry(database: Database, door: Stripe, ask: Ask, *, now: datetime) -> None:
    """Carry a reversal's ask to Stripe and book the answer, also that it was refused."""
    reversal = ask.key.partition(":")[2]
    try:
        found = await asks.answer(database, door, ask, now)
        error = "Stripe has no such reversal"
    except (StripeRefused, NotFound) as refused:
        found, error = None, refused.message
    if found is None:
        await database.run(refuse, reversal, error, now)
    else:
        at = objects.moment(found["created"])
        await database.run(book, reversal, found["id"], at, now)


LOCK = """
SELECT r.id, r.state, r.minor, t.id AS transfer_id, t.stripe_id AS transfer, t.host_id, t.currency
  FROM reversals r JOIN transfers t ON t.id = r.transfer_id WHERE r.id = $1
"""

REFUSED = "UPDATE reversals SET state = 'refused', error = $2 WHERE id = $1"

BOOKED = """
UPDATE reversals SET state = 'booked', stripe_id = $2, error = NULL, booked_at = $3 WHERE id = $1
"""

MOVE = "UPDATE transfers SET reversing = reversing - $2, reversed = reversed + $3 WHERE id = $1"


async def _locked(session: AsyncSession, reversal: str) -> Row[Any]:
    """The reversal, once its host's balance is locked."""
    row = (await fetch(session, LOCK, reversal))[0]
    await funds.lock(session, [row.host_id])
    return (await fetch(session, LOCK, reversal))[0]


async def refuse(session: AsyncSession, reversal: str, error: str, now: datetime) -> None:
    """Stripe said no: the debt stays, visible, until the host has earned it back."""
    row = await _locked(session, reversal)
    if row.state == "asked":
        await fetch(session, MOVE, row.transfer_id, row.minor, 0)
        await fetch(session, REFUSED, reversal, error)
    await asks.answered(session, f"reversal:{reversal}", now)


async def book(
    session: AsyncSession, reversal: str, stripe_id: str, at: datetime, now: datetime
) -> None:
    """Book a reversal that Stripe has made, once, whoever tells of it."""
    row = await _locked(session, reversal)
    if row.state != "booked":
        asked = row.minor if row.state == "asked" else 0
        await fetch(session, MOVE, row.transfer_id, asked, row.minor)
        await fetch(session, BOOKED, reversal, stripe_id, at)
        amount = Money(row.minor, row.currency)
        entry = Entry(
            key=f"reversal:{stripe_id}:booked",
            kind="reversal_booked",
            subject=row.transfer,
            happened_at=at,
            postings=(
                Posting(accounts.TRANSFERS, amount),
                Posting(funds.available(row.host_id), -amount),
            ),
            source=stripe_id,
        )
        await journal.post(session, [entry])
    await asks.answered(session, f"reversal:{reversal}", now)


# While one of ours is asked for, a line that we do not know may be its.
UNKNOWN = """
SELECT c.source, c.minor, c.created_at, t.id AS transfer_id, t.host_id
  FROM cash c JOIN transfers t ON t.stripe_id = c.subject
 WHERE c.category = 'transfer_reversal' AND c.created_at > $1
   AND NOT EXISTS (SELECT FROM reversals r WHERE r.stripe_id = c.source)
   AND NOT EXISTS (SELECT FROM reversals r WHERE r.transfer_id = t.id AND r.state = 'asked')
 ORDER BY c.created_at LIMIT $2
"""

STILL = """
SELECT t.id FROM transfers t
 WHERE t.id = $1 AND NOT EXISTS (SELECT FROM reversals WHERE stripe_id = $2)
   AND NOT EXISTS (SELECT FROM reversals r WHERE r.transfer_id = t.id AND r.state = 'asked')
"""


async def _heard(session: AsyncSession, line: Row[Any], now: datetime) -> int:
    """Book a reversal that was made at Stripe without us, as its cash line says; 1 if new."""
    await funds.lock(session, [line.host_id])
    if not await fetch(session, STILL, line.transfer_id, line.source):
        return 0
    await fetch(session, MOVE, line.transfer_id, -line.minor, 0)
    row = [line.source], [line.transfer_id], [line.minor]
    await fetch(session, INSERT, *row, "made at Stripe", now)
    await book(session, line.source, line.source, line.created_at, now)
    return 1
