"""The stage of a Space: who comes and goes, and who has been there when."""

from sqlmodel.ext.asyncio.session import AsyncSession

from api import operations
from api.dependencies import Here, Id
from api.operations import operation
from api.schemas.agreements import SpeakerInput, Stage
from takings.errors import NotFound
from takings.spaces import spaces, stages

router = operations.router("stages")

JOINING = (NotFound, stages.StageClosed)


@router.get("/spaces/{id}/stage", **operation("spaces", raises=(NotFound,)))
async def one(here: Here, id: Id) -> Stage:  # noqa: A002 - the name in the address
    """Who is on stage, and who has been there when."""
    return await here.database.run(_one, id)


@router.post("/spaces/{id}/stage/join", **operation("spaces", raises=JOINING))
async def join(here: Here, id: Id, given: SpeakerInput) -> Stage:  # noqa: A002 - as above
    """A host comes on stage; who is there already stays."""
    return Stage.of(id, await stages.join(here.database, id, given.host, now=here.now()))


@router.post("/spaces/{id}/stage/leave", **operation("spaces", raises=(NotFound,)))
async def leave(here: Here, id: Id, given: SpeakerInput) -> Stage:  # noqa: A002 - as above
    """A host leaves the stage; when the Space is over, everybody has."""
    return Stage.of(id, await stages.leave(here.database, id, given.host, now=here.now()))


async def _one(session: AsyncSession, space_id: str) -> Stage:
    await spaces.get(session, space_id)
    return Stage.of(space_id, await stages.log(session, space_id))
