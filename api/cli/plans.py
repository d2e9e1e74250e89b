"""When a host is paid: the plan, its pause, what comes next; commands of ``takings payouts``."""

from calendar import day_name
from typing import Annotated

import typer
from rich.markup import escape

from api.cli import loop, output
from api.cli.output import AsJson
from api.schemas.payouts import PayoutPlan, UpcomingPayout
from takings import money
from takings.errors import Invalid
from takings.money import Money
from takings.payouts import plans, tables
from takings.payouts import upcoming as announced
from takings.policies.rules import Schedule

Host = Annotated[str, typer.Argument(help="the host's id")]
Anchor = Annotated[int | None, typer.Option(help="weekday, 1 is Monday; or day of the month")]
Minimum = Annotated[list[str] | None, typer.Option(help="such as eur:10.00, once for each")]


class NotAMinimum(Invalid):
    """{text!r} names no minimum.

    Write it as eur:10.00: a currency, a colon, an amount.
    """


@loop.awaited
async def plan(
    host: Host,
    *,
    schedule: Annotated[Schedule | None, typer.Option(help="how often; else as it is")] = None,
    anchor: Anchor = None,
    minimum: Minimum = None,
    json: AsJson = False,
) -> None:
    """When a host is paid and from how much on; with an option it is changed, from tomorrow on."""
    least = dict(map(_minimum, minimum or ()))
    async with loop.running() as runtime:
        now = runtime.now()
        found = await runtime.database.run(plans.get, host, now)
        known = PayoutPlan.of(found)
        if schedule or anchor is not None or least:
            found = await plans.edit(
                runtime.database,
                host,
                schedule=schedule or known.schedule,
                anchor=anchor if schedule or anchor is not None else known.anchor,
                minimums=known.minimums | least,
                expected=known.version,
                now=now,
            )
            await loop.noted(runtime, "payout_plans.edit", host)
    _tell(found, json=json)


def _minimum(text: str) -> tuple[str, int]:
    currency, colon, amount = text.partition(":")
    if not colon:
        raise NotAMinimum(text=text)
    return currency, money.parse(amount, currency).minor


@loop.awaited
async def pause(
    host: Host,
    *,
    why: Annotated[str, typer.Option(help="what the host is told")],
    json: AsJson = False,
) -> None:
    """Pay a host nothing until that is resumed; what is on its way goes on."""
    async with loop.running() as runtime:
        now = runtime.now()
        found = await plans.pause(runtime.database, host, why=why, actor=loop.actor(), now=now)
        await loop.noted(runtime, "payout_plans.pause", host)
    _tell(found, json=json)


@loop.awaited
async def resume(host: Host, *, json: AsJson = False) -> None:
    """Pay a host again, from the plan's next day on."""
    async with loop.running() as runtime:
        found = await plans.resume(runtime.database, host, now=runtime.now())
        await loop.noted(runtime, "payout_plans.resume", host)
    _tell(found, json=json)


def _tell(found: tables.Plan, *, json: bool) -> None:
    if json:
        output.as_json(PayoutPlan.of(found).model_dump())
        return
    anchor = f" on {_day(found.schedule, found.anchor)}" if found.anchor else ""
    comes = f", next on {found.next_on}" if found.next_on else ", on request alone"
    sums = (Money(minor, currency) for currency, minor in sorted(found.minimums.items()) if minor)
    least = ", ".join(map(money.format, sums))
    said = f"{found.host_id} is paid {found.schedule}{anchor}{comes}"
    if least:
        said += f", from {least} on"
    if found.paused_at:
        said += f"\npaused by {found.paused_by} on {found.paused_at:%Y-%m-%d}: {found.paused_why}"
    output.console.print(said, markup=False)


def _day(schedule: str, anchor: int) -> str:
    """A day of the week or of the month."""
    return day_name[anchor - 1] if schedule == "weekly" else f"day {anchor}"


@loop.awaited
async def upcoming(host: Host, *, json: AsJson = False) -> None:
    """What a host is paid next in each currency, about, and when; or why nothing."""
    async with loop.running() as runtime:
        found = await runtime.database.run(announced.of, host, runtime.now())
    if json:
        data = [UpcomingPayout.of(one).model_dump() for one in found]
        output.as_json({"object": "list", "data": data})
        return
    sums = ("available", "estimate")
    shown = output.table(f"Next payouts of {escape(host)}", "", "on", *sums, "why none", right=sums)
    for one in found:
        amounts = map(money.format, (one.available, one.estimate))
        why = (one.why or "").replace("_", " ")
        shown.add_row(one.currency, str(one.on or ""), *amounts, why)
    output.console.print(shown)
