"""Pools: how many there may be of something; of a whole Space too, where that is limited.

A Space's pool counts what all its runs hold and sell.  It comes to be, and changes, while every run
of the Space stands still.
"""

from datetime import datetime
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database, fetch
from takings.errors import Conflict, Invalid, NotFound
from takings.spaces import spaces
from ticketing.tables import Pool

MOST: Final = 1_000_000  # tickets


class IdTaken(Conflict):
    """The id {id} is in use for something else.

    Runs, tiers and codes share one set of ids: choose another.
    """

    param = "id"


class BadCapacity(Invalid):
    """A Space cannot have room for {capacity} listeners with a ticket: 1 to {most} are possible.

    Leave it out where there is no limit.
    """

    param = "capacity"


class SizeBelowTaken(Conflict):
    """{taken} tickets of {id} are held or sold: there cannot be only {size}.

    Choose that many or more; what is only held may become free in a few minutes.
    """

    param = "size"


def of_space(space_id: str) -> str:
    """What a Space's pool is called: nothing else has such an id."""
    return f"space:{space_id}"


LOCK = "SELECT lock_run($1)"


async def lock(session: AsyncSession, run: str) -> None:
    """Until the transaction ends nobody else takes from this run, or gives back to it."""
    await fetch(session, LOCK, run)


MAKE = "INSERT INTO pools (id, quota) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING RETURNING id"


async def make(session: AsyncSession, pool_id: str, size: int | None) -> Pool:
    """A new pool, which claims the id of what it counts; IdTaken if something else has it."""
    if not await fetch(session, MAKE, pool_id, size):
        raise IdTaken(id=pool_id)
    return await session.get_one(Pool, pool_id)


def resize(pool: Pool, size: int | None) -> None:
    """Let there be so many, None: without end; SizeBelowTaken if more are taken.

    The run's lock is ours.
    """
    if size is not None and size < pool.held + pool.sold:
        raise SizeBelowTaken(taken=pool.held + pool.sold, id=pool.id, size=size)
    pool.quota = size


async def capacity(session: AsyncSession, space_id: str) -> Pool:
    """How many tickets all runs of a Space may sell, and have; without a limit nothing counts."""
    await spaces.get(session, space_id)
    return await session.get(Pool, of_space(space_id)) or Pool(id=of_space(space_id), quota=None)


# A run that is being opened waits for the Space, or we wait for that run and count it.
SPACE = "SELECT id FROM spaces WHERE id = $1 FOR UPDATE"

# A claim locks its run first, then the Space's pool: so do we, with all of its runs.
RUNS = """
SELECT p.id, p.held, p.sold FROM pools p JOIN runs r ON r.id = p.id
 WHERE r.space_id = $1 ORDER BY p.id FOR NO KEY UPDATE OF p
"""
OFFER = "SELECT offer_tickets($1, $2)"


async def cap_space(database: Database, space_id: str, limit: int | None, *, now: datetime) -> Pool:
    """Limit what all runs of a Space sell together, None: not at all; repeatable.

    Raises NotFound, BadCapacity, or SizeBelowTaken where more are held or sold already.
    """
    if limit is not None and not 1 <= limit <= MOST:
        raise BadCapacity(capacity=limit, most=MOST)

    async def step(session: AsyncSession) -> Pool:
        if not await fetch(session, SPACE, space_id):
            raise NotFound(kind="space", id=space_id)
        runs = await fetch(session, RUNS, space_id)
        pool = await session.get(Pool, of_space(space_id), with_for_update=True)
        if pool is None:
            pool = Pool(id=of_space(space_id), quota=None)
            pool.held, pool.sold = sum(run.held for run in runs), sum(run.sold for run in runs)
            session.add(pool)
        resize(pool, limit)
        await session.flush()
        for run in runs:
            await fetch(session, OFFER, run.id, now)
        await session.refresh(pool)
        return pool

    return await database.run(step)
