"""Expanding: what an answer names by its id is shown whole where the caller asks for that."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from api.schemas.common import Output

Shown = TypeVar("Shown", bound=Output)

Load = Callable[[AsyncSession, Collection[str]], Awaitable[Mapping[str, Output]]]
"""Loads many at once: by id, as the API shows them."""

IN_LISTS = "data."


async def expand(
    session: AsyncSession, shown: Sequence[Shown], asked: Sequence[str], ways: Mapping[str, Load]
) -> list[Shown]:
    """What is shown, with each field that was asked for whole instead of its id.

    In lists the fields are asked for as ``data.field``, as in Stripe's API.  One statement or two
    for each field, however long the list.
    """
    found = list(shown)
    for field in {name.removeprefix(IN_LISTS) for name in asked}:
        ids = {str(name) for one in found if (name := getattr(one, field)) is not None}
        whole = await ways[field](session, ids)
        found = [
            one.model_copy(update={field: whole.get(str(getattr(one, field)))}) for one in found
        ]
    return found


def rows(table: Any, schema: Any) -> Load:
    """The way to load what one row shows."""

    async def load(session: AsyncSession, ids: Collection[str]) -> Mapping[str, Output]:
        wanted = select(table).where(col(table.id).in_(ids))
        return {row.id: schema.of(row) for row in await session.exec(wanted)}

    return load
