"""``takings disputes``: what banks ask back or take, and the evidence to send them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from api import disputes, packs
from api.cli import loop, output
from api.cli.output import AsJson
from api.schemas.disputes import Dispute, DisputeFilter
from takings.money import Money

app = typer.Typer(help="What banks ask back: list, show, evidence.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="its id at Stripe")]
SUMS = ("amount", "taken", "frozen")


@app.command("list")
@loop.awaited
async def listed(
    *,
    payment: Annotated[str | None, typer.Option(help="only of this payment")] = None,
    status: Annotated[str | None, typer.Option(help="only those; Stripe's word")] = None,
    undecided: Annotated[bool | None, typer.Option("--open/--closed")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    json: AsJson = False,
) -> None:
    """The disputes, newest first."""
    wanted = DisputeFilter(payment=payment, status=status, open=undecided, limit=limit)
    async with loop.running() as runtime:
        page = await runtime.database.run(disputes.listed, wanted)
    if json:
        output.as_json({"object": "list", "data": [one.model_dump() for one in page.data]})
        return
    columns = ("id", "payment", "status", "reason", *SUMS, "due by")
    shown = output.table("Disputes", *columns, right=SUMS)
    for one in page.data:
        sums = (output.amount(_money(one, name)) for name in SUMS)
        about = (one.id, str(one.payment), one.status, escape(one.reason))
        shown.add_row(*about, *sums, _when(one.due_by))
    output.console.print(shown)


@app.command()
@loop.awaited
async def show(dispute: Id, *, json: AsJson = False) -> None:
    """One dispute, and how all disputes of its payment lie on the tips or tickets of that."""
    async with loop.running() as runtime:
        found = await runtime.database.run(disputes.shown, dispute)
    if json:
        output.as_json(found.model_dump())
        return
    sums = ", ".join(f"{name} {_money(found, name)}" for name in (*SUMS, "lost"))
    due = f", evidence due by {_when(found.due_by)}" if found.due_by else ""
    said = f"{found.id} of {found.payment}: {found.status}, {found.reason}{due}\n{sums}"
    output.console.print(said, markup=False)
    columns = ("paid", "returned", "disputed", "frozen")
    shown = output.table("", "for", *columns, right=columns)
    for line in found.lines:
        parts = (Money(getattr(line, name), found.currency) for name in columns)
        shown.add_row(line.subject, *map(output.amount, parts))
    output.console.print(shown)


@app.command()
@loop.awaited
async def evidence(
    dispute: Id,
    *,
    to: Annotated[Path, typer.Option(help="the file to write", dir_okay=False)],
) -> None:
    """Write all that speaks for the payment into a ZIP, to be sent to the bank."""
    async with loop.running() as runtime:
        to.write_bytes(await runtime.database.run(packs.of, dispute))
    output.console.print(f"✓ {to}", markup=False)


def _when(seconds: int | None) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}" if seconds else ""


def _money(found: Dispute, name: str) -> Money:
    return Money(getattr(found, name), found.currency)
