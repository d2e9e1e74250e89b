"""``takings verify``: the books check themselves, their seals, and themselves against Stripe."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from sqlmodel.ext.asyncio.session import AsyncSession

from api.checks import CHECKS
from api.cli import loop, output
from api.cli.output import AsJson
from api.runtime import Runtime
from takings.errors import TakingsError
from takings.ledger import checks, seals
from takings.ledger.checks import Check, Finding
from takings.ledger.seals import Seal
from takings.money import Money

SEALED = Check("seals", "Every entry is as it was sealed, and the chain as it was published.", "")
STRIPE_AGREES = Check("stripe", "Stripe's own balance is what the books say, to the unit.", "")
LOOKS, PAUSE_S = 3, 2.0
"""Both sides move while we look: only a difference that stays is one."""

NOT_COMPARED = "Stripe's own balance was not compared: TAKINGS_STRIPE_API_KEY is empty."

OURS = """
SELECT split_part(a.name, ':', 3) AS status, a.currency, sum(b.minor)::bigint AS minor
  FROM accounts a JOIN balances b ON b.account_id = a.id
 WHERE a.name IN ('assets:stripe:pending', 'assets:stripe:available')
 GROUP BY a.name, a.currency
"""

Started = Callable[[Check, int], object]


async def findings(
    runtime: Runtime,
    *,
    offline: bool = False,
    anchors: Sequence[Seal] = (),
    started: Started = lambda *_: None,
) -> AsyncIterator[Finding]:
    """What every check finds, each as soon as it is known.

    ``started`` hears of each beforehand, and how many seals have been looked at.  Stripe is asked
    where a key is set, unless ``offline``.
    """
    for check in CHECKS:
        started(check, 0)
        yield await runtime.database.run(_one, check)
    started(SEALED, 0)
    broken = await seals.verify(
        runtime.database.fetch,
        anchors,
        now=runtime.now(),
        walked=lambda n: started(SEALED, n),
    )
    yield Finding(SEALED, tuple((one.place, one.why) for one in broken))
    if _key(runtime) and not offline:
        started(STRIPE_AGREES, 0)
        yield Finding(STRIPE_AGREES, await _differences(runtime))


def _key(runtime: Runtime) -> str:
    return runtime.settings.stripe_api_key.get_secret_value()


async def _one(session: AsyncSession, check: Check) -> Finding:
    [finding] = [finding async for finding in checks.run(session, [check])]
    return finding


async def _differences(runtime: Runtime) -> tuple[tuple[str, str], ...]:
    found: tuple[tuple[str, str], ...] = ()
    for look in range(LOOKS):
        if look:
            await asyncio.sleep(PAUSE_S)
        try:
            theirs = await runtime.stripe.balance()
        except TakingsError as error:
            return (("stripe", error.message),)
        rows = await runtime.database.fetch(OURS)
        ours = {(row.status, row.currency): row.minor for row in rows}
        found = compared(ours, theirs)
        if not found:
            break
    return found


def compared(
    ours: Mapping[tuple[str, str], int], theirs: Mapping[tuple[str, str], int]
) -> tuple[tuple[str, str], ...]:
    """Where Stripe's balance, by status and currency, is not ours: the account, and both sums."""
    return tuple(
        (
            f"assets:stripe:{status} {currency}",
            f"Stripe says {Money(said, currency)}, the books say {Money(wrote, currency)}",
        )
        for status, currency in sorted({*ours, *theirs})
        if (said := theirs.get((status, currency), 0)) != (wrote := ours.get((status, currency), 0))
    )


@loop.awaited
async def verify(
    *,
    offline: Annotated[bool, typer.Option(help="Do not ask Stripe.")] = False,
    anchor: Annotated[
        Path | None,
        typer.Option(
            help="a file of lines from seals head", exists=True, dir_okay=False, readable=True
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Check every law of the books, and name whatever breaks one; exit code 1 if any does."""
    anchors = seals.anchors(anchor.read_text(errors="replace")) if anchor else ()
    async with loop.running() as runtime:
        found = await check(runtime, offline=offline, anchors=anchors, quiet=json)
    if json:
        output.as_json(
            {
                "object": "verification",
                "holds": all(finding.holds for finding in found),
                "checks": [_plain(finding) for finding in found],
            }
        )
    if not all(finding.holds for finding in found):
        raise typer.Exit(loop.FAILED)


async def check(
    runtime: Runtime,
    *,
    offline: bool = False,
    anchors: Sequence[Seal] = (),
    quiet: bool = False,
) -> list[Finding]:
    """Run all checks, saying of each what it found, and say at the end whether all hold."""
    found = []
    with output.errors.status("Checking …") as status:

        def started(check: Check, walked: int) -> None:
            status.update(f"Checking: {check.promise} {walked or ''}")

        async for finding in findings(runtime, offline=offline, anchors=anchors, started=started):
            found.append(finding)
            if not quiet:
                _tell(finding)
    if not (offline or _key(runtime)):
        output.errors.print(NOT_COMPARED, soft_wrap=True)
    if not quiet:
        wrong = sum(not finding.holds for finding in found)
        verdict = f"[red]{wrong} of {len(found)} checks fail.[/]"
        output.console.print(verdict if wrong else f"[green]All {len(found)} checks hold.[/]")
    return found


def _tell(finding: Finding) -> None:
    sign = "[green]✓[/]" if finding.holds else "[red]✗[/]"
    text = f"{sign} {finding.check.name:<18} [dim]{finding.check.promise}[/]"
    output.console.print(text, soft_wrap=True)
    for row, why in finding.guilty:
        output.console.print(f"    [red]{escape(row)}[/]  {escape(why)}", soft_wrap=True)


def _plain(finding: Finding) -> dict[str, object]:
    return {
        "name": finding.check.name,
        "promise": finding.check.promise,
        "holds": finding.holds,
        "guilty": [{"row": row, "why": why} for row, why in finding.guilty],
    }
