"""The platform's own payouts: POST, GET list."""

from typing import Annotated

from fastapi import Query
from sqlmodel import col, select

from api import operations, pages
from api.dependencies import Here, New
from api.operations import operation
from api.schemas.banks import BankPayout, PlatformPayoutInput
from api.schemas.common import Listing, Paging
from takings import money
from takings.errors import NotFound
from takings.payments import stripe
from takings.payouts import platform, tables
from takings.records import BadId

router = operations.router("platform_payouts")

PAYING = (
    *(BadId, money.UnknownCurrency, money.AmountTooLarge),
    *(platform.PlatformHasNotThatMuch, platform.PlatformPayoutOfNothing),
    *(platform.PlatformPayoutDiffers, platform.PlatformPayoutUnderWay),
    *(stripe.StripeRefused, stripe.StripeAway, stripe.StripeBusy, stripe.KeyRefused),
)


@router.post("/platform_payouts", **operation("finance", moves_money=True, raises=PAYING))
async def pay_out(here: Here, new: New, given: PlatformPayoutInput) -> BankPayout:
    """Send the platform's own money to its bank: the amount, or all of it; never hosts' money."""
    what = (new.of("bp", given.id), given.currency, given.money())
    return BankPayout.of(await platform.pay_out(here.database, here.stripe, *what, now=here.now()))


@router.get("/platform_payouts", **operation("finance", raises=(NotFound,)))
async def newest(here: Here, asked: Annotated[Paging, Query()]) -> Listing[BankPayout]:
    """The platform's own payouts, those made at Stripe too, newest first."""
    table = tables.BankPayout
    ours = select(table).where(col(table.host_id).is_(None))
    page = await here.database.run(pages.newest, ours, table, asked)
    found = [BankPayout.of(row) for row in page.rows]
    return Listing(data=found, has_more=page.has_more, url="/v1/platform_payouts")
