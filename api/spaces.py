"""Spaces: POST, GET, their states, and who shares what in them."""

from typing import Annotated, Literal

from fastapi import Query, Response
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from api import dependencies, expanding, operations, pages
from api.dependencies import Actor, Here, Id, New, Seen
from api.operations import operation
from api.schemas.agreements import Agreement, SharesInput
from api.schemas.common import Listing
from api.schemas.hosts import Host
from api.schemas.spaces import RescheduleInput, Space, SpaceFilter, SpaceInput
from api.schemas.tickets import Cancellation
from takings.editions import EditedMeanwhile
from takings.errors import NotFound
from takings.policies.policies import RuleNotKept
from takings.records import BadId
from takings.spaces import agreements, spaces, tables
from takings.spaces.standings import NotEligible
from ticketing import cancellations

router = operations.router("spaces")

WAYS = {"host": expanding.rows(tables.Host, Host)}
Expand = Annotated[list[Literal["host"]], Query(alias="expand[]")]

SHARING = (
    *(agreements.SharesDoNotSum, agreements.ShareTooSmall, agreements.PayeeTwice),
    agreements.BadClaim,
)
SCHEDULING = (BadId, NotFound, spaces.SpaceDiffers, RuleNotKept, NotEligible, *SHARING)
MOVING = (NotFound, spaces.SpaceCannotMove)
RESCHEDULING = (NotFound, spaces.NotScheduled, spaces.StartsInThePast)
CALLED_OFF = (NotFound, cancellations.NotCancelled)


@router.post("/spaces", **operation("spaces", raises=SCHEDULING))
async def schedule(here: Here, new: New, given: SpaceInput, actor: Actor) -> Space:
    """Schedule a Space, with the policy of today; repeating it changes nothing."""
    space_id, shares = new.of("spc", given.id), [share.value() for share in given.shares or ()]
    told = given.model_dump(exclude={"id", "shares"}) | {"shares": shares, "actor": actor}
    told["gate"] = here.settings.hosting_gate
    return Space.of(await spaces.schedule(here.database, space_id, **told, now=here.now()))


@router.get("/spaces", **operation("spaces", raises=(NotFound,)))
async def newest(here: Here, asked: Annotated[SpaceFilter, Query()]) -> Listing[Space]:
    """The Spaces, newest first."""
    return await here.database.run(_newest, asked)


@router.get("/spaces/{id}", **operation("spaces", raises=(NotFound,)))
async def one(here: Here, id: Id, expand: Expand = []) -> Space:  # noqa: A002, B006 - never changed
    """One Space."""
    return await here.database.run(_one, id, expand)


@router.post("/spaces/{id}/live", **operation("spaces", raises=MOVING))
async def live(here: Here, id: Id) -> Space:  # noqa: A002 - the name in the address
    """The room opens: from now on it can be tipped."""
    return Space.of(await spaces.move(here.database, id, "live", now=here.now()))


@router.post("/spaces/{id}/end", **operation("spaces", raises=MOVING))
async def end(here: Here, id: Id) -> Space:  # noqa: A002 - the name in the address
    """The room closes: its held money is released when the policy says so."""
    return Space.of(await spaces.move(here.database, id, "ended", now=here.now()))


@router.post("/spaces/{id}/cancel", **operation("spaces", raises=MOVING))
async def cancel(here: Here, id: Id) -> Space:  # noqa: A002 - the name in the address
    """The room will not be, or was broken off."""
    return Space.of(await spaces.move(here.database, id, "cancelled", now=here.now()))


@router.get("/spaces/{id}/cancellation", **operation("spaces", "tickets", raises=CALLED_OFF))
async def cancellation(here: Here, id: Id) -> Cancellation:  # noqa: A002 - as above
    """How far the refunds of a cancelled Space's tickets have come."""
    return Cancellation.of(await here.database.run(cancellations.progress, id))


@router.post("/spaces/{id}/reschedule", **operation("spaces", raises=RESCHEDULING))
async def reschedule(here: Here, id: Id, given: RescheduleInput) -> Space:  # noqa: A002 - as above
    """Let it start at another time; who has a ticket may give it back until then."""
    return Space.of(await spaces.reschedule(here.database, id, given.starts_at, now=here.now()))


@router.get("/spaces/{id}/shares", **operation("spaces", "agreements", raises=(NotFound,)))
async def shares(here: Here, id: Id, response: Response) -> Agreement:  # noqa: A002 - as above
    """Who shares what, as it was proposed last, in force or not; the ETag names the version."""
    return _tagged(response, await here.database.run(agreements.newest, id))


@router.put(
    "/spaces/{id}/shares",
    **operation(
        "agreements", raises=(NotFound, EditedMeanwhile, dependencies.BadIfMatch, *SHARING)
    ),
)
async def amend(
    here: Here,
    id: Id,  # noqa: A002 - the name in the address
    given: SharesInput,
    seen: Seen,
    response: Response,
) -> Agreement:
    """Propose a next version, which touches only what is sold once all its payees have signed."""
    parts = [share.value() for share in given.shares]
    made = await agreements.amend(
        here.database, id, parts, tips=given.tips, expected=seen, now=here.now()
    )
    return _tagged(response, made)


def _tagged(response: Response, found: agreements.Version) -> Agreement:
    dependencies.tag(response, found.number)
    return Agreement.of(found)


async def _newest(session: AsyncSession, asked: SpaceFilter) -> Listing[Space]:
    filters = {col(tables.Space.host_id): asked.host, col(tables.Space.state): asked.state}
    page = await pages.newest(session, select(tables.Space), tables.Space, asked, filters=filters)
    shown = [Space.of(row) for row in page.rows]
    found = await expanding.expand(session, shown, asked.expand, WAYS)
    return Listing(data=found, has_more=page.has_more, url="/v1/spaces")


async def _one(session: AsyncSession, space_id: str, expand: list[str]) -> Space:
    shown = [Space.of(await spaces.get(session, space_id))]
    return (await expanding.expand(session, shown, expand, WAYS))[0]
