"""Pages of rows, newest first, by a cursor that stays where it is while rows are added."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import tuple_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from api.schemas.common import Paging
from takings.errors import NotFound


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of one page, newest first, and whether more follow in the direction of the walk."""

    rows: Sequence[Any]
    has_more: bool


async def newest(
    session: AsyncSession,
    query: Any,
    table: Any,
    asked: Paging,
    *,
    filters: Mapping[Any, object] | None = None,
    at: str = "created_at",
) -> Page:
    """The page of the query that the caller asked for, by a table's instant and id.

    ``filters`` says what a column must equal; None asks for nothing.  Raises NotFound where
    the cursor is nobody's id.
    """
    moment, key = col(getattr(table, at)), col(table.id)
    for column, wanted in (filters or {}).items():
        if wanted is not None:
            query = query.where(column == wanted)
    place = tuple_(moment, key)
    back = asked.ending_before is not None
    cursor = asked.ending_before or asked.starting_after
    if cursor is not None:
        at_cursor = tuple_(await _moment(session, moment, key, cursor), cursor)
        query = query.where(place > at_cursor if back else place < at_cursor)
    order = (moment.asc(), key.asc()) if back else (moment.desc(), key.desc())
    rows = (await session.exec(query.order_by(*order).limit(asked.limit + 1))).all()
    found = rows[: asked.limit]
    return Page(found[::-1] if back else found, len(rows) > asked.limit)


async def _moment(session: AsyncSession, moment: Any, key: Any, cursor: str) -> Any:
    found = (await session.exec(select(moment).where(key == cursor))).first()
    if found is None:
        raise NotFound(kind="row at the cursor", id=cursor)
    return found
