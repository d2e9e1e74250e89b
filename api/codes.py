"""Codes of a run: POST, GET list, GET one, and end."""

from typing import Annotated

from fastapi import Query
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from api import operations, pages
from api.dependencies import Here, Id, New
from api.operations import operation
from api.schemas.codes import Code, CodeInput
from api.schemas.common import Listing, Paging
from takings import money
from takings.errors import NotFound
from takings.records import BadId
from ticketing import codes, pools, runs, tables

router = operations.router("codes")

MAKING = (
    *(BadId, NotFound, codes.BadCode, codes.CodeDiffers, codes.CodeTaken, pools.IdTaken),
    *(codes.CodeLeavesTooLittle, money.NotChargeable, runs.RunCalledOff),
)


@router.post("/runs/{id}/codes", **operation("tickets", raises=MAKING))
async def make(here: Here, new: New, id: Id, given: CodeInput) -> Code:  # noqa: A002 - in the address
    """Make a code; repeating it by its id changes nothing."""
    wish = given.wish(new.of("code", given.id), id)
    return Code.of(await codes.make(here.database, wish, now=here.now()))


@router.get("/runs/{id}/codes", **operation("tickets", raises=(NotFound,)))
async def newest(here: Here, id: Id, asked: Annotated[Paging, Query()]) -> Listing[Code]:  # noqa: A002
    """The codes of a run, newest first."""
    return await here.database.run(_newest, id, asked)


@router.get("/codes/{id}", **operation("tickets", raises=(NotFound,)))
async def one(here: Here, id: Id) -> Code:  # noqa: A002 - the name in the address
    """One code, and what is taken with it."""
    return Code.of(await here.database.run(codes.get, id))


@router.post("/codes/{id}/end", **operation("tickets", raises=(NotFound,)))
async def end(here: Here, id: Id) -> Code:  # noqa: A002 - the name in the address
    """From now on nobody can use it; what is held with it keeps its price."""
    return Code.of(await codes.end(here.database, id, now=here.now()))


async def _newest(session: AsyncSession, run: str, asked: Paging) -> Listing[Code]:
    await runs.of(session, run)  # raises NotFound
    query = select(tables.Code).where(col(tables.Code.run_id) == run)
    page = await pages.newest(session, query, tables.Code, asked)
    found = [Code.of(made) for made in await codes.shown(session, page.rows)]
    return Listing(data=found, has_more=page.has_more, url=f"/v1/runs/{run}/codes")
