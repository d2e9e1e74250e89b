"""Pages of rows, newest first, by a cursor that stays where it is while rows are added."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, tuple_
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from api.schemas.common import Paging
from takings.errors import NotFound


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of one page, and whether older ones follow."""

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
    if asked.starting_after is not None:
        query = query.where(await _after(session, moment, key, asked.starting_after))
    ordered = query.order_by(moment.desc(), key.desc()).limit(asked.limit + 1)
    rows = (await session.exec(ordered)).all()
    return Page(rows[: asked.limit], len(rows) > asked.limit)


async def _after(session: AsyncSession, moment: Any, key: Any, cursor: str) -> ColumnElement[bool]:
    found = (await session.exec(select(moment).where(key == cursor))).first()
    if found is None:
        raise NotFound(kind="row to start after:", id=cursor)
    return tuple_(moment, key) < tuple_(found, cursor)
