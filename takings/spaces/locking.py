"""Locking: those who change a Space take turns, and tips go on meanwhile."""

from sqlmodel.ext.asyncio.session import AsyncSession

from takings.errors import NotFound
from takings.spaces.tables import Space


async def space(session: AsyncSession, space_id: str) -> Space:
    """The Space, which nobody else changes until the end of the transaction; or NotFound."""
    found = await session.get(Space, space_id, with_for_update={"key_share": True})
    if found is None:
        raise NotFound(kind="space", id=space_id)
    return found
