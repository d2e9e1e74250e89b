"""Payout batches: POST by hand, GET list, GET one with how far it has come."""

from typing import Annotated

from fastapi import Query
from sqlmodel import select

from api import operations, pages
from api.dependencies import Actor, Here, Id, New
from api.operations import operation
from api.payouts import READERS
from api.schemas.common import Listing, Paging
from api.schemas.payouts import BatchInput, BatchProgress, PayoutBatch
from takings.errors import NotFound
from takings.payouts import batches, tables
from takings.records import BadId

router = operations.router("payout_batches")


@router.post(
    "/payout_batches",
    **operation(
        "finance", moves_money=True, raises=(BadId, batches.BatchDiffers, batches.DaysOwnBatch)
    ),
)
async def begin(here: Here, new: New, given: BatchInput, actor: Actor) -> PayoutBatch:
    """Pay everybody whose plan is not manual, whatever day it names; the worker carries it on."""
    begun = batches.start(here.database, new.of("pob", given.id), actor=actor, now=here.now())
    return PayoutBatch.of(await begun)


@router.get("/payout_batches", **operation(*READERS, raises=(NotFound,)))
async def newest(here: Here, asked: Annotated[Paging, Query()]) -> Listing[PayoutBatch]:
    """The batches, newest first: the worker's, one a day, and those begun by hand."""
    table = tables.Batch
    page = await here.database.run(pages.newest, select(table), table, asked)
    found = [PayoutBatch.of(row) for row in page.rows]
    return Listing(data=found, has_more=page.has_more, url="/v1/payout_batches")


@router.get("/payout_batches/{id}", **operation(*READERS, raises=(NotFound,)))
async def one(here: Here, id: Id) -> BatchProgress:  # noqa: A002 - the name in the address
    """One batch: how many hosts it has looked at, and what became of their payouts."""
    return BatchProgress.told(await here.database.run(batches.progress, id))
