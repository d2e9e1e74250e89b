"""Who is paid, and where: hosts and Spaces."""

from typing import Annotated

import typer

from api.cli import loop, output
from api.cli.output import AsJson
from takings.ledger import balances

HOSTS = "SELECT id, name, stripe_account, created_at FROM hosts ORDER BY created_at, id LIMIT $1"

SPACES = """
SELECT id, host_id AS host, title, state, policy, created_at FROM spaces
 ORDER BY created_at DESC, id LIMIT $1
"""

Limit = Annotated[int, typer.Option(min=1, max=10_000)]


@loop.awaited
async def hosts(*, limit: Limit = 100, json: AsJson = False) -> None:
    """The hosts, and what each is owed."""
    async with loop.running() as runtime:
        found = [
            (row, await runtime.database.run(balances.of_host, row.id))
            for row in await runtime.database.fetch(HOSTS, limit)
        ]
    if json:
        output.as_json(
            {
                "object": "list",
                "data": [
                    row._asdict()
                    | {
                        "money": {
                            currency: {drawer: held.minor for drawer, held in drawers.items()}
                            for currency, drawers in money.items()
                        }
                    }
                    for row, money in found
                ],
            }
        )
        return
    shown = output.table("Hosts", "id", "name", "held", "available", right=("held", "available"))
    for row, money in found:
        held, available = (
            "\n".join(output.amount(drawers[drawer]) for drawers in money.values())
            for drawer in ("held", "available")
        )
        shown.add_row(row.id, row.name, held, available)
    output.console.print(shown)


@loop.awaited
async def spaces(*, limit: Limit = 20, json: AsJson = False) -> None:
    """The Spaces, newest first."""
    async with loop.running() as runtime:
        found = [row._asdict() for row in await runtime.database.fetch(SPACES, limit)]
    if json:
        output.as_json({"object": "list", "data": found})
        return
    shown = output.table("Spaces", "id", "host", "title", "state", "policy")
    for space in found:
        shown.add_row(*(space[name] for name in ("id", "host", "title", "state", "policy")))
    output.console.print(shown)
