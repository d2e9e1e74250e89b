"""Stages: who is on a Space's stage, from when until when.

Where the agreement says so, a tip is shared by those of its payees who are on stage when it is
given (``payments/orders.py``).
"""

from datetime import datetime

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database, fetch
from takings.errors import Conflict
from takings.spaces import hosts, locking
from takings.spaces.tables import Speaker


class StageClosed(Conflict):
    """The Space {id} is {state}: there is a stage only while it is live.

    Take the Space live first.
    """


# One instant may be the end of a time on stage and the beginning of the next.
JOIN = """
INSERT INTO speakers (space_id, host_id, joined_at) VALUES ($1, $2, $3)
ON CONFLICT (space_id, host_id, joined_at) DO UPDATE SET left_at = NULL
"""


async def join(database: Database, space_id: str, host: str, *, now: datetime) -> list[Speaker]:
    """Somebody comes on stage, who may be there already; answer who has been there, and when.

    Raises NotFound, StageClosed.
    """

    async def step(session: AsyncSession) -> list[Speaker]:
        space = await locking.space(session, space_id)
        if space.state != "live":
            raise StageClosed(id=space_id, state=space.state)
        await hosts.get(session, host)
        if host not in {one.host_id for one in await log(session, space_id) if not one.left_at}:
            await fetch(session, JOIN, space_id, host, now)
        return await log(session, space_id)

    return await database.run(step)


# A clock that is behind the one before takes nothing back.
LEAVE = """
UPDATE speakers SET left_at = greatest(joined_at, $3::timestamptz)
 WHERE space_id = $1 AND host_id = $2 AND left_at IS NULL
"""


async def leave(database: Database, space_id: str, host: str, *, now: datetime) -> list[Speaker]:
    """Somebody leaves the stage, if they are there; answer who has been there, and when.

    Raises NotFound.
    """

    async def step(session: AsyncSession) -> list[Speaker]:
        await locking.space(session, space_id)
        await hosts.get(session, host)
        await fetch(session, LEAVE, space_id, host, now)
        return await log(session, space_id)

    return await database.run(step)


CLEAR = """
UPDATE speakers SET left_at = greatest(joined_at, $2::timestamptz)
 WHERE space_id = $1 AND left_at IS NULL
"""


async def clear(session: AsyncSession, space_id: str, now: datetime) -> None:
    """Everybody leaves the stage: the Space, which is locked, is over."""
    await fetch(session, CLEAR, space_id, now)


async def log(session: AsyncSession, space_id: str) -> list[Speaker]:
    """Who has been on stage, from when until when, in that order; nobody in an unknown Space."""
    found = await session.exec(
        select(Speaker)
        .where(Speaker.space_id == space_id)
        .order_by(col(Speaker.joined_at), col(Speaker.host_id))
        .execution_options(populate_existing=True)
    )
    return list(found)
