"""Refunds: POST on a payment, GET one."""

from fastapi import APIRouter
from sqlmodel.ext.asyncio.session import AsyncSession

from api.dependencies import Here, Id, New
from api.schemas.refunds import Refund, RefundInput
from takings.errors import NotFound
from takings.payments import refunds, tables

router = APIRouter(tags=["refunds"])


@router.post("/payments/{id}/refunds")
async def refund(here: Here, new: New, id: Id, given: RefundInput) -> Refund:  # noqa: A002
    """Return the amount, or all that is left; repeating it by its id changes nothing."""
    refund_id, amount = new.of("ref", given.id), given.money()
    done = await refunds.refund(
        here.database, here.stripe, refund_id, id, amount, reason=given.reason, now=here.now()
    )
    return Refund.of(done)


@router.get("/refunds/{id}")
async def one(here: Here, id: Id) -> Refund:  # noqa: A002 - the name in the address
    """One refund, as far as it has come."""
    return Refund.of(await here.database.run(_get, id))


async def _get(session: AsyncSession, refund_id: str) -> tables.Refund:
    found = await session.get(tables.Refund, refund_id)
    if found is None:
        raise NotFound(kind="refund", id=refund_id)
    return found
