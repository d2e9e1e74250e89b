"""The reckoning: the books, each host's money, every check, and where to look next."""

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from api.cli import books, output, verification
from api.cli.demo import evening
from api.cli.demo.evening import Played
from api.cli.demo.stage import STRIPE_KEY, Stage
from takings.ledger import balances
from takings.money import Money

UNSETTLED = """
SELECT id FROM unnest($1::text[]) AS paid (id)
 WHERE NOT EXISTS (SELECT FROM tips t WHERE t.id = paid.id AND t.settled_at IS NOT NULL)
 ORDER BY id
"""


async def reckoning(stage: Stage, played: Played, lost: int, still_open: Sequence[str]) -> bool:
    """Show everything; whether it is all right."""
    await _trouble(stage, played, lost)
    books.print_trial(await stage.runtime.database.run(balances.trial))
    owed = await _hosts(stage)
    wrong = [*still_open, *await _unsettled(stage, played), *misplaced(played, owed)]
    found = await verification.check(stage.runtime)
    for what in wrong:
        output.console.print(f"[red]✗ {escape(what)}[/]")
    if not wrong:
        output.console.print(
            f"[green]✓ {len(played.paid)} tips paid, all settled; {len(played.on_tabs)} more on "
            "tabs; the hosts have what the listeners gave, less what went back.[/]",
            soft_wrap=True,
        )
    return not wrong and all(finding.holds for finding in found)


async def _trouble(stage: Stage, played: Played, lost: int) -> None:
    """What went wrong tonight, as the sandbox counted it and as we met it."""
    struck = (await stage.stripe.get("/_sandbox/faults")).json().get("struck", {})
    made = len((await stage.stripe.get("/_sandbox/events")).json())
    words = {
        "duplicate": "came twice",
        "reorder": "were overtaken",
        "delay": "came late",
        "drop": "never came",
    }
    parts = [f"{struck[fault]} {said}" for fault, said in words.items() if fault in struck]
    told = ", ".join(parts) or f"{lost} never came"
    output.console.print(f"Of Stripe's {made} webhooks {told}.", soft_wrap=True)
    output.console.print(f"Cards declined, and another one used: {played.declined}.")


async def _hosts(stage: Stage) -> Counter[str]:
    """Each host's money; what all of them have together, by currency."""
    shown = output.table("Hosts", "host", "held", "available", right=("held", "available"))
    together: Counter[str] = Counter()
    for host, name in evening.HOSTS.items():
        money = await stage.runtime.database.run(balances.of_host, host)
        for currency, drawers in money.items():
            shown.add_row(name, output.amount(drawers["held"]), output.amount(drawers["available"]))
            together[currency] += sum(held.minor for held in drawers.values())
        shown.add_section()
    output.console.print(shown)
    return together


async def _unsettled(stage: Stage, played: Played) -> list[str]:
    rows = await stage.runtime.database.fetch(UNSETTLED, [*played.paid, *played.on_tabs])
    return [f"{row.id} was paid, but is not settled." for row in rows]


def misplaced(played: Played, owed: Counter[str]) -> list[str]:
    """Where the hosts' money is not what the listeners remember to have given and got back."""
    given: Counter[str] = Counter()
    for wish in (*played.paid.values(), *played.on_tabs.values()):
        given[wish.money.currency] += wish.money.minor
    for money in played.refunded:
        given[money.currency] -= money.minor
    return [
        f"The hosts have {Money(owed[currency], currency)}, the listeners gave "
        f"{Money(given[currency], currency)}."
        for currency in sorted({*given, *owed})
        if given[currency] != owed[currency]
    ]


def where_it_runs(stage: Stage) -> None:
    """How to look around, until Ctrl-C."""
    settings, takings = stage.runtime.settings, output.program()
    output.console.print(
        f"""
It goes on until Ctrl-C.
  API      {stage.url}   (schema: {stage.url}/v1/openapi.json)
  key      {stage.key}
  Stripe   {settings.stripe_api_base}
  logs     {stage.home}/*.log

In another terminal:
  cd {shlex.quote(str(Path.cwd()))}
  export TAKINGS_DATABASE_URL='{stage.where.app}'
  export TAKINGS_STRIPE_API_BASE={settings.stripe_api_base} TAKINGS_STRIPE_API_KEY={STRIPE_KEY}
  {takings} entries --limit 5
  {takings} hosts
  {takings} events list
  {takings} verify
  curl -H 'Authorization: Bearer {stage.key}' {stage.url}/v1/trial-balance""",
        soft_wrap=True,
        markup=False,
    )
