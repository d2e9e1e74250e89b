"""Acts: who did what, and what it came to; GET list."""

from typing import Annotated

from fastapi import Query
from sqlmodel import col, select

from api import operations, pages, tables
from api.dependencies import Here
from api.operations import operation
from api.schemas.access import Act, ActFilter
from api.schemas.common import Listing
from takings.errors import NotFound

router = operations.router("acts")


@router.get("/acts", **operation("admin", raises=(NotFound,)))
async def newest(here: Here, asked: Annotated[ActFilter, Query()]) -> Listing[Act]:
    """What was done, by requests and from the command line, newest first."""
    table = tables.Act
    by = {col(table.actor): asked.actor, col(table.operation): asked.operation}
    page = await here.database.run(
        pages.newest, select(table), table, asked, filters=by, at="begun_at"
    )
    found = [Act.of(row) for row in page.rows]
    return Listing(data=found, has_more=page.has_more, url="/v1/acts")
