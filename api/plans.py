"""Payout plans: GET, PUT, pause, resume, and what they make come next."""

from fastapi import Response

from api import dependencies, operations
from api.dependencies import Actor, Here, Id, Seen
from api.keys import Scope
from api.operations import operation
from api.schemas.common import Listing
from api.schemas.payouts import PauseInput, PayoutPlan, PlanInput, UpcomingPayout
from takings import money
from takings.editions import EditedMeanwhile
from takings.errors import NotFound
from takings.payouts import plans, tables, upcoming

router = operations.router("payout_plans")

READERS: tuple[Scope, ...] = ("payouts.read", "finance")

EDITING = (
    *(NotFound, EditedMeanwhile, dependencies.BadIfMatch, money.UnknownCurrency),
    *(plans.BadPayday, plans.BadMinimum),
)


@router.get("/hosts/{id}/payout_plan", **operation(*READERS, raises=(NotFound,)))
async def one(here: Here, id: Id, response: Response) -> PayoutPlan:  # noqa: A002 - the name in the address
    """When the host is paid, and from how much on; the ETag names the version."""
    return _tagged(response, await here.database.run(plans.get, id, here.now()))


@router.put("/hosts/{id}/payout_plan", **operation("finance", raises=EDITING))
async def edit(
    here: Here,
    id: Id,  # noqa: A002 - the name in the address
    given: PlanInput,
    seen: Seen,
    response: Response,
) -> PayoutPlan:
    """Change when the host is paid, and from how much on; it holds from tomorrow."""
    told = given.model_dump() | {"expected": seen, "now": here.now()}
    return _tagged(response, await plans.edit(here.database, id, **told))


@router.post("/hosts/{id}/payout_plan/pause", **operation("finance", raises=(NotFound,)))
async def pause(here: Here, id: Id, given: PauseInput, actor: Actor) -> PayoutPlan:  # noqa: A002
    """Pay the host nothing until that is resumed; what is on its way goes on."""
    paused = plans.pause(here.database, id, why=given.why, actor=actor, now=here.now())
    return PayoutPlan.of(await paused)


@router.post("/hosts/{id}/payout_plan/resume", **operation("finance", raises=(NotFound,)))
async def resume(here: Here, id: Id) -> PayoutPlan:  # noqa: A002 - the name in the address
    """Pay the host again, from the plan's next day on."""
    return PayoutPlan.of(await plans.resume(here.database, id, now=here.now()))


@router.get("/hosts/{id}/upcoming_payouts", **operation(*READERS, raises=(NotFound,)))
async def coming(here: Here, id: Id) -> Listing[UpcomingPayout]:  # noqa: A002 - as above
    """The host's next payout in each currency: its day and an estimate, or why none comes."""
    found = await here.database.run(upcoming.of, id, here.now())
    url = f"/v1/hosts/{id}/upcoming_payouts"
    return Listing.whole([UpcomingPayout.of(one) for one in found], url)


def _tagged(response: Response, plan: tables.Plan) -> PayoutPlan:
    dependencies.tag(response, plan.version)
    return PayoutPlan.of(plan)
