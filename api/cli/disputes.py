"""``takings disputes``: what banks ask back or take, and the evidence to send them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape

from api import disputes, packs
from api.cli import loop, output
from api.cli.output import AsJson
from api.schemas.disputes import Dispute, DisputeFilter
from takings.errors import Invalid
from takings.money import Money

app = typer.Typer(help="What banks ask back: list, show, evidence.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="its id at Stripe")]
SUMS = ("amount", "taken", "frozen")

Status = Literal[
    "warning_needs_response",
    "warning_under_review",
    "warning_closed",
    "needs_response",
    "under_review",
    "won",
    "lost",
    "prevented",
]
"""Stripe's words for how a dispute is."""


class NotWritable(Invalid):
    """{path} cannot be written: {why}.

    Name a file in a folder that exists and is yours to write to.
    """


@app.command("list")
@loop.awaited
async def listed(
    *,
    payment: Annotated[str | None, typer.Option(help="only of this payment")] = None,
    status: Annotated[Status | None, typer.Option(help="only those; Stripe's word")] = None,
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
    shown = output.table("Disputes", "id", "how it is", *SUMS, right=SUMS)
    for one in page.data:
        sums = (output.amount(_money(one, name)) for name in SUMS)
        shown.add_row(one.id, escape(_stands(one)), *sums)
    output.console.print(shown)


def _stands(one: Dispute) -> str:
    """Why money is asked back, how far that is, and until when the bank hears us."""
    return f"{one.reason}, {one.status}{_due(one, '%Y-%m-%d')}".replace("_", " ")


def _due(one: Dispute, form: str = "%Y-%m-%d %H:%M") -> str:
    if one.due_by is None or one.closed_at is not None:
        return ""
    return f" by {datetime.fromtimestamp(one.due_by, UTC):{form}}"


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
    due = f", evidence due{_due(found)}" if _due(found) else ""
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
        pack = await runtime.database.run(packs.of, dispute)
    try:
        to.write_bytes(pack)
    except OSError as error:
        raise NotWritable(path=to, why=error.strerror) from error
    output.console.print(f"✓ {to}", markup=False)


def _money(found: Dispute, name: str) -> Money:
    return Money(getattr(found, name), found.currency)
