"""Health and readiness: whether the process is alive, and whether it can do its work."""

from alembic.script import ScriptDirectory
from fastapi import APIRouter
from sqlmodel.ext.asyncio.session import AsyncSession

import migrations
from api.dependencies import Here
from api.schemas.common import Output
from takings.database import fetch
from takings.errors import TakingsError, Unavailable

router = APIRouter(tags=["health"])

HEAD = ScriptDirectory(str(migrations.HERE)).get_current_head()
"""The schema that this code was written for."""


class NotReady(Unavailable):
    """The service cannot do its work: {why}.

    It will be ready as soon as that is put right.
    """


class SchemaDiffers(Unavailable):
    """The schema is at {found}, and this code needs {wanted}.

    Run "takings db migrate".
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
        await here.database.run(_same_schema)
        await here.database.refuse_unsafe_settings()
    except TakingsError as error:
        raise NotReady(why=error.message.rstrip(".")) from error
    return Health()


async def _same_schema(session: AsyncSession) -> None:
    rows = await fetch(session, "SELECT version_num FROM alembic_version")
    found = rows[0].version_num if rows else "nothing"
    if found != HEAD:
        raise SchemaDiffers(found=found, wanted=HEAD)
