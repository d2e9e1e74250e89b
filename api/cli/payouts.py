"""``takings payouts``: what was paid to whom, and for what; the other person's yes or no."""

from collections.abc import AsyncIterator
from typing import Annotated

import orjson
import typer
from rich.markup import escape

from api import payouts as resource
from api.cli import batches, loop, output, plans
from api.cli.output import AsJson
from api.runtime import Runtime
from api.schemas.payouts import ExplainedPayout, Payout, PayoutFilter, PayoutLine, State
from takings import money
from takings.money import Money
from takings.payouts import lines as parts
from takings.payouts import payouts, tables
from takings.payouts.lines import Line
from takings.records import new_id
from takings.spaces import hosts

app = typer.Typer(
    help="What hosts are paid: list, show, lines, request, approve, refuse, run, plan, pause, "
    "resume, upcoming.",
    no_args_is_help=True,
)

Id = Annotated[str, typer.Argument(help="its id")]
Currency = Annotated[str, typer.Argument(help="such as eur")]
PAGE = 1_000
"""How many lines are read at once."""


@app.command("list")
@loop.awaited
async def listed(
    *,
    state: Annotated[State | None, typer.Option(help="only those")] = None,
    host: Annotated[str | None, typer.Option(help="only the host's")] = None,
    currency: Annotated[str | None, typer.Option(help="only in this one")] = None,
    batch: Annotated[str | None, typer.Option(help="only those of this batch")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 20,
    json: AsJson = False,
) -> None:
    """The payouts, newest first."""
    wanted = PayoutFilter(state=state, host=host, currency=currency, batch=batch, limit=limit)
    if currency is not None:
        money.exponent(currency)
    async with loop.running() as runtime:
        if host is not None:
            await runtime.database.run(hosts.get, host)
        page = await runtime.database.run(resource.listed, wanted)
    if json:
        output.as_json({"object": "list", "data": [one.model_dump() for one in page.data]})
        return
    why = ["why"] if any(one.error for one in page.data) else []
    shown = output.table("Payouts", "id", "host", "amount", "state", *why, right=("amount",))
    for one in page.data:
        errors = [escape(one.error or "")] if why else []
        shown.add_row(one.id, str(one.host), _amount(one), one.state, *errors)
    output.console.print(shown)


@app.command()
@loop.awaited
async def show(payout: Id, *, json: AsJson = False) -> None:
    """One payout: what it is made of, and the transfers that carried it."""
    async with loop.running() as runtime:
        found = await runtime.database.run(resource.explained, payout)
    if json:
        output.as_json(found.model_dump())
        return
    output.console.print(_said(found), markup=False)
    shown = output.table("", "made of", "amount", right=("amount",))
    shown.show_footer = True
    for part in found.waterfall:
        kind = part.kind.replace("_", " ")
        shown.add_row(kind, output.amount(Money(part.amount, found.currency)))
    shown.columns[1].footer = _amount(found)
    output.console.print(shown)
    _transfers(found)


def _transfers(found: ExplainedPayout) -> None:
    columns = ("amount", "came back")
    shown = output.table("", "transfer", "state", *columns, "at Stripe", right=columns)
    for one in found.transfers:
        sums = (Money(one.amount, found.currency), Money(one.reversed, found.currency))
        shown.add_row(one.id, one.state, *map(output.amount, sums), one.stripe_transfer or "")
    if found.transfers:
        output.console.print(shown)


@app.command()
@loop.awaited
async def lines(payout: Id, *, json: AsJson = False) -> None:
    """Exactly what a payout pays, oldest first; with --json a line of JSON for each.

    It adds them up, and exits with 1 where they do not sum to the payout.
    """
    async with loop.running() as runtime:
        found = await runtime.database.run(payouts.get, payout)
        amount = Money(found.minor, found.currency)
        many, left = 0, amount
        async for line in _every(runtime, found):
            many, left = many + 1, left - line.money
            _line(line, json=json)
    if not json:
        sign = "✗" if left else "✓"
        sums = f"{money.format(amount - left)}: {money.format(left)} off"
        said = f"{sign} {output.many(many, 'line')}, Σ {sums}"
        output.console.print(said, markup=False)
    if left:
        raise typer.Exit(loop.FAILED)


async def _every(runtime: Runtime, payout: tables.Payout) -> AsyncIterator[Line]:
    """Every line of a payout, however many: a page at a time."""
    after: str | None = None
    while True:
        page = await runtime.database.run(parts.of, payout, after=after, limit=PAGE)
        for line in page:
            yield line
        if len(page) < PAGE:
            return
        after = page[-1].id


def _line(line: Line, *, json: bool) -> None:
    if json:
        typer.echo(orjson.dumps(PayoutLine.shown(line).model_dump()))
        return
    at = f"{line.happened_at:%Y-%m-%d %H:%M}" if line.happened_at else ""
    what = " ".join(filter(None, (line.of, line.about, line.space, line.entry)))
    said = f"{at:<18}{line.kind.replace('_', ' '):<18}{money.format(line.money):>16}  {what}"
    output.console.print(said.rstrip(), markup=False, soft_wrap=True)


@app.command()
@loop.awaited
async def request(
    host: plans.Host,
    currency: Currency,
    *,
    name: Annotated[str | None, typer.Option("--id", help="to repeat it safely")] = None,
    json: AsJson = False,
) -> None:
    """Pay one host all that is available in a currency, now, whatever the plan says."""
    async with loop.running() as runtime:
        batches.need_key(runtime)
        made = await payouts.request(
            runtime.database,
            runtime.stripe,
            name or new_id("po"),
            host,
            currency,
            actor=loop.actor(),
            approval=runtime.settings.payout_approval,
            now=runtime.now(),
        )
        await loop.noted(runtime, "payouts.request", made.id)
        found = await runtime.database.run(resource.shown, made)
    _tell(found, json=json)
    if not json:
        batches.tell_threshold(runtime)


@app.command()
@loop.awaited
async def approve(payout: Id, *, json: AsJson = False) -> None:
    """Let a payout go that waits: as who you are to the system, never as who asked for it."""
    async with loop.running() as runtime:
        database, now = runtime.database, runtime.now()
        made = await payouts.approve(database, runtime.stripe, payout, actor=loop.actor(), now=now)
        await loop.noted(runtime, "payouts.approve", payout)
        found = await database.run(resource.shown, made)
    _tell(found, json=json)


@app.command()
@loop.awaited
async def refuse(
    payout: Id, *, why: Annotated[str, typer.Option(help="for the record")], json: AsJson = False
) -> None:
    """Do not let a payout go that waits; its money is the host's to take again."""
    async with loop.running() as runtime:
        made = await payouts.refuse(runtime.database, payout, why=why, now=runtime.now())
        await loop.noted(runtime, "payouts.refuse", payout)
        found = await runtime.database.run(resource.shown, made)
    _tell(found, json=json)


for command in (batches.run, plans.plan, plans.pause, plans.resume, plans.upcoming):
    app.command()(command)


def _tell(found: Payout, *, json: bool) -> None:
    if json:
        output.as_json(found.model_dump())
    else:
        output.console.print(f"✓ {_said(found)}", markup=False)


def _said(found: Payout) -> str:
    """A payout in one line."""
    by = f", asked for by {found.requested_by}"
    yes = f", approved by {found.approved_by}" if found.approved_by else ""
    why = f": {found.error}" if found.error else ""
    return f"{found.id}: {_amount(found)} to {found.host} is {found.state}{by}{yes}{why}"


def _amount(found: Payout) -> str:
    return money.format(Money(found.amount, found.currency))
