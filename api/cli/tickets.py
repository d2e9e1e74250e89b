"""Tickets: the runs, what they have left, who has a ticket, and the door."""

import asyncio
from typing import Annotated, Any

import orjson
import typer
from rich.markup import escape

from api import quotas as board
from api.cli import loop, output
from api.cli.output import AsJson
from api.cli.people import Limit
from api.runtime import Runtime
from api.schemas import quotas as schemas
from takings.errors import NotFound
from takings.money import Money
from takings.records import new_id
from ticketing import admissions, quotas
from ticketing.admissions import AdmissionWish
from ticketing.quotas import Quota

RUNS = """
SELECT id, space_id AS space, currency, opens_at, closes_at, cancelled_at, created_at FROM runs
 ORDER BY created_at DESC, id LIMIT $1
"""

TICKETS = """
SELECT t.id, t.number, r.name AS tier, t.listener_id AS listener, t.holder, t.minor AS amount,
       u.currency, t.state, t.issued_at, t.voided_at, a.happened_at AS admitted_at, a.door
  FROM tickets t
  JOIN runs u ON u.id = t.run_id
  JOIN tiers r ON r.id = t.tier_id
  LEFT JOIN admissions a ON a.ticket_id = t.id
 WHERE t.run_id = $1 ORDER BY t.number NULLS LAST, t.created_at, t.id LIMIT $2
"""

Run = Annotated[str, typer.Argument(help="its id")]
COUNTS = ("size", "sold", "held", "waiting", "available")


@loop.awaited
async def runs(*, limit: Limit = 20, json: AsJson = False) -> None:
    """The runs of tickets, newest first, and what is left of each."""
    async with loop.running() as runtime:
        found = [row._asdict() for row in await runtime.database.fetch(RUNS, limit)]
        ids = [run["id"] for run in found]
        left = await quotas.of(runtime.database, ids, now=runtime.now())
    for run in found:
        run |= {name: getattr(left[run["id"]], name) for name in COUNTS}
    if json:
        output.as_json({"object": "list", "data": found})
        return
    shown = output.table("Runs", "id", "space", *COUNTS, "", right=COUNTS)
    for run in found:
        over = "called off" if run["cancelled_at"] else ""
        shown.add_row(run["id"], run["space"], *(str(run[name]) for name in COUNTS), over)
    output.console.print(shown)


@loop.awaited
async def quota(
    run: Run,
    *,
    watch: Annotated[bool, typer.Option("--watch", help="a line for each change")] = False,
    json: AsJson = False,
) -> None:
    """What a run has left, of each tier too."""
    async with loop.running() as runtime:
        found = await _quota(runtime, run)
        if not watch:
            _show(found, json=json)
            return
        _line(found, json=json)
        while True:
            await asyncio.sleep(board.POLL_S)
            last, found = found, await _quota(runtime, run)
            if found != last:
                _line(found, json=json)


async def _quota(runtime: Runtime, run: str) -> Quota:
    for found in (await quotas.of(runtime.database, [run], now=runtime.now())).values():
        return found
    raise NotFound(kind="run", id=run)


def _show(found: Quota, *, json: bool) -> None:
    if json:
        output.as_json(schemas.Quota.of(found).model_dump())
        return
    shown = output.table(f"Quota of {found.run}", "", *COUNTS, right=COUNTS)
    for part in found.parts:
        taken = (part.sold, part.held, "", part.available)
        shown.add_row(
            part.tier, *("" if count is None else str(count) for count in (part.size, *taken))
        )
    shown.add_row("run", *(str(getattr(found, name)) for name in COUNTS))
    output.console.print(shown)


def _line(found: Quota, *, json: bool) -> None:
    if json:
        typer.echo(orjson.dumps(schemas.Quota.of(found).model_dump()))
        return
    said = "  ".join(f"{name} {getattr(found, name)}" for name in COUNTS)
    typer.echo(f"{found.as_of:%H:%M:%S}  {said}")


@loop.awaited
async def tickets(run: Run, *, limit: Limit = 100, json: AsJson = False) -> None:
    """The tickets of a run, by their numbers, and who came with them."""
    async with loop.running() as runtime:
        await _quota(runtime, run)
        found = [row._asdict() for row in await runtime.database.fetch(TICKETS, run, limit)]
    if json:
        output.as_json({"object": "list", "data": found})
        return
    columns = ("number", "id", "tier", "listener", "holder", "paid", "state", "admitted")
    shown = output.table(f"Tickets of {run}", *columns, right=("number", "paid"))
    for ticket in found:
        shown.add_row(*_cells(ticket))
    output.console.print(shown)


def _cells(ticket: dict[str, Any]) -> list[str]:
    number, at = ticket["number"], ticket["admitted_at"]
    return [
        str(number) if number is not None else "–",
        *(ticket[name] for name in ("id", "tier", "listener")),
        escape(ticket["holder"] or ""),
        output.amount(Money(ticket["amount"], ticket["currency"])),
        ticket["state"],
        f"{at:%Y-%m-%d %H:%M} {ticket['door']}" if at else "",
    ]


@loop.awaited
async def admit(
    text: Annotated[str, typer.Argument(metavar="PASS", help="what the ticket's QR code says")],
    *,
    space: Annotated[str, typer.Option(help="whose door it is")],
    door: Annotated[str, typer.Option(help="the name of the door")],
    place: Annotated[str | None, typer.Option(help="where that is")] = None,
    json: AsJson = False,
) -> None:
    """Let in whoever shows this pass, once; the second time it says when and where that was."""
    async with loop.running() as runtime:
        wish = AdmissionWish(new_id("adm"), text, space, door, place)
        found = await admissions.admit(runtime.database, wish, now=runtime.now())
        ticket = found.ticket
        await loop.noted(runtime, "admissions.admit", ticket.id)
    who = {"tier": found.tier, "listener": ticket.listener_id, "holder": ticket.holder}
    if json:
        at = found.admission.happened_at
        output.as_json({"ticket": ticket.id, "number": ticket.number, **who, "admitted_at": at})
        return
    names = ", ".join(filter(None, (found.tier, ticket.holder or ticket.listener_id)))
    output.console.print(f"✓ {ticket.number}: {names}", markup=False)
