"""Tips: POST, GET one, GET list by Space or listener, undo, receipt."""

from typing import Annotated, Literal

from fastapi import Query
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from api import expanding, operations, pages, payments
from api.dependencies import Here, Id, New
from api.operations import operation
from api.schemas.common import Listing
from api.schemas.receipts import ReceiptLine
from api.schemas.spaces import Space
from api.schemas.tips import Tip, TipFilter, TipInput
from takings import money
from takings.errors import NotFound
from takings.payments import orders, receipts, stripe
from takings.payments.tables import Payment
from takings.policies import rules
from takings.records import BadId
from takings.spaces import tables as rooms
from takings.spaces.agreements import AgreementUnsigned
from tipping import limits, tables, tips

router = operations.router("tips")

WAYS = {"payment": payments.by_id, "space": expanding.rows(rooms.Space, Space)}
Expand = Annotated[list[Literal["payment", "space"]], Query(alias="expand[]")]

PAYING = (
    *(BadId, NotFound, money.UnknownCurrency, money.AmountTooLarge, money.NotChargeable),
    *(rules.CurrencyNotOffered, orders.SurfaceNeeds, orders.PaymentOver),
    orders.ChannelNotSettled,
    *(stripe.CurrencyNotSettled, stripe.CardDeclined, stripe.StripeRefused),
    *(stripe.StripeAway, stripe.StripeBusy, stripe.KeyRefused),
)
GIVING = (
    *(BadId, NotFound, money.UnknownCurrency, money.AmountTooLarge, money.CurrencyMismatch),
    *(rules.CurrencyNotOffered, rules.BelowMinimum, rules.AboveMaximum),
    *(limits.SelfTip, limits.ListenerCapReached, limits.RoomCapReached, limits.TooManyTips),
    *(tips.SpaceNotLive, AgreementUnsigned, tips.MessageTooLong, tips.TipDiffers),
)
UNDOING = (NotFound, tips.NotUndoable, tips.UndoOver)

EVERY = select(tables.Tip, Payment).where(tables.Tip.payment_id == Payment.id)


@router.post("/tips", **operation("tips", moves_money=True, raises=(*PAYING, *GIVING)))
async def send(here: Here, new: New, given: TipInput) -> Tip:
    """Send a tip; the answer says where to pay it.  Repeating it by its id changes nothing."""
    wish = given.wish(new.of("tip", given.id))
    return Tip.of(await tips.send(here.database, here.stripe, wish, now=here.now()))


@router.get("/tips", **operation("tips", raises=(NotFound,)))
async def newest(here: Here, asked: Annotated[TipFilter, Query()]) -> Listing[Tip]:
    """The tips, newest first."""
    return await here.database.run(_newest, asked)


@router.get("/tips/{id}", **operation("tips", raises=(NotFound,)))
async def one(here: Here, id: Id, expand: Expand = []) -> Tip:  # noqa: A002, B006 - never changed
    """One tip, as far as it has come."""
    shown = [Tip.of(await tips.get(here.database, id))]
    found: list[Tip] = await here.database.run(expanding.expand, shown, expand, WAYS)
    return found[0]


@router.post("/tips/{id}/undo", **operation("tips", moves_money=True, raises=UNDOING))
async def undo(here: Here, id: Id) -> Tip:  # noqa: A002 - the name in the address
    """Take a tip back within its ten seconds, as if it had never been sent."""
    return Tip.of(await tips.undo(here.database, here.stripe, id, now=here.now()))


@router.get("/tips/{id}/receipt", **operation("tips", raises=(NotFound, receipts.NoReceipt)))
async def receipt(here: Here, id: Id) -> ReceiptLine:  # noqa: A002 - the name in the address
    """Where each cent of a tip went."""
    sent = await tips.get(here.database, id)
    found = await here.database.run(receipts.of, sent.payment.id)
    return next(ReceiptLine.of(line) for line in found.lines if line.subject == sent.tip.id)


async def _newest(session: AsyncSession, asked: TipFilter) -> Listing[Tip]:
    by = {col(tables.Tip.space_id): asked.space, col(tables.Tip.listener_id): asked.listener}
    page = await pages.newest(session, EVERY, tables.Tip, asked, filters=by)
    shown = [Tip.of(tips.Sent(*row)) for row in page.rows]
    found = await expanding.expand(session, shown, asked.expand, WAYS)
    return Listing(data=found, has_more=page.has_more, url="/v1/tips")
