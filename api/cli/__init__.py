"""``takings``: everything that one does from a terminal."""

import sys

import structlog
import typer

from api.cli import books, verification, database, demo, doctor, events, keys, people, processes

app = typer.Typer(
    help="Tips, ticketed Spaces and fair splits for live-audio platforms.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RUN, LOOK, TEND = "Run", "Look", "Tend"

for command in (processes.up, processes.serve, processes.worker, processes.sandbox, demo.demo):
    app.command(rich_help_panel=RUN)(command)
for command in (books.trial_balance, books.balance, books.entries, people.hosts, people.spaces):
    app.command(rich_help_panel=LOOK)(command)
app.command(rich_help_panel=LOOK)(verification.verify)
app.command(rich_help_panel=TEND)(doctor.doctor)
app.add_typer(database.app, name="db", rich_help_panel=TEND)
app.add_typer(events.app, name="events", rich_help_panel=TEND)
app.add_typer(keys.app, name="keys", rich_help_panel=TEND)


@app.callback()
def _logs() -> None:
    """Logs go where they do not mix with answers."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


def main() -> None:
    """The entry point of the command ``takings``."""
    app()
