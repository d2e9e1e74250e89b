"""Disputes: GET one, GET list, and the evidence for one as a download."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import Query, Response
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from api import expanding, operations, packs, pages, payments
from api.dependencies import Here, Id
from api.operations import operation
from api.schemas.common import Listing
from api.schemas.disputes import Dispute, DisputeFilter
from takings.errors import NotFound
from takings.payments import dispute_tables, disputes

router = operations.router("disputes")

WAYS = {"payment": payments.by_id}
Expand = Annotated[list[Literal["payment"]], Query(alias="expand[]")]

MEDIA: Final = "application/zip"
ZIP: Final[dict[str, Any]] = {
    "response_class": Response,
    "responses": {200: {"content": {MEDIA: {"schema": {"type": "string", "format": "binary"}}}}},
}


@router.get("/disputes", **operation(*payments.READERS, raises=(NotFound,)))
async def newest(here: Here, asked: Annotated[DisputeFilter, Query()]) -> Listing[Dispute]:
    """The disputes, newest first."""
    return await here.database.run(listed, asked)


@router.get("/disputes/{id}", **operation(*payments.READERS, raises=(NotFound,)))
async def one(here: Here, id: Id, expand: Expand = []) -> Dispute:  # noqa: A002, B006 - never changed
    """One dispute, as Stripe last showed it, and how it lies on the payment's lines."""
    return await here.database.run(shown, id, expand)


@router.get("/disputes/{id}/evidence", **ZIP, **operation("finance", raises=(NotFound,)))
async def evidence(here: Here, id: Id) -> Response:  # noqa: A002 - the name in the address
    """All that speaks for the payment, to be sent to the bank: a ZIP of texts and JSON.

    As long as nothing changes, its bytes do not either.
    """
    headers = {"Content-Disposition": f'attachment; filename="dispute-{id}.zip"'}
    return Response(await here.database.run(packs.of, id), headers=headers, media_type=MEDIA)


async def listed(session: AsyncSession, asked: DisputeFilter) -> Listing[Dispute]:
    """One page of the disputes that are wanted."""
    table, query = dispute_tables.Dispute, select(dispute_tables.Dispute)
    if asked.open is not None:
        over = col(table.closed_at).is_not(None)
        query = query.where(~over if asked.open else over)
    by = {col(table.payment_id): asked.payment, col(table.status): asked.status}
    page = await pages.newest(session, query, table, asked, filters=by)
    found = await _whole(session, page.rows, asked.expand)
    return Listing(data=found, has_more=page.has_more, url="/v1/disputes")


async def shown(session: AsyncSession, dispute_id: str, expand: Sequence[str] = ()) -> Dispute:
    """One dispute as the API shows it, or NotFound."""
    return (await _whole(session, [await disputes.get(session, dispute_id)], expand))[0]


async def _whole(
    session: AsyncSession, rows: Sequence[dispute_tables.Dispute], expand: Sequence[str]
) -> list[Dispute]:
    parts = await disputes.parts(session, {row.payment_id for row in rows})
    found = [
        Dispute.of(row, [part for part in parts if part.payment_id == row.payment_id])
        for row in rows
    ]
    return await expanding.expand(session, found, expand, WAYS)
