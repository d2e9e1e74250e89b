"""Spaces: POST, GET, their states, and who shares what in them."""

from typing import Annotated

from fastapi import APIRouter, Query
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from api import pages
from api.dependencies import Here, Id, New
from api.schemas.common import Listing
from api.schemas.spaces import Agreement, SharesInput, Space, SpaceFilter, SpaceInput
from takings.spaces import agreements, spaces, tables

router = APIRouter(tags=["spaces"])


@router.post("/spaces")
async def schedule(here: Here, new: New, given: SpaceInput) -> Space:
    """Schedule a Space, with the policy of today; repeating it changes nothing."""
    space_id, shares = new.of("spc", given.id), [share.value() for share in given.shares or ()]
    told = given.model_dump(exclude={"id", "shares"})
    return Space.of(
        await spaces.schedule(here.database, space_id, **told, shares=shares, now=here.now())
    )


@router.get("/spaces")
async def newest(here: Here, asked: Annotated[SpaceFilter, Query()]) -> Listing[Space]:
    """The Spaces, newest first."""
    filters = {col(tables.Space.host_id): asked.host, col(tables.Space.state): asked.state}
    page = await here.database.run(
        pages.newest, select(tables.Space), tables.Space, asked, filters=filters
    )
    found = [Space.of(row) for row in page.rows]
    return Listing(data=found, has_more=page.has_more, url="/v1/spaces")


@router.get("/spaces/{id}")
async def one(here: Here, id: Id) -> Space:  # noqa: A002 - the name in the address
    """One Space."""
    return Space.of(await here.database.run(spaces.get, id))


@router.post("/spaces/{id}/live")
async def live(here: Here, id: Id) -> Space:  # noqa: A002 - the name in the address
    """The room opens: from now on it can be tipped."""
    return Space.of(await spaces.move(here.database, id, "live", now=here.now()))


@router.post("/spaces/{id}/end")
async def end(here: Here, id: Id) -> Space:  # noqa: A002 - the name in the address
    """The room closes: its held money is released when the policy says so."""
    return Space.of(await spaces.move(here.database, id, "ended", now=here.now()))


@router.post("/spaces/{id}/cancel")
async def cancel(here: Here, id: Id) -> Space:  # noqa: A002 - the name in the address
    """The room will not be, or was broken off."""
    return Space.of(await spaces.move(here.database, id, "cancelled", now=here.now()))


@router.get("/spaces/{id}/shares")
async def shares(here: Here, id: Id) -> Agreement:  # noqa: A002 - the name in the address
    """Who shares what now."""
    return await here.database.run(_agreement, id)


@router.put("/spaces/{id}/shares")
async def amend(here: Here, id: Id, given: SharesInput) -> Agreement:  # noqa: A002 - as above
    """Agree anew: a next version, which touches only what is sold from now on."""
    parts = [share.value() for share in given.shares]
    version = await agreements.amend(here.database, id, parts, now=here.now())
    return Agreement.of(id, version, parts)


async def _agreement(session: AsyncSession, space_id: str) -> Agreement:
    space = await spaces.get(session, space_id)
    version = space.agreement_version
    return Agreement.of(space.id, version, await agreements.shares(session, space.id, version))
