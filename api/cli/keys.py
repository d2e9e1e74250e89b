"""``takings keys``: who may call the API."""

from datetime import timedelta
from typing import Annotated, Any

import typer

from api import keys
from api.cli import loop, output
from api.cli.output import AsJson
from api.tables import ApiKey
from takings.errors import Invalid

app = typer.Typer(help="The API's keys: issue, rotate, list, revoke.", no_args_is_help=True)


class NoName(Invalid):
    """{name!r} is no name for a key.

    Say in one line of letters whose it is, such as backend.
    """


@app.command()
@loop.awaited
async def issue(
    name: Annotated[str, typer.Argument(help="whose it is, such as backend")],
    *,
    scope: Annotated[
        list[str] | None,
        typer.Option(help=f"what it opens, once for each: {', '.join(keys.SCOPES)}"),
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="for real money")] = False,
    json: AsJson = False,
) -> None:
    """Make a key; it is shown now and never again.  Without a scope it opens everything."""
    if not (name.strip() and name.isprintable()):
        raise NoName(name=name)
    async with loop.running() as runtime:
        now, scopes = runtime.now(), scope or ["admin"]
        key, secret = await keys.issue(runtime.database, name, scopes=scopes, live=live, now=now)
        await loop.noted(runtime, "keys.issue", key.id)
    _shown_once(key, secret, json=json)


@app.command()
@loop.awaited
async def rotate(
    key: Annotated[str, typer.Argument(help="its id, from the list")],
    *,
    hours: Annotated[int, typer.Option(min=0, max=24 * 30, help="the old one still opens")] = 24,
    json: AsJson = False,
) -> None:
    """Make a key like this one, and let the old one expire."""
    async with loop.running() as runtime:
        grace, now = timedelta(hours=hours), runtime.now()
        made, secret = await keys.rotate(runtime.database, key, grace=grace, now=now)
        await loop.noted(runtime, "keys.rotate", key)
    _shown_once(made, secret, json=json)


def _shown_once(key: ApiKey, secret: str, *, json: bool) -> None:
    if json:
        output.as_json(_plain(key) | {"secret": secret})
    else:
        output.errors.print(f"The key {key.id} of {key.name}, shown this once:")
        typer.echo(secret)


@app.command("list")
@loop.awaited
async def list_(*, json: AsJson = False) -> None:
    """All keys, newest first; what they open with is known to nobody."""
    async with loop.running() as runtime:
        found = [_plain(key) for key in await runtime.database.run(keys.all)]
    if json:
        output.as_json({"object": "list", "data": found})
        return
    shown = output.table("Keys", "id", "name", "key", "scopes", "made", "expires", "revoked")
    for key in found:
        at = (
            f"{when:%Y-%m-%d %H:%M}" if when else ""
            for when in (key["created_at"], key["expires_at"], key["revoked_at"])
        )
        shown.add_row(key["id"], key["name"], key["hint"], ", ".join(key["scopes"]), *at)
    output.console.print(shown)


@app.command()
@loop.awaited
async def revoke(key: Annotated[str, typer.Argument(help="its id, from the list")]) -> None:
    """Shut the door to a key, at once and for good."""
    async with loop.running() as runtime:
        await keys.revoke(runtime.database, key, now=runtime.now())
        await loop.noted(runtime, "keys.revoke", key)
    output.console.print(f"{key} opens nothing any more.")


def _plain(key: ApiKey) -> dict[str, Any]:
    return key.model_dump(exclude={"hash"})
