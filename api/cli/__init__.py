"""``takings``: everything that one does from a terminal."""

from collections.abc import Callable

import typer

from api import logs
from api.cli import (
    agreements,
    books,
    database,
    demo,
    disputes,
    doctor,
    door,
    events,
    keys,
    payouts,
    people,
    previews,
    processes,
    seals,
    tickets,
    verification,
)

app = typer.Typer(
    help="Tips, ticketed Spaces and fair splits for live-audio platforms.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Run": (processes.up, processes.serve, processes.worker, processes.sandbox, demo.demo),
    "Look": (
        *(books.trial_balance, books.balance, books.entries, verification.verify),
        *(people.hosts, people.spaces, tickets.runs, tickets.quota, tickets.tickets),
        previews.preview,
    ),
    "Tend": (doctor.doctor, tickets.admit),
}
GROUPS = {
    "agreements": agreements.app,
    "db": database.app,
    "disputes": disputes.app,
    "door": door.app,
    "events": events.app,
    "keys": keys.app,
    "payouts": payouts.app,
    "seals": seals.app,
}

for panel, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
for name, group in GROUPS.items():
    app.add_typer(group, name=name, rich_help_panel="Tend")


@app.callback()
def _logs() -> None:
    """Logs go where they do not mix with answers."""
    logs.configure()


def main() -> None:
    """The entry point of the command ``takings``."""
    app()
