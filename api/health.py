"""Health and readiness: whether the process is alive, and whether it can do its work."""

from fastapi import APIRouter

from api import operations
from api.dependencies import Here
from api.runtime import same_schema
from api.schemas.common import Output
from takings.errors import TakingsError, Unavailable

router = APIRouter(tags=["health"], generate_unique_id_function=operations.named)


class NotReady(Unavailable):
    """The service cannot do its work: {why}.

    It will be ready as soon as that is put right.
    """


class Health(Output):
    """All is well."""

    status: str = "ok"


@router.get("/healthz")
async def alive() -> Health:
    """The process is alive; it says nothing of what stands behind it."""
    return Health()


@router.get("/readyz")
async def ready(here: Here) -> Health:
    """The database answers, its schema is ours, and its settings lose no money in a crash."""
    try:
        await same_schema(here.database)
        await here.database.refuse_unsafe_settings()
    except TakingsError as error:
        raise NotReady(why=error.message.rstrip(".")) from error
    return Health()
