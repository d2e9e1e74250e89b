"""``takings doctor``: what is wrong with this installation, and what to do about each."""

import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from api import runtime
from api.cli import database, loop, output, processes
from api.cli.output import AsJson
from api.runtime import Addresses
from api.settings import Settings, current
from takings import cluster, embedded
from takings.database import Database
from takings.errors import TakingsError
from takings.payments.stripe import Stripe
from takings.payouts import platform

State = Literal["fine", "unknown", "wrong"]
SIGNS = {"fine": "[green]✓[/]", "unknown": "[yellow]?[/]", "wrong": "[red]✗[/]"}

DEMO_HOME = "takings-demo-"
"""How the temporary home of a demo is called; one that was killed may leave it behind."""

AGAIN = "Run takings doctor --stop."

OWNED = """
SELECT current_user AS role, r.rolsuper AS super,
       (SELECT count(*) FROM pg_class c
         WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
           AND c.relowner = r.oid) AS tables
  FROM pg_roles r WHERE r.rolname = current_user
"""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was looked at, how it is, and what to do if that is wrong."""

    name: str
    state: State
    what: str
    remedy: str = ""


@loop.awaited
async def doctor(
    *,
    stop: Annotated[
        bool, typer.Option(help="Stop and remove what nobody uses, without asking.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Look for what could go wrong here; exit code 1 if something is."""
    settings = current()
    ask = not json and sys.stdin.isatty()
    found = [_stale(settings, stop=stop, ask=ask), _demos(stop=stop, ask=ask)]
    found += [diagnosis async for diagnosis in _looked_at(settings)]
    if json:
        output.as_json({"object": "list", "data": [asdict(diagnosis) for diagnosis in found]})
    for diagnosis in () if json else found:
        output.console.print(
            f"{SIGNS[diagnosis.state]} {diagnosis.name:<10} {escape(diagnosis.what)}"
        )
        if diagnosis.remedy:
            output.console.print(f"  {'':<10} [dim]{escape(diagnosis.remedy)}[/]")
    if any(diagnosis.state == "wrong" for diagnosis in found):
        raise typer.Exit(loop.FAILED)


def _stale(settings: Settings, *, stop: bool, ask: bool) -> Diagnosis:
    """A server that outlived its users, stopped if that is wished."""
    home = settings.home / "postgres"
    stale = embedded.find_stale(home)
    if not stale:
        return Diagnosis("servers", "fine", "No embedded PostgreSQL outlived its users.")
    name = f"{stale[0]} in {home}"
    if not stop and not (ask and typer.confirm(f"Stop the stale PostgreSQL {name}?")):
        return Diagnosis("servers", "wrong", f"Nobody uses {name}.", AGAIN)
    embedded.stop_stale(home)
    return Diagnosis("servers", "fine", f"Stopped {name}.")


def _demos(*, stop: bool, ask: bool) -> Diagnosis:
    """What demos left that were killed, servers too, removed if that is wished."""
    left = [
        demo
        for demo in sorted(Path(tempfile.gettempdir()).glob(f"{DEMO_HOME}*"))
        if os.access(demo, os.W_OK) and embedded.is_deserted(demo / "postgres")
    ]
    if not left:
        return Diagnosis("demos", "fine", "No demo left anything behind.")
    names = ", ".join(map(str, left))
    if not stop and not (ask and typer.confirm(f"Remove {names}, with the servers in it?")):
        return Diagnosis("demos", "wrong", f"A demo that was killed left {names}.", AGAIN)
    for demo in left:
        embedded.stop_stale(demo / "postgres")
        forget(demo)
    return Diagnosis("demos", "fine", f"Removed {names}.")


def forget(home: Path) -> None:
    """A home is gone, and what PostgreSQL kept for it elsewhere."""
    folder = cluster.place(home / "postgres").parent
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)


async def _looked_at(settings: Settings) -> AsyncIterator[Diagnosis]:
    """Every diagnosis after the first, each as soon as it is known."""
    for endpoint in processes.SECRETS:
        try:
            processes.signed(settings, endpoint)
        except TakingsError as error:
            yield Diagnosis("webhooks", "wrong", error.message, error.remedy)
        else:
            yield Diagnosis("webhooks", "fine", f"The {endpoint} endpoint has its secret.")
    try:
        async with loop.addresses(settings) as where:
            if settings.database_url is None:  # whoever comes brings it up to date: so do we
                await runtime.migrate(where)
            for look in (_answers, _schema, _rights):
                yield await _guarded(settings, look(where))
    except (TakingsError, OSError) as error:
        ours = loop.in_our_words(error)
        yield Diagnosis("database", "wrong", ours.message, ours.remedy)
    yield await _stripe(settings)
    if settings.stripe_api_key.get_secret_value():
        yield await _schedule(settings)


async def _guarded(settings: Settings, look: Awaitable[Diagnosis]) -> Diagnosis:
    try:
        with loop.naming(settings):
            return await look
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        ours = loop.in_our_words(error)
        return Diagnosis("database", "wrong", ours.message, ours.remedy)


async def _answers(where: Addresses) -> Diagnosis:
    async with Database(where.app, connections=1) as served:
        await served.refuse_unsafe_settings()
    return Diagnosis("settings", "fine", "A crash of PostgreSQL loses nothing acknowledged.")


async def _schema(where: Addresses) -> Diagnosis:
    async with database.connected(where.owner) as owner:
        found = None
        if await owner.fetchval("SELECT to_regclass('alembic_version')"):
            found = await owner.fetchval("SELECT version_num FROM alembic_version")
    if found == database.head():
        return Diagnosis("schema", "fine", f"The schema is at its newest revision, {found}.")
    what = f"The schema is at {found or 'nothing'}, the code at {database.head()}."
    return Diagnosis("schema", "wrong", what, "Run takings db migrate.")


async def _rights(where: Addresses) -> Diagnosis:
    async with database.connected(where.app) as served:
        row = await served.fetchrow(OWNED)
    if not row["tables"] and not row["super"]:
        return Diagnosis("rights", "fine", f"The role {row['role']} serves and owns nothing.")
    why = "is a superuser" if row["super"] else f"owns {row['tables']} tables"
    remedy = "Serve as a role of its own (TAKINGS_DATABASE_URL), migrate as TAKINGS_OWNER_URL."
    return Diagnosis("rights", "wrong", f"The role that serves, {row['role']}, {why}.", remedy)


async def _stripe(settings: Settings) -> Diagnosis:
    key, base = settings.stripe_api_key.get_secret_value(), settings.stripe_api_base
    if not key:
        return Diagnosis("stripe", "unknown", "No key is set.", "Set TAKINGS_STRIPE_API_KEY.")
    if base and "_live_" in key:
        return Diagnosis("stripe", "wrong", f"A live key is sent to {base}, which is not Stripe.")
    async with Stripe(key, base=base) as door:
        try:
            await door.balance()
        except TakingsError as error:
            return Diagnosis("stripe", "wrong", error.message, error.remedy)
    return Diagnosis("stripe", "fine", f"{base or 'Stripe'} answers.")


async def _schedule(settings: Settings) -> Diagnosis:
    """Whether hosts' money could leave for the platform's bank by itself."""
    key, base = settings.stripe_api_key.get_secret_value(), settings.stripe_api_base
    async with Stripe(key, base=base) as door:
        try:
            await platform.check_schedule(door)
        except platform.PaidOutBySchedule as error:
            return Diagnosis("schedule", "wrong", error.message, error.remedy)
        except TakingsError as error:
            return Diagnosis("schedule", "unknown", error.message, error.remedy)
    return Diagnosis("schedule", "fine", "Stripe pays out nothing by itself.")
