"""Payouts: POST, GET list, GET one, its lines, and the other person's yes or no."""

from collections.abc import Collection, Sequence
from typing import Annotated, Literal

from fastapi import Query
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from api import expanding, operations, pages
from api.dependencies import Actor, Here, Id, New
from api.keys import Scope
from api.operations import operation
from api.schemas.common import Listing
from api.schemas.hosts import Host
from api.schemas.payouts import (
    ExplainedPayout,
    LinePaging,
    Payout,
    PayoutFilter,
    PayoutInput,
    PayoutLine,
    RefuseInput,
)
from takings import money
from takings.errors import NotFound
from takings.payments.stripe import StripeRefused
from takings.payouts import lines as parts
from takings.payouts import payouts, plans, tables
from takings.records import BadId
from takings.spaces import tables as spaces

router = operations.router("payouts")

WAYS = {"host": expanding.rows(spaces.Host, Host)}
Expand = Annotated[list[Literal["host"]], Query(alias="expand[]")]

READERS: tuple[Scope, ...] = ("payouts.read", "payouts.approve", "finance")

ASKING = (
    *(BadId, NotFound, money.UnknownCurrency, payouts.PayoutDiffers, payouts.PayoutUnderWay),
    *(payouts.NothingToPay, payouts.BelowPayoutMinimum, payouts.HostNotPayable),
    *(plans.HostPaused, StripeRefused),
)
APPROVING = (
    NotFound,
    payouts.NotWaiting,
    payouts.HostInDebt,
    payouts.SamePerson,
    plans.HostPaused,
    StripeRefused,
)


@router.post("/payouts", **operation("finance", moves_money=True, raises=ASKING))
async def request(here: Here, new: New, given: PayoutInput, actor: Actor) -> Payout:
    """Pay a host all that is available in a currency, now; above the threshold it waits."""
    what = (new.of("po", given.id), given.host, given.currency)
    most, now = here.settings.payout_approval, here.now()
    made = await payouts.request(
        here.database, here.stripe, *what, actor=actor, approval=most, now=now
    )
    return await here.database.run(shown, made)


@router.get("/payouts", **operation(*READERS, raises=(NotFound,)))
async def newest(here: Here, asked: Annotated[PayoutFilter, Query()]) -> Listing[Payout]:
    """The payouts, newest first."""
    return await here.database.run(listed, asked)


@router.get("/payouts/{id}", **operation(*READERS, raises=(NotFound,)))
async def one(
    here: Here,
    id: Id,  # noqa: A002 - the name in the address
    expand: Expand = [],  # noqa: B006 - never changed
) -> ExplainedPayout:
    """One payout, and what it is made of."""
    return await here.database.run(explained, id, expand)


@router.get("/payouts/{id}/lines", **operation(*READERS, raises=(NotFound,)))
async def lines(
    here: Here,
    id: Id,  # noqa: A002 - the name in the address
    asked: Annotated[LinePaging, Query()],
) -> Listing[PayoutLine]:
    """What a payout pays, line by line, oldest first; all of them sum to it."""
    return await here.database.run(_lines, id, asked)


@router.post(
    "/payouts/{id}/approve", **operation("payouts.approve", moves_money=True, raises=APPROVING)
)
async def approve(here: Here, id: Id, actor: Actor) -> Payout:  # noqa: A002 - as above
    """Let a payout go that waits; never by whoever asked for it.  Repeating changes nothing."""
    made = await payouts.approve(here.database, here.stripe, id, actor=actor, now=here.now())
    return await here.database.run(shown, made)


@router.post(
    "/payouts/{id}/refuse",
    **operation("payouts.approve", raises=(NotFound, payouts.NotWaiting)),
)
async def refuse(here: Here, id: Id, given: RefuseInput) -> Payout:  # noqa: A002 - as above
    """Do not let a payout go that waits: its money is the host's to take again."""
    made = await payouts.refuse(here.database, id, why=given.why, now=here.now())
    return await here.database.run(shown, made)


async def listed(session: AsyncSession, asked: PayoutFilter) -> Listing[Payout]:
    """The payouts that are wanted, each with its transfers."""
    table = tables.Payout
    by = {
        col(table.host_id): asked.host,
        col(table.currency): asked.currency,
        col(table.state): asked.state,
        col(table.batch_id): asked.batch,
    }
    page = await pages.newest(session, select(table), table, asked, filters=by)
    sent = await _transfers(session, [row.id for row in page.rows])
    plain = [Payout.of(row, sent) for row in page.rows]
    found = await expanding.expand(session, plain, asked.expand, WAYS)
    return Listing(data=found, has_more=page.has_more, url="/v1/payouts")


async def explained(
    session: AsyncSession, payout_id: str, expand: Sequence[str] = ()
) -> ExplainedPayout:
    """A payout, and what it is made of; or NotFound."""
    row = await payouts.get(session, payout_id)
    [found] = await expanding.expand(session, [await shown(session, row)], expand, WAYS)
    return ExplainedPayout.explained(found, await parts.waterfall(session, row))


async def shown(session: AsyncSession, row: tables.Payout) -> Payout:
    """A payout with its transfers."""
    return Payout.of(row, await _transfers(session, [row.id]))


async def _transfers(
    session: AsyncSession, payout_ids: Collection[str]
) -> Sequence[tables.Transfer]:
    table = tables.Transfer
    wanted = select(table).where(col(table.payout_id).in_(payout_ids))
    return (await session.exec(wanted.order_by(col(table.created_at), col(table.id)))).all()


async def _lines(session: AsyncSession, payout_id: str, asked: LinePaging) -> Listing[PayoutLine]:
    payout = await payouts.get(session, payout_id)
    after, more = asked.starting_after, asked.limit + 1
    found = await parts.of(session, payout, after=after, limit=more)
    data = [PayoutLine.shown(line) for line in found[: asked.limit]]
    return Listing(data=data, has_more=len(found) == more, url=f"/v1/payouts/{payout_id}/lines")
