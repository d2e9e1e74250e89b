"""Tips: POST, GET one, GET list by Space or listener."""

from typing import Annotated

from fastapi import APIRouter, Query
from sqlmodel import col, select

from api import pages
from api.dependencies import Here, Id, New
from api.schemas.common import Listing
from api.schemas.tips import Tip, TipFilter, TipInput
from takings.payments.tables import Payment
from tipping import tables, tips

router = APIRouter(tags=["tips"])

EVERY = select(tables.Tip, Payment).where(tables.Tip.payment_id == Payment.id)


@router.post("/tips")
async def send(here: Here, new: New, given: TipInput) -> Tip:
    """Send a tip; the answer says where to pay it.  Repeating it by its id changes nothing."""
    wish = given.wish(new.of("tip", given.id))
    return Tip.of(await tips.send(here.database, here.stripe, wish, now=here.now()))


@router.get("/tips")
async def newest(here: Here, asked: Annotated[TipFilter, Query()]) -> Listing[Tip]:
    """The tips, newest first."""
    by = {col(tables.Tip.space_id): asked.space, col(tables.Tip.listener_id): asked.listener}
    page = await here.database.run(pages.newest, EVERY, tables.Tip, asked, filters=by)
    found = [Tip.of(tips.Sent(*row)) for row in page.rows]
    return Listing(data=found, has_more=page.has_more, url="/v1/tips")


@router.get("/tips/{id}")
async def one(here: Here, id: Id) -> Tip:  # noqa: A002 - the name in the address
    """One tip, as far as it has come."""
    return Tip.of(await tips.get(here.database, id))
