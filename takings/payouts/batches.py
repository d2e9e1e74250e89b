"""Batches: all hosts who are due on a day are paid, however many, and whatever dies meanwhile.

A batch is a row that says which host was looked at last.  A step looks at the next few hundred and
writes their payouts, transfers and asks together with how far it has come, in one transaction: a
batch that was killed goes on where it was, nobody twice and nobody left out.  Two workers take
turns, since each step holds the batch.  What was written is carried to Stripe by ``transfers.py``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import records
from takings.database import Database, fetch
from takings.errors import Conflict, Invalid, NotFound
from takings.money import Money
from takings.payouts import funds, payouts, plans
from takings.payouts.payouts import Approval
from takings.payouts.tables import Batch

STEP: Final = 500
"""How many hosts a step looks at."""

SYSTEM: Final = "system"
"""Who asks for the payouts of a day that nobody asked for by hand."""


class BatchDiffers(Conflict):
    """There is already a batch {id}, and {by} began it.

    Begin the new batch under an id of its own.
    """

    param = "id"


class DaysOwnBatch(Invalid):
    """{id} is the name of a day's own batch.

    Begin yours under another id.
    """

    param = "id"


OF_A_DAY = re.compile(r"pob_\d{4}-\d\d-\d\d")

BEGIN = """
INSERT INTO payout_batches (id, due_on, scheduled, requested_by, upto, looked, written, created_at)
VALUES ($1, $2, $3, $4, '', 0, 0, $5) ON CONFLICT DO NOTHING RETURNING id
"""


async def of_today(database: Database, *, now: datetime) -> int:
    """Begin the batch of the day, where the books are kept, unless it is; answer 1 if it was not.

    It pays whoever's plan names this day, or one before that nobody began.
    """

    async def step(session: AsyncSession) -> int:
        day = await plans.today(session, now)
        name = f"pob_{day:%Y-%m-%d}"
        return len(await fetch(session, BEGIN, name, day, True, SYSTEM, now))

    return await database.run(step)


async def start(database: Database, batch_id: str, *, actor: str, now: datetime) -> Batch:
    """Begin a batch by hand, of all whose plan is not "manual", whatever day it names; repeatable.

    Raises BatchDiffers where somebody else has begun another under this id.
    """
    records.check_id(batch_id)
    if OF_A_DAY.fullmatch(batch_id):
        raise DaysOwnBatch(id=batch_id)

    async def step(session: AsyncSession) -> Batch:
        day = await plans.today(session, now)
        await fetch(session, BEGIN, batch_id, day, False, actor, now)
        batch = await session.get_one(Batch, batch_id)
        if batch.scheduled or batch.requested_by != actor:
            raise BatchDiffers(id=batch_id, by=batch.requested_by)
        return batch

    return await database.run(step)


OPEN = """
SELECT id, due_on, scheduled, requested_by, upto FROM payout_batches WHERE written_at IS NULL
 ORDER BY created_at, id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
"""

NEXT = """
SELECT h.id, h.capability = 'active' AS payable, p.host_id IS NOT NULL AS planned
  FROM hosts h LEFT JOIN payout_plans p ON p.host_id = h.id
 WHERE h.id > $1 ORDER BY h.id LIMIT $2
"""

ADVANCE = """
UPDATE payout_batches SET upto = $2, looked = looked + $3, written = written + $4 WHERE id = $1
"""

WRITTEN = "UPDATE payout_batches SET written_at = $2 WHERE id = $1"


async def write(database: Database, approval: Approval, *, now: datetime) -> int:
    """Write every batch to its end, step by step; answer how many payouts that made."""
    made = 0
    while (done := await database.run(_step, approval, now)) is not None:
        made += done
    return made


async def _step(session: AsyncSession, approval: Approval, now: datetime) -> int | None:
    """The next hosts of the oldest batch; None where none is open, or others are at it."""
    for batch in await fetch(session, OPEN):
        found = await fetch(session, NEXT, batch.upto, STEP)
        if not found:
            await fetch(session, WRITTEN, batch.id, now)
            return 0
        made = await _pay(session, batch, found, approval, now)
        await fetch(session, ADVANCE, batch.id, found[-1].id, len(found), made)
        return made
    return None


async def _pay(
    session: AsyncSession, batch: Row[Any], found: Any, approval: Approval, now: datetime
) -> int:
    """Pay those of the hosts who are due; answer how many payouts that made."""
    eve, day = batch.due_on - plans.DAY, batch.due_on if batch.scheduled else date.max
    ids = [row.id for row in found if row.payable]
    new = [row.id for row in found if row.payable and not row.planned]
    if new:
        await plans.start(session, new, eve, now)
    due = await funds.due(session, ids, day)
    names = [records.new_id("po") for _ in due]
    await payouts.write(session, due, names, batch.id, batch.requested_by, approval, now)
    if batch.scheduled:
        await plans.advance(session, [row.id for row in found], batch.due_on)
    return len(due)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a batch has come: hosts, and its payouts by state, in number and in money."""

    batch: Batch
    hosts: int
    payouts: Mapping[str, int]
    money: Mapping[str, tuple[Money, ...]]


SUMS = """
SELECT state, currency, count(*) AS payouts, sum(minor)::bigint AS minor
  FROM payouts WHERE batch_id = $1 GROUP BY state, currency ORDER BY state, currency
"""


async def progress(session: AsyncSession, batch_id: str) -> Progress:
    """How far the batch of this id has come, or NotFound."""
    batch = await session.get(Batch, batch_id)
    if batch is None:
        raise NotFound(kind="payout batch", id=batch_id)
    rows = await fetch(session, SUMS, batch_id)
    numbers: dict[str, int] = {}
    money: dict[str, tuple[Money, ...]] = {}
    for row in rows:
        numbers[row.state] = numbers.get(row.state, 0) + row.payouts
        money[row.state] = (*money.get(row.state, ()), Money(row.minor, row.currency))
    hosts = (await fetch(session, "SELECT count(*) AS n FROM hosts"))[0].n
    return Progress(batch, hosts, numbers, money)
