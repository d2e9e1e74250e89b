"""Hosts: the people who are paid."""

from datetime import datetime

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import records
from takings.database import Database, fetch
from takings.errors import Conflict, NotFound
from takings.spaces.tables import Host


class HostDiffers(Conflict):
    """There is already a host {id} with another name.

    Register the new host under an id of its own.
    """

    param = "id"


REGISTER = """
INSERT INTO hosts (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING
"""


async def register(database: Database, host_id: str, name: str, *, now: datetime) -> Host:
    """Make somebody a host; repeating it changes nothing.

    Raises HostDiffers if the id belongs to somebody with another name.
    """
    records.check_id(host_id)

    async def step(session: AsyncSession) -> Host:
        await fetch(session, REGISTER, host_id, name, now)  # many may do so at once
        host = await session.get_one(Host, host_id)
        if host.name != name:
            raise HostDiffers(id=host_id)
        return host

    return await database.run(step)


async def get(session: AsyncSession, host_id: str) -> Host:
    """The host of this id, or NotFound."""
    host = await session.get(Host, host_id)
    if host is None:
        raise NotFound(kind="host", id=host_id)
    return host


async def missing(session: AsyncSession, host_ids: set[str]) -> set[str]:
    """Those of the ids that are nobody's."""
    known = await session.exec(select(Host.id).where(Host.id.in_(host_ids)))  # type: ignore[attr-defined]
    return host_ids - set(known)
