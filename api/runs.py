"""Runs: POST, GET, PATCH, their price tiers, and how many a Space may sell in all."""

from typing import Annotated

from fastapi import Query, Response
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from api import dependencies, operations, pages
from api.dependencies import Here, Id, New, Seen
from api.operations import operation
from api.schemas.common import Listing, Text
from api.schemas.runs import (
    Capacity,
    CapacityInput,
    Run,
    RunEdit,
    RunFilter,
    RunInput,
    TierEdit,
    TierInput,
)
from takings import money
from takings.editions import EditedMeanwhile
from takings.errors import NotFound
from takings.policies import rules
from takings.policies.policies import RuleNotKept
from takings.records import BadId
from takings.spaces.agreements import AgreementUnsigned
from takings.spaces.standings import NotEligible
from takings.spaces.tables import Space
from ticketing import codes, pools, runs, tables, tiers, wishes

router = operations.router("runs")

PRICING = (
    *(BadId, NotFound, wishes.BadRun, pools.IdTaken, money.AmountTooLarge, money.NotMinorUnits),
    *(money.NotChargeable, rules.BelowMinimum, rules.AboveMaximum),
)
OPENING = (
    *(*PRICING, money.UnknownCurrency, rules.CurrencyNotOffered, RuleNotKept, NotEligible),
    *(runs.RunDiffers, runs.SpaceIsOver, AgreementUnsigned, wishes.RunTooLarge),
)
EDITING = (NotFound, EditedMeanwhile, dependencies.BadIfMatch, runs.RunCalledOff, wishes.BadRun)
STEPPING = (*EDITING, *PRICING, codes.CodeLeavesTooLittle)


@router.post("/runs", **operation("tickets", raises=OPENING))
async def open(here: Here, new: New, given: RunInput, response: Response) -> Run:  # noqa: A001 - runs.open
    """Open a run under the policy of now; repeating it by its id changes nothing."""
    found = await runs.open(here.database, given.wish(new.of("run", given.id)), now=here.now())
    return _tagged(response, found)


@router.get("/runs", **operation("tickets", raises=(NotFound,)))
async def newest(here: Here, asked: Annotated[RunFilter, Query()]) -> Listing[Run]:
    """The runs, newest first."""
    return await here.database.run(_newest, asked)


@router.get("/runs/{id}", **operation("tickets", raises=(NotFound,)))
async def one(here: Here, id: Id, response: Response) -> Run:  # noqa: A002 - the name in the address
    """One run, and what is taken of it; the ETag names its version."""
    return _tagged(response, await runs.get(here.database, id))


@router.patch(
    "/runs/{id}",
    **operation("tickets", raises=(*EDITING, wishes.RunTooLarge, pools.SizeBelowTaken)),
)
async def edit(here: Here, id: Id, given: RunEdit, seen: Seen, response: Response) -> Run:  # noqa: A002
    """Change its size, times or limits; what grew goes to those who wait first."""
    told, now = given.changes(), here.now()
    return _tagged(response, await runs.edit(here.database, id, told, expected=seen, now=now))


@router.post("/runs/{id}/tiers", **operation("tickets", raises=(*STEPPING, tiers.TierDiffers)))
async def add(
    here: Here,
    new: New,
    id: Id,  # noqa: A002 - the name in the address
    given: TierInput,
    seen: Seen,
    response: Response,
) -> Run:
    """Add a price tier after the others."""
    wish = given.wish(new.of("tier", given.id))
    found = await tiers.add(here.database, id, wish, expected=seen, now=here.now())
    return _tagged(response, found)


@router.patch(
    "/runs/{id}/tiers/{tier}", **operation("tickets", raises=(*STEPPING, pools.SizeBelowTaken))
)
async def step(
    here: Here,
    id: Id,  # noqa: A002 - the name in the address
    tier: Text,
    given: TierEdit,
    seen: Seen,
    response: Response,
) -> Run:
    """Change a tier's name, price, size or times; what is held keeps its price."""
    told, now = given.changes(), here.now()
    found = await tiers.edit(here.database, id, tier, told, expected=seen, now=now)
    return _tagged(response, found)


@router.get("/spaces/{id}/capacity", **operation("spaces", "tickets", raises=(NotFound,)))
async def capacity(here: Here, id: Id) -> Capacity:  # noqa: A002 - the name in the address
    """How many tickets all runs of a Space may sell together."""
    return Capacity.of(id, await here.database.run(pools.capacity, id))


@router.put(
    "/spaces/{id}/capacity",
    **operation("spaces", raises=(NotFound, pools.BadCapacity, pools.SizeBelowTaken)),
)
async def cap(here: Here, id: Id, given: CapacityInput) -> Capacity:  # noqa: A002 - as above
    """Limit it, or lift the limit."""
    pool = await pools.cap_space(here.database, id, given.capacity, now=here.now())
    return Capacity.of(id, pool)


def _tagged(response: Response, found: runs.Opened) -> Run:
    dependencies.tag(response, found.run.version)
    return Run.of(found)


async def _newest(session: AsyncSession, asked: RunFilter) -> Listing[Run]:
    filters = {col(tables.Run.space_id): asked.space, col(Space.host_id): asked.host}
    query = select(tables.Run).join(Space, col(Space.id) == col(tables.Run.space_id))
    page = await pages.newest(session, query, tables.Run, asked, filters=filters)
    found = [Run.of(opened) for opened in await runs.shown(session, page.rows)]
    return Listing(data=found, has_more=page.has_more, url="/v1/runs")
