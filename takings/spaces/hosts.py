"""Hosts: the people who are paid."""

from datetime import datetime

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import records
from takings.database import Database, LawBroken, fetch
from takings.errors import Conflict, NotFound
from takings.spaces.tables import Host


class HostDiffers(Conflict):
    """There is already a host {id} with another {what}.

    Register the new host under an id of its own.
    """

    param = "id"


class ListenerTaken(Conflict):
    """The listener {listener} is another host already.

    One listener is at most one host.
    """

    param = "listener"


REGISTER = """
INSERT INTO hosts (id, name, listener_id, created_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (id) DO NOTHING
"""

ONE_HOST_EACH = "hosts_listener_id_key"


async def register(
    database: Database, host_id: str, name: str, *, listener: str | None = None, now: datetime
) -> Host:
    """Make somebody a host; repeating it changes nothing.

    ``listener`` is who the host is where they listen, so that nobody tips themselves; it may be
    told later, by registering again.  Raises HostDiffers if the id belongs to somebody with another
    name or listener, ListenerTaken if the listener is another host.
    """
    records.check_id(host_id, *([listener] if listener is not None else ()))

    async def step(session: AsyncSession) -> Host:
        await fetch(session, REGISTER, host_id, name, listener, now)  # many may do so at once
        host = await session.get_one(Host, host_id, with_for_update={"key_share": True})
        if host.name != name:
            raise HostDiffers(id=host_id, what="name")
        if listener is not None:
            if host.listener_id not in (None, listener):
                raise HostDiffers(id=host_id, what="listener")
            host.listener_id = listener
        return host

    try:
        return await database.run(step)
    except LawBroken as broken:
        if broken.facts["law"] == ONE_HOST_EACH:
            raise ListenerTaken(listener=listener) from None
        raise


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
