"""What a command says: tables and lines for people, JSON for programs, errors in one line."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from takings import money
from takings.errors import TakingsError
from takings.money import Money

AsJson = Annotated[bool, typer.Option("--json", help="For programs: JSON, money in minor units.")]

WIDE = 160
"""What is piped into a file has no width of its own; an id should not be cut there."""

console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
errors = Console(stderr=True, highlight=False)


def as_json(answer: Any) -> None:
    """Print an answer as indented JSON."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z
    sys.stdout.write(orjson.dumps(answer, option=options).decode())


def table(title: str, *columns: str, right: tuple[str, ...] = ()) -> Table:
    """An empty table; the columns named in ``right`` hold amounts, which stay on one line."""
    empty = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
    for n, column in enumerate(columns):
        side: Literal["left", "right"] = "right" if column in right else "left"
        whole = n == 0 or column in right
        how: Literal["ellipsis", "fold"] = "ellipsis" if whole else "fold"
        empty.add_column(column, justify=side, overflow=how, no_wrap=whole)
    return empty


def amount(value: Money) -> str:
    """Money as people read it; nothing where there is none."""
    return money.format(value) if value else ""


def many(count: int, one: str) -> str:
    """So many of something, as people say it."""
    return f"{count} {one}{'' if count == 1 else 's'}"


def program() -> str:
    """What one types here to start us once more."""
    started, here = Path(sys.argv[0]).absolute(), Path.cwd()
    if started.name == "__main__.py":
        return shlex.join([sys.executable, "-m", "api.cli"])
    return shlex.quote(str(started.relative_to(here) if here in started.parents else started))


def refuse(error: TakingsError) -> None:
    """One red line with what is wrong and its code, and what can be done about it."""
    errors.print(f"[red]✗ {escape(error.message)}[/] [dim]({error.code})[/]", soft_wrap=True)
    if error.remedy:
        errors.print(f"  {escape(error.remedy)}", soft_wrap=True)
