"""Refunds: POST on a payment, GET one."""

from functools import partial
from typing import Annotated, Literal

from fastapi import Query
from sqlmodel.ext.asyncio.session import AsyncSession

from api import expanding, operations, payments
from api.dependencies import Here, Id, New
from api.operations import operation
from api.schemas.refunds import Refund, RefundInput
from takings import money
from takings.errors import NotFound
from takings.payments import refunds, returns, stripe, tables
from takings.records import BadId

router = operations.router("refunds")

WAYS = {"payment": payments.by_id}
Expand = Annotated[list[Literal["payment"]], Query(alias="expand[]")]

REFUNDING = (
    *(BadId, NotFound, money.UnknownCurrency, money.AmountTooLarge, money.CurrencyMismatch),
    *(refunds.NothingToRefund, refunds.LinesDoNotSum, refunds.RefundDiffers),
    *(returns.RefundTooLarge, returns.NotPaid),
    *(stripe.StripeRefused, stripe.StripeAway, stripe.StripeBusy, stripe.KeyRefused),
)


@router.post("/payments/{id}/refunds", **operation("finance", moves_money=True, raises=REFUNDING))
async def refund(here: Here, new: New, id: Id, given: RefundInput) -> Refund:  # noqa: A002
    """Return the amount, some lines, or all that is left; repeating it changes nothing."""
    what = (new.of("ref", given.id), id, given.money())
    how = partial(refunds.refund, here.database, here.stripe, *what, reason=given.reason)
    return Refund.of(await how(lines=given.parts(), now=here.now()))


@router.get("/refunds/{id}", **operation(*payments.READERS, raises=(NotFound,)))
async def one(here: Here, id: Id, expand: Expand = []) -> Refund:  # noqa: A002, B006 - never changed
    """One refund, as far as it has come."""
    return await here.database.run(_one, id, expand)


async def _one(session: AsyncSession, refund_id: str, expand: list[str]) -> Refund:
    found = await session.get(tables.Refund, refund_id)
    if found is None:
        raise NotFound(kind="refund", id=refund_id)
    return (await expanding.expand(session, [Refund.of(found)], expand, WAYS))[0]
