"""``takings payouts run``: everybody is paid, and one sees how far that has come."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from sqlmodel.ext.asyncio.session import AsyncSession

from api.cli import loop, output
from api.cli.output import AsJson
from api.cli.processes import StripeKeyMissing
from api.runtime import Runtime
from api.schemas.payouts import BatchProgress, State
from takings import money
from takings.errors import Unavailable
from takings.money import Money
from takings.payments import asks
from takings.payouts import batches, transfers
from takings.records import new_id

SHOWN_S: Final = 0.5
"""How often the bars are drawn."""

PATIENCE: Final = asks.LEASE + timedelta(seconds=15)
"""What another process took along and died with is due again after the lease."""


class NotAllSent(Unavailable):
    """Of the payouts of {batch} {left} could not be sent yet.

    The worker sends them as soon as Stripe answers; or run this again.
    """


# One that was killed is begun no second time: not before its last payout is sent.
MINE = """
SELECT id FROM payout_batches b
 WHERE requested_by = $1 AND NOT scheduled
   AND (written_at IS NULL
        OR EXISTS (SELECT FROM payouts WHERE batch_id = b.id AND state = 'sending'))
 ORDER BY created_at, id LIMIT 1
"""


@loop.awaited
async def run(
    *,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="or leave it to the worker")
    ] = True,
    json: AsJson = False,
) -> None:
    """Pay everybody whose plan is not manual, whatever day it names.

    One of yours that was broken off is carried on first.
    """
    async with loop.running() as runtime:
        if wait:
            need_key(runtime)
        mine = await runtime.database.fetch(MINE, loop.actor())
        name = mine[0].id if mine else new_id("pob")
        await batches.start(runtime.database, name, actor=loop.actor(), now=runtime.now())
        await loop.noted(runtime, "payout_batches.begin", name)
        if wait:
            await _watched(runtime, name)
        found = await runtime.database.run(_progress, name)
    if json:
        output.as_json(found.model_dump())
        return
    _tell(found, carried_on=bool(mine))
    if wait:
        tell_threshold(runtime)


def need_key(runtime: Runtime) -> None:
    """Raise StripeKeyMissing where nothing could be sent."""
    if not runtime.settings.stripe_api_key.get_secret_value().strip():
        raise StripeKeyMissing


def tell_threshold(runtime: Runtime) -> None:
    """Say from which amounts on another person has to approve what was written here."""
    output.console.print(threshold(runtime.settings.payout_approval), markup=False)


def threshold(approval: Mapping[str, int]) -> str:
    """The approval threshold in words."""
    sums = [money.format(Money(minor, currency)) for currency, minor in sorted(approval.items())]
    if not sums:
        return "No approval threshold is set."
    return f"What is above {' or '.join(sums)} waits for another person."


async def _progress(session: AsyncSession, name: str) -> BatchProgress:
    return BatchProgress.told(await batches.progress(session, name))


async def _watched(runtime: Runtime, name: str) -> None:
    """Carry a batch to its end, and show how far that is."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    dumb = not output.errors.is_terminal
    with Progress(*columns, console=output.errors, transient=True, disable=dumb) as shown:
        bars = [shown.add_task(what, total=None) for what in ("hosts looked at", "payouts sent")]
        async with asyncio.TaskGroup() as both:
            work = both.create_task(_carried(runtime, name))
            while not work.done():
                await asyncio.wait([work], timeout=SHOWN_S)
                found = await runtime.database.run(_progress, name)
                _drawn(shown, bars, found)


def _drawn(shown: Progress, bars: Sequence[TaskID], found: BatchProgress) -> None:
    looked, sent = bars
    shown.update(looked, completed=found.looked, total=found.hosts)
    waits = _many(found, "waiting")
    done = _many(found, "sent") + _many(found, "refused")
    shown.update(sent, completed=done, total=found.written - waits)


def _many(found: BatchProgress, state: State) -> int:
    return sum(part.payouts for part in found.payouts if part.state == state)


async def _carried(runtime: Runtime, name: str) -> None:
    """Write a batch and send what it pays, beside whatever worker is at it too."""
    database, before, since = runtime.database, None, runtime.now()
    while True:
        now = runtime.now()
        await batches.write(database, runtime.settings.payout_approval, now=now)
        sent = await transfers.send(database, runtime.stripe, now=now)
        found = await database.run(_progress, name)
        left = _many(found, "sending")
        if found.written_at is not None and not left:
            return
        if sent or found != before:
            before, since = found, now
        elif now - since > PATIENCE:
            raise NotAllSent(batch=name, left=left)
        if not sent:
            await asyncio.sleep(SHOWN_S)


def _tell(found: BatchProgress, *, carried_on: bool) -> None:
    what = "carried on" if carried_on else "begun"
    said = f"{found.id} ({what}): {found.looked} of {found.hosts} hosts looked at"
    written = output.many(found.written, "payout")
    output.console.print(f"{said}, {written}", markup=False)
    shown = output.table("", "", "payouts", "amount", right=("payouts", "amount"))
    for part in found.payouts:
        sums = (Money(one.amount, one.currency) for one in part.amounts)
        shown.add_row(part.state, str(part.payouts), "\n".join(map(money.format, sums)))
    if found.payouts:
        output.console.print(shown)
    if _many(found, "waiting"):
        where = f"takings payouts list --state waiting --batch {found.id}"
        output.console.print(f"Some wait for another person: {where}", markup=False)
