"""Waiting lists: POST, GET, leave."""

from datetime import datetime
from typing import Annotated

from fastapi import Query
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from api import operations, pages
from api.dependencies import Here, Id, New
from api.operations import operation
from api.schemas.common import Listing
from api.schemas.waiting import Waiting, WaitingFilter, WaitInput
from takings.errors import NotFound
from takings.records import BadId
from ticketing import holds, runs, tables, waitlist

router = operations.router("waiting")

JOINING = (
    *(
        BadId,
        NotFound,
        holds.QuantityOutOfRange,
        holds.LeastOutOfRange,
        holds.NotOnSale,
        holds.TooManyTickets,
    ),
    *(waitlist.StillOnSale, waitlist.AlreadyWaiting, waitlist.WaitDiffers),
)
LEAVING = (NotFound, waitlist.WaitOver, holds.HoldOver)


@router.post("/runs/{id}/waiting", **operation("tickets", raises=JOINING))
async def join(here: Here, new: New, id: Id, given: WaitInput) -> Waiting:  # noqa: A002 - as below
    """Take a place on the waiting list; the answer says which, or what is offered at once."""
    wish = given.wish(new.of("wait", given.id), id)
    return Waiting.of(await waitlist.join(here.database, wish, now=here.now()))


@router.get("/runs/{id}/waiting", **operation("tickets", raises=(NotFound,)))
async def newest(
    here: Here,
    id: Id,  # noqa: A002 - the name in the address
    asked: Annotated[WaitingFilter, Query()],
) -> Listing[Waiting]:
    """The waiting list of a run, newest first."""
    return await here.database.run(_newest, id, asked, here.now())


@router.get("/waiting/{id}", **operation("tickets", raises=(NotFound,)))
async def one(here: Here, id: Id) -> Waiting:  # noqa: A002 - the name in the address
    """One place on a waiting list, as it is now."""
    return Waiting.of(await waitlist.get(here.database, id, now=here.now()))


@router.post("/waiting/{id}/leave", **operation("tickets", raises=LEAVING))
async def leave(here: Here, id: Id) -> Waiting:  # noqa: A002 - the name in the address
    """Give up a place on the waiting list, or what was offered; it goes to the next."""
    return Waiting.of(await waitlist.leave(here.database, id, now=here.now()))


async def _newest(
    session: AsyncSession, run: str, asked: WaitingFilter, now: datetime
) -> Listing[Waiting]:
    await runs.of(session, run)
    table = tables.Waiting
    filters = {
        col(table.run_id): run,
        col(table.listener_id): asked.listener,
        col(table.state): asked.state,
    }
    page = await pages.newest(session, select(table), table, asked, filters=filters)
    found = await waitlist.of(session, [row.id for row in page.rows], now)
    url = f"/v1/runs/{run}/waiting"
    return Listing(data=[Waiting.of(one) for one in found], has_more=page.has_more, url=url)
