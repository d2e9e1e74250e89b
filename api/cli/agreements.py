"""``takings agreements``: who shares what in a Space, and who has signed it."""

from typing import Annotated

import typer

from api.cli import loop, output
from api.cli.output import AsJson
from api.schemas.agreements import Agreement
from takings.spaces import agreements
from takings.spaces.agreements import Signature

app = typer.Typer(help="Who shares what in a Space: show, sign.", no_args_is_help=True)

KEY = "key_"

Space = Annotated[str, typer.Argument(help="its id")]


@app.command()
@loop.awaited
async def show(space: Space, *, json: AsJson = False) -> None:
    """All versions of a Space's agreement, newest first: who has signed, and which is in force."""
    async with loop.running() as runtime:
        found = await runtime.database.run(agreements.every, space)
    if json:
        data = [Agreement.of(version).model_dump() for version in found]
        output.as_json({"object": "list", "data": data})
        return
    columns = ("version", "tips by", "host", "share", "unclaimed", "signed")
    shown = output.table(f"Agreement of {space}", *columns, right=("share",))
    for version in found:
        first = [f"{version.number} {version.state.replace('_', ' ')}", version.tips]
        signed = {one.host: _when(one) for one in version.signatures}
        for share in version.shares:
            claim = f"{share.claim.unclaimed}, {share.claim.days} days" if share.claim else ""
            due = "waits for it" if share.host in version.waiting_for else ""
            part = f"{share.weight // 100}.{share.weight % 100:02} %"
            shown.add_row(*first, share.host, part, claim, signed.get(share.host, due))
            first = [""] * len(first)
    output.console.print(shown)


@app.command()
@loop.awaited
async def sign(
    space: Space,
    host: Annotated[str, typer.Argument(help="the payee who agrees")],
    *,
    version: Annotated[int | None, typer.Option(help="which one; the newest by itself")] = None,
    json: AsJson = False,
) -> None:
    """Note that a payee agrees; when the last one does, it is in force."""
    async with loop.running() as runtime:
        number = version or (await runtime.database.run(agreements.newest, space)).number
        found = await agreements.sign(
            runtime.database, space, number, host, actor=loop.actor(), now=runtime.now()
        )
        await loop.noted(runtime, "agreements.sign", f"{space} {number} {host}")
    if json:
        output.as_json(Agreement.of(found).model_dump())
        return
    waits = f", and waits for {', '.join(found.waiting_for)}" if found.waiting_for else ""
    said = f"✓ {host} has signed version {number}: it is {found.state.replace('_', ' ')}{waits}."
    output.console.print(said, markup=False)


def _when(signature: Signature) -> str:
    actor = signature.actor
    who = f"{KEY}…{actor[-4:]}" if actor.startswith(KEY) else actor  # --json has all of it
    return f"{signature.signed_at:%Y-%m-%d} by {who}"
