"""``takings door``: the keys that passes are signed with."""

from typing import Annotated

import typer

from api.cli import loop, output
from api.cli.output import AsJson
from api.schemas.admissions import PublicKey
from ticketing import door_keys

app = typer.Typer(help="The keys of passes: keys, rotate.", no_args_is_help=True)


@app.command()
@loop.awaited
async def keys(*, json: AsJson = False) -> None:
    """The keys that passes are read by, newest first: public, for doors to take along."""
    async with loop.running() as runtime:
        published = await runtime.database.run(door_keys.published, now=runtime.now())
    found = [PublicKey.of(key).model_dump() for key in published]
    if json:
        output.as_json({"object": "list", "data": found})
        return
    shown = output.table("Door keys", "id", "public", "signs")
    for key in found:
        shown.add_row(key["id"], key["public"], "✓" if key["signs"] else "")
    output.console.print(shown)


@app.command()
@loop.awaited
async def rotate(
    *,
    withdraw: Annotated[bool, typer.Option(help="no pass of before is read any more")] = False,
) -> None:
    """Sign passes with a new key, and delete the one before; what it has signed stays good.

    Withdraw what was signed where the database, or a backup of it, has leaked.
    """
    async with loop.running() as runtime:
        await door_keys.rotate(runtime.database, withdraw=withdraw, now=runtime.now())
        await loop.noted(runtime, "door.rotate", "withdrawn" if withdraw else "kept")
    output.console.print("Passes are signed with a new key: doors take it along from now on.")
