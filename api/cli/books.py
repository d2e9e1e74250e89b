"""Reading the books: the trial balance, one account, the journal."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Annotated, Any

import typer
from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from api.cli import loop, output
from api.cli.output import AsJson
from takings.database import fetch
from takings.errors import Invalid, NotFound
from takings.ledger import balances
from takings.ledger.balances import Line
from takings.money import Money


class NotAnInstant(Invalid):
    """{text!r} is not an instant.

    Write it as 2026-11-20 or 2026-11-20T10:30:00+01:00; without a zone it is UTC.
    """


class TwoTimes(Invalid):
    """One balance cannot be as of both times at once.

    Ask for --happened-at (what was so) or for --posted-at (what the books said).
    """


def instant(text: str) -> datetime:
    """The instant that ISO 8601 text names; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise NotAnInstant(text=text) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@loop.awaited
async def trial_balance(*, json: AsJson = False) -> None:
    """Every account that is not zero; per currency both sides are the same."""
    async with loop.running() as runtime:
        lines = await runtime.database.run(balances.trial)
    if json:
        output.as_json(
            {
                "object": "trial_balance",
                "lines": [_plain(line) for line in lines],
                "totals": [_plain(line) | {"account": None} for line in totals(lines)],
            }
        )
    else:
        print_trial(lines)


def _plain(line: Line) -> dict[str, Any]:
    sides = {"debit": line.debit.minor, "credit": line.credit.minor}
    return {"account": line.account, "currency": line.money.currency} | sides


def totals(lines: Iterable[Line]) -> list[Line]:
    """What is left of each currency: nothing, if the books are right."""
    return [
        Line("", sum((line.money for line in some), Money(0, currency)))
        for currency, some in groupby(lines, key=lambda line: line.money.currency)
    ]


def print_trial(lines: Sequence[Line]) -> None:
    """Show a trial balance, one table for each currency."""
    for currency, some in groupby(lines, key=lambda line: line.money.currency):
        rows = list(some)
        title = f"Trial balance · {currency.upper()}"
        shown = output.table(title, "account", "debit", "credit", right=("debit", "credit"))
        shown.show_footer = True
        for line in rows:
            shown.add_row(line.account, output.amount(line.debit), output.amount(line.credit))
        zero = Money(0, currency)
        shown.columns[1].footer = output.amount(sum((line.debit for line in rows), zero))
        shown.columns[2].footer = output.amount(sum((line.credit for line in rows), zero))
        output.console.print(shown)
    if not lines:
        output.console.print("The books are empty.")


@loop.awaited
async def balance(
    account: Annotated[str, typer.Argument(help="such as assets:stripe:available")],
    *,
    currency: Annotated[str | None, typer.Option(help="such as eur; else all that it has")] = None,
    happened_at: Annotated[str | None, typer.Option(help="as it was so at that instant")] = None,
    posted_at: Annotated[str | None, typer.Option(help="as the books said at that instant")] = None,
    json: AsJson = False,
) -> None:
    """What an account holds, now or as of an instant; + debit, − credit."""
    if happened_at and posted_at:
        raise TwoTimes
    wanted = happened_at or posted_at
    at = instant(wanted) if wanted else None
    read = balances.effective if happened_at else balances.recorded

    async def step(session: AsyncSession) -> list[Money]:
        found = [row.currency for row in await fetch(session, CURRENCIES, account, currency)]
        if not found:
            raise NotFound(kind="account", id=account)
        if at is None:
            return [await balances.now(session, account, one) for one in found]
        return [await read(session, account, one, at) for one in found]

    async with loop.running() as runtime:
        held = await runtime.database.run(step)
    if json:
        sums = [{"currency": one.currency, "minor": one.minor} for one in held]
        as_of = {"happened_at": at if happened_at else None, "posted_at": at if posted_at else None}
        output.as_json({"object": "balance", "account": account, "balances": sums} | as_of)
    else:
        for one in held:
            output.console.print(f"{account}  {output.amount(one) or one}")


CURRENCIES = """
SELECT currency FROM accounts WHERE name = $1 AND ($2::text IS NULL OR currency = $2) ORDER BY 1
"""

ENTRIES = """
WITH chosen AS (
  SELECT e.* FROM entries e
   WHERE ($1::text IS NULL OR e.subject = $1) AND ($2::text IS NULL OR e.kind = $2)
     AND ($3::text IS NULL OR EXISTS (
         SELECT FROM postings p JOIN accounts a ON a.id = p.account_id
          WHERE p.entry_id = e.id AND p.posted_at = e.posted_at AND a.name = $3))
   ORDER BY e.posted_at DESC, e.id DESC LIMIT $4
)
SELECT c.id, c.key, c.kind, c.subject, c.source, c.happened_at, c.posted_at, c.narration,
       a.name AS account, p.currency, p.minor, p.line
  FROM chosen c
  JOIN postings p ON p.entry_id = c.id AND p.posted_at = c.posted_at
  JOIN accounts a ON a.id = p.account_id
 ORDER BY c.posted_at DESC, c.id DESC, p.n
"""


@loop.awaited
async def entries(
    *,
    subject: Annotated[str | None, typer.Option(help="a payment, a refund, a payout")] = None,
    account: Annotated[str | None, typer.Option(help="entries that touch this account")] = None,
    kind: Annotated[str | None, typer.Option(help="such as earned, cash, released")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 20,
    json: AsJson = False,
) -> None:
    """The journal, newest entry first."""
    async with loop.running() as runtime:
        rows = await runtime.database.fetch(ENTRIES, subject, kind, account, limit)
    found = [_entry(list(legs)) for _, legs in groupby(rows, key=lambda row: row.id)]
    if json:
        output.as_json({"object": "list", "data": found})
        return
    if not found:
        output.errors.print("No entries.")
    for entry in found:
        at = entry["happened_at"].strftime("%Y-%m-%d %H:%M:%S")
        output.console.print(f"[bold]{at}  {entry['kind']}[/]  {entry['key']}")
        for leg in entry["postings"]:
            sum_ = output.amount(Money(leg["minor"], leg["currency"]))
            output.console.print(f"    {leg['account']:<58}{sum_:>16}", soft_wrap=True)


def _entry(legs: Sequence[Row[Any]]) -> dict[str, Any]:
    first, parts = legs[0], ("account", "currency", "minor", "line")
    fields = ("id", "key", "kind", "subject", "source", "happened_at", "posted_at", "narration")
    return {name: getattr(first, name) for name in fields} | {
        "postings": [{part: getattr(leg, part) for part in parts} for leg in legs]
    }
