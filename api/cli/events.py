"""Stripe's webhooks as they came: listed, shown, handled again."""

from typing import Annotated, Literal

import orjson
import typer
from rich.json import JSON

from api.cli import loop, output
from api.cli.output import AsJson
from takings.errors import NotFound
from takings.payments import webhooks

app = typer.Typer(help="Stripe's webhooks: list, show, replay.", no_args_is_help=True)

Status = Literal["received", "done", "failed", "parked"]

FIELDS = "id, type, status, attempts, account, endpoint, created_at, received_at, handled_at, error"

LIST = f"""
SELECT {FIELDS} FROM events
 WHERE ($1::text IS NULL OR status = $1) AND ($2::text IS NULL OR type = $2)
 ORDER BY received_at DESC, id DESC LIMIT $3
"""

SHOW = f"SELECT {FIELDS}, payload FROM events WHERE id = $1"


@app.command("list")
@loop.awaited
async def list_(
    *,
    status: Annotated[Status | None, typer.Option(help="only those in this state")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="such as charge.updated")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 20,
    json: AsJson = False,
) -> None:
    """The newest events first."""
    async with loop.running() as runtime:
        rows = await runtime.database.fetch(LIST, status, type_, limit)
    if json:
        output.as_json({"object": "list", "data": [row._asdict() for row in rows]})
        return
    shown = output.table("Events", "id", "type", "status", "attempts", "received", "error")
    for row in rows:
        at = row.received_at.strftime("%Y-%m-%d %H:%M:%S")
        shown.add_row(row.id, row.type, row.status, str(row.attempts), at, row.error or "")
    output.console.print(shown)


@app.command()
@loop.awaited
async def show(event: str, *, json: AsJson = False) -> None:
    """One event, with the payload as Stripe sent it."""
    async with loop.running() as runtime:
        rows = await runtime.database.fetch(SHOW, event)
    if not rows:
        raise NotFound(kind="event", id=event)
    found = rows[0]._asdict()
    found["payload"] = orjson.loads(found["payload"])
    if json:
        output.as_json(found)
    else:
        options = orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z
        output.console.print(JSON(orjson.dumps(found, option=options).decode()))


@app.command()
@loop.awaited
async def replay(event: str) -> None:
    """Handle an event again; what it did before is not done twice."""
    async with loop.running() as runtime:
        await webhooks.replay(runtime.database, event, now=runtime.now())
        await loop.noted(runtime, "events.replay", event)
    output.console.print(f"{event} will be handled again by the next worker.")
