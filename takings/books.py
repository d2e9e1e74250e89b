"""Books of your own: a database made ready, for a service or for ten lines of Python."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import migrations
from takings import embedded
from takings.database import Database
from takings.policies import policies

NAME = "takings"
APP = "takings_app"


async def prepare(owner_url: str, app_role: str, *, now: datetime) -> None:
    """Bring the schema up to date and publish the presets; repeat it as often as you like.

    As the owner; the app role may serve afterwards.
    """
    await asyncio.to_thread(migrations.upgrade, owner_url, app_role)
    async with Database(owner_url, connections=1) as database:
        await policies.publish_presets(database, now=now)


@asynccontextmanager
async def opened(home: Path, *, now: datetime) -> AsyncIterator[Database]:
    """Books in a folder: the embedded PostgreSQL runs for as long as somebody is inside."""
    async with embedded.running(home) as server:
        await server.create(NAME)
        await prepare(server.url(NAME, "owner"), APP, now=now)
        async with Database(server.url(NAME, "app")) as database:
            yield database
