"""``takings db``: bring the schema up to date, prove its migrations, print them, find it."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import asyncpg
import typer
from alembic import command
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.engine import make_url

import migrations
from api import runtime
from api.cli import loop, output
from api.runtime import Addresses
from api.settings import current
from takings.database import in_our_words
from takings.errors import Corrupt

app = typer.Typer(help="The database: migrate, check, sql, url.", no_args_is_help=True)

LEFT_BEHIND = """
SELECT format('%s %s', kind, name) AS what
  FROM (SELECT 'relation' AS kind, relname AS name FROM pg_class
         WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE 'alembic_version%'
        UNION ALL
        SELECT 'function', proname FROM pg_proc
         WHERE pronamespace = 'public'::regnamespace) AS found
"""


class SchemaDiffers(Corrupt):
    """The tables in the code are not those that the migrations make: {why}.

    Write the migration that is missing, or undo the change of the table.
    """


class LeftBehind(Corrupt):
    """Migrated down to nothing, the database still holds {what}.

    Drop it in the downgrade of the migration that creates it.
    """


def head() -> str | None:
    """The newest revision that the code knows."""
    scripts = migrations.config("postgresql://", "takings_app")
    return ScriptDirectory.from_config(scripts).get_current_head()


@app.command()
@loop.awaited
async def migrate() -> None:
    """Bring the schema up to date, as the role that owns it; repeat it as often as you like."""
    async with loop.addresses(current()) as where:
        with output.errors.status("Migrating …"), in_our_words():
            await runtime.migrate(where)
    output.console.print(f"The schema is at revision {head()}.")


@app.command()
@loop.awaited
async def check() -> None:
    """Migrate a scratch database up, down and up again, and compare it with the code."""
    async with loop.addresses(current()) as where, scratch(where) as there:
        with output.errors.status("Up, down and up again …"):
            await _up(there)
            await asyncio.to_thread(migrations.downgrade, there.owner, there.app_role)
            for what in await _left_behind(there):
                raise LeftBehind(what=what)
            await _up(there)
    output.console.print(f"The migrations up to {head()} go up, down and up, and make the tables.")


async def _up(where: Addresses) -> None:
    await asyncio.to_thread(migrations.upgrade, where.owner, where.app_role)
    try:
        await asyncio.to_thread(migrations.check, where.owner, where.app_role)
    except CommandError as error:
        raise SchemaDiffers(why=error) from error


async def _left_behind(where: Addresses) -> list[str]:
    async with connected(where.owner) as owner:
        return [row["what"] for row in await owner.fetch(LEFT_BEHIND)]


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A plain connection, for what is not the service's business."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with in_our_words():
        connection = await asyncpg.connect(plain)
    try:
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def scratch(where: Addresses) -> AsyncIterator[Addresses]:
    """An empty database beside the real one, gone afterwards."""
    name = f"takings_scratch_{os.getpid()}"
    async with connected(where.owner) as owner:
        await owner.execute(f"CREATE DATABASE {name}")
        try:
            yield Addresses(
                *(
                    make_url(url).set(database=name).render_as_string(hide_password=False)
                    for url in (where.app, where.owner)
                )
            )
        finally:
            await owner.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@app.command()
def sql() -> None:
    """The migrations as SQL, from nothing to the newest; no database is asked."""
    command.upgrade(migrations.config("postgresql://", "takings_app"), "head", sql=True)


@app.command()
@loop.awaited
async def url(
    *, owner: Annotated[bool, typer.Option(help="for the role that migrates")] = False
) -> None:
    """Where the database is, with its password; an embedded one runs while something uses it."""
    async with loop.addresses(current()) as where:
        typer.echo(where.owner if owner else where.app)
