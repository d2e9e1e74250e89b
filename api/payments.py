"""Payments: GET one, GET list; each with its lines, and who was credited what."""

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated

from fastapi import Query
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from api import operations, pages
from api.dependencies import Here, Id
from api.keys import Scope
from api.operations import operation
from api.schemas.common import Listing, Output
from api.schemas.payments import Line, Payment, PaymentFilter
from api.schemas.receipts import Receipt
from takings.errors import NotFound
from takings.payments import payments, receipts, tables
from takings.payments.receipts import NoReceipt

router = operations.router("payments")

READERS: tuple[Scope, ...] = ("tips", "tickets", "finance")


@router.get("/payments", **operation(*READERS, raises=(NotFound,)))
async def newest(here: Here, asked: Annotated[PaymentFilter, Query()]) -> Listing[Payment]:
    """The payments, newest first."""
    return await here.database.run(_newest, asked)


@router.get("/payments/{id}", **operation(*READERS, raises=(NotFound,)))
async def one(here: Here, id: Id) -> Payment:  # noqa: A002 - the name in the address
    """One payment, with its lines and their shares."""
    return await here.database.run(_one, id)


@router.get("/payments/{id}/receipt", **operation(*READERS, raises=(NotFound, NoReceipt)))
async def receipt(here: Here, id: Id) -> Receipt:  # noqa: A002 - the name in the address
    """Where each cent of a payment went: by line, and by host."""
    return Receipt.of(await here.database.run(receipts.of, id))


async def _newest(session: AsyncSession, asked: PaymentFilter) -> Listing[Payment]:
    table = tables.Payment
    by = {col(table.listener_id): asked.listener, col(table.state): asked.state}
    page = await pages.newest(session, select(table), table, asked, filters=by)
    found = await _shown(session, page.rows)
    return Listing(data=found, has_more=page.has_more, url="/v1/payments")


async def _one(session: AsyncSession, payment_id: str) -> Payment:
    return (await _shown(session, [await payments.get(session, payment_id)]))[0]


async def by_id(session: AsyncSession, ids: Collection[str]) -> Mapping[str, Output]:
    """These payments as the API shows them: how they are expanded."""
    rows = (await session.exec(select(tables.Payment).where(col(tables.Payment.id).in_(ids)))).all()
    return {shown.id: shown for shown in await _shown(session, rows)}


async def _shown(session: AsyncSession, found: Sequence[tables.Payment]) -> list[Payment]:
    """The payments with all that belongs to them, in two statements however many they are."""
    line, allotment = tables.Line, tables.Allotment
    ids = [payment.id for payment in found]
    of_payments = select(line).where(col(line.payment_id).in_(ids)).order_by(col(line.id))
    lines = (await session.exec(of_payments)).all()
    of_lines = select(allotment).where(col(allotment.line_id).in_([row.id for row in lines]))
    allotted = (await session.exec(of_lines.order_by(col(allotment.position)))).all()
    return [
        Payment.of(row, [Line.of(part, allotted) for part in lines if part.payment_id == row.id])
        for row in found
    ]
