"""Purchases: POST, GET one, GET list by run or listener; and comps, which the house gives."""

from typing import Annotated, Literal

from fastapi import Query
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from api import expanding, operations, pages, payments
from api.dependencies import Here, Id, New
from api.operations import operation
from api.schemas.common import Listing
from api.schemas.purchases import CompInput, Purchase, PurchaseFilter, PurchaseInput
from api.tips import PAYING
from takings.errors import NotFound
from takings.policies import rules
from takings.records import BadId
from ticketing import comps, holds, purchases, sale_tables

router = operations.router("purchases")

WAYS = {"payment": payments.by_id}
Expand = Annotated[list[Literal["payment"]], Query(alias="expand[]")]

BUYING = (
    *(*PAYING, rules.BelowMinimum, rules.AboveMaximum, holds.NotYourHold, holds.HoldOver),
    *(purchases.PurchaseDiffers, purchases.PurchaseOpen, purchases.SaleOver),
    *(purchases.PriceDiffers, purchases.HoldersDoNotMatch),
)
GIVING = (
    *(BadId, NotFound, holds.QuantityOutOfRange, holds.SoldOut, holds.NotOnSale, comps.NotAComp),
    *(purchases.PurchaseDiffers, purchases.HoldersDoNotMatch),
)


@router.post("/purchases", **operation("tickets", moves_money=True, raises=BUYING))
async def open(here: Here, new: New, given: PurchaseInput) -> Purchase:  # noqa: A001 - purchases.open
    """Buy a hold; the answer says where to pay it.  Repeating it by its id changes nothing."""
    wish = given.wish(new.of("pur", given.id))
    bought = await purchases.open(here.database, here.stripe, wish, now=here.now())
    return Purchase.of(bought)


@router.get("/purchases", **operation("tickets", raises=(NotFound,)))
async def newest(here: Here, asked: Annotated[PurchaseFilter, Query()]) -> Listing[Purchase]:
    """The purchases, newest first."""
    return await here.database.run(_newest, asked)


@router.get("/purchases/{id}", **operation("tickets", raises=(NotFound,)))
async def one(here: Here, id: Id, expand: Expand = []) -> Purchase:  # noqa: A002, B006 - never changed
    """One purchase with its tickets, as far as it has come."""
    shown = [Purchase.of(await purchases.get(here.database, id))]
    found: list[Purchase] = await here.database.run(expanding.expand, shown, expand, WAYS)
    return found[0]


@router.post("/runs/{id}/comps", **operation("tickets", moves_money=True, raises=GIVING))
async def give(here: Here, new: New, id: Id, given: CompInput) -> Purchase:  # noqa: A002 - as above
    """Give tickets of a comp tier away; they come out of the run's quota, and are valid at once."""
    wish = given.wish(new.of("pur", given.id), id)
    return Purchase.of(await comps.give(here.database, wish, now=here.now()))


async def _newest(session: AsyncSession, asked: PurchaseFilter) -> Listing[Purchase]:
    table = sale_tables.Purchase
    by = {col(table.run_id): asked.run, col(table.listener_id): asked.listener}
    page = await pages.newest(session, purchases.EVERY, table, asked, filters=by)
    shown = [Purchase.of(one) for one in await purchases.shown(session, page.rows)]
    found = await expanding.expand(session, shown, asked.expand, WAYS)
    return Listing(data=found, has_more=page.has_more, url="/v1/purchases")
