"""The reckoning: the books, each host's money, every check, and where to look next."""

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.markup import escape

from api.cli import books, output, verification
from api.cli.demo import box_office
from api.cli.demo.benefit import GUS, SPACE
from api.cli.demo.buyers import CURRENCY, Memory
from api.cli.demo.calls import every
from api.cli.demo.evening import Played
from api.cli.demo.month import NAMES, Month
from api.cli.demo.sale import RUN, Sale
from api.cli.demo.stage import APPROVAL, CONNECT_SECRET, SECRET, STRIPE_KEY, Stage
from takings.ledger import accounts, balances
from takings.money import Money

UNSETTLED = """
SELECT id FROM unnest($1::text[]) AS paid (id)
 WHERE NOT EXISTS (SELECT FROM tips t WHERE t.id = paid.id AND t.settled_at IS NOT NULL)
 ORDER BY id
"""


async def reckoning(
    played: Played, sale: Sale, size: int, month: Month, still_open: Sequence[str]
) -> bool:
    """Show everything; whether it is all right."""
    stage = month.stage
    books.print_trial(await stage.runtime.database.run(balances.trial))
    given = [played.given(), sale.memory.given(), month.benefit.given()]
    owned = await _hosts(month) + await _commission(stage)
    wrong = [
        *still_open,
        *month.wrong,
        *await _unsettled(stage, played),
        *misplaced(sum(given, Counter()), owned),
        *await box_office.reckoning(sale, size),
    ]
    found = await verification.check(stage.runtime)
    for what in wrong:
        output.console.print(f"[red]✗ {escape(what)}[/]")
    if not wrong:
        _tell(played, size, len(month.payouts))
    return not wrong and all(finding.holds for finding in found)


def _tell(played: Played, size: int, payouts: int) -> None:
    output.console.print(
        f"[green]✓ {len(played.paid)} tips paid, all settled; {len(played.on_tabs)} more on "
        "tabs; the hosts have what the listeners gave, less what went back.\n"
        f"✓ {size} of {size} tickets sold, and not one more; their numbers have no gap; every "
        "buyer has a ticket, or all of their money, as Stripe says too.\n"
        f"✓ {payouts} payouts, each the sum of its lines to the cent; nobody is owed anything, and "
        "what came back after a payout is repaid.[/]",
        soft_wrap=True,
    )


async def trouble(stage: Stage, played: Played, memory: Memory, lost: int) -> None:
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
    output.console.print(
        f"Cards declined, and another one used: {played.declined + memory.declined}."
    )


async def _hosts(month: Month) -> Counter[str]:
    """Show each host's money, here and at Stripe; what all have together, by currency."""
    database, together = month.stage.runtime.database, Counter[str]()
    shown = output.table("Hosts", "host", "paid out", "owed", right=("paid out", "owed"))
    sent = await _sent(month.stage)
    for host, account in month.accounts.items():
        for currency, drawers in (await database.run(balances.of_host, host)).items():
            paid = Money(sent[account, currency], currency)
            owed = sum(drawers.values(), Money(0, currency))
            shown.add_row(NAMES[host], output.amount(paid), output.amount(owed))
            together[currency] += (paid + owed).minor
            if owed:
                month.wrong.append(f"{NAMES[host]} is owed {owed} when the month is over.")
        shown.add_section()
    output.console.print(shown)
    return together


async def _sent(stage: Stage) -> Counter[tuple[str, str]]:
    """What Stripe has sent to each account and not taken back, by currency, as Stripe says."""
    sent: Counter[tuple[str, str]] = Counter()
    for one in await every(stage.stripe, "/v1/transfers"):
        sent[one["destination"], one["currency"]] += one["amount"] - one["amount_reversed"]
    return sent


async def _commission(stage: Stage) -> Counter[str]:
    """What the platform keeps of tips and tickets, earned or still deferred."""
    together: Counter[str] = Counter()
    for account in (
        accounts.TIP_COMMISSION,
        accounts.TICKET_COMMISSION,
        accounts.DEFERRED_TICKETS,
    ):
        kept = await stage.runtime.database.run(balances.now, account, CURRENCY)
        together[CURRENCY] -= kept.minor
    return together


async def _unsettled(stage: Stage, played: Played) -> list[str]:
    rows = await stage.runtime.database.fetch(UNSETTLED, [*played.paid, *played.on_tabs])
    return [f"{row.id} was paid, but is not settled." for row in rows]


def misplaced(given: Counter[str], owed: Counter[str]) -> list[str]:
    """Where the money is not what the listeners remember to have given and got back."""
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
  export TAKINGS_STRIPE_WEBHOOK_SECRETS={SECRET} TAKINGS_STRIPE_CONNECT_SECRETS={CONNECT_SECRET}
  export TAKINGS_PAYOUT_APPROVAL={APPROVAL} TAKINGS_TEST_CLOCK={settings.test_clock}
  {takings} entries --limit 5
  {takings} hosts
  {takings} quota {RUN}
  {takings} payouts list
  {takings} payouts upcoming {GUS}
  {takings} disputes list
  {takings} agreements show {SPACE}
  {takings} events list
  {takings} verify
  curl -H 'Authorization: Bearer {stage.key}' {stage.url}/v1/trial-balance""",
        soft_wrap=True,
        markup=False,
    )
