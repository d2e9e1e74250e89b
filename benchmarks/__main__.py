"""``python -m benchmarks [--full] [name…]``: measure, print one table, write build/bench.json."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated

import orjson
import typer
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import (
    balances,
    door,
    hot_accounts,
    payouts,
    posting,
    seals,
    settling,
    stage,
    tickets,
    webhooks,
    zero_sum,
)
from benchmarks.measure import Figure
from benchmarks.stage import Stage

REPORT = Path(__file__).parent.parent / "build" / "bench.json"

Bench = Callable[[Stage], Awaitable[list[Figure]]]

BENCHES: dict[str, Bench] = {
    "batches": posting.batches,
    "singles": posting.singles,
    "costs": posting.costs,
    "balances": balances.reads,
    "webhooks": webhooks.received,
    "door": door.cost,
    "seals": seals.sealed,
    "settling": settling.settled,
    "tickets": tickets.sold,
    "payouts": payouts.paid,
}
"""What is measured, by name."""

DECISIONS: dict[str, Bench] = {
    "hot-accounts": hot_accounts.candidates,
    "zero-sum": zero_sum.candidates,
    "hold-durability": tickets.durable,
}
"""What was measured once to decide, and can be measured again: only when it is named."""


def main(
    names: Annotated[list[str] | None, typer.Argument(help=", ".join(BENCHES | DECISIONS))] = None,
    *,
    full: Annotated[bool, typer.Option("--full", help="10⁷ postings instead of 10⁶")] = False,
) -> None:
    """Ratios to floors that were measured in the same run, on the same database."""
    chosen = names or list(BENCHES)
    known = BENCHES | DECISIONS
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}: there is {', '.join(known)}")
    console = Console()
    figures = uvloop.run(run(chosen, console, full=full))  # the loop that the service runs on
    console.print(table(figures))
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_bytes(orjson.dumps([f.as_json() for f in figures], option=orjson.OPT_INDENT_2))


async def run(names: Sequence[str], console: Console, *, full: bool) -> list[Figure]:
    """Every bench in turn, each in a fresh database on one server."""
    figures: list[Figure] = []
    async with stage.server() as server:
        for name in names:
            with console.status(f"measuring {name} …"):
                async with stage.fresh(server, f"bench_{name}", full=full) as here:
                    figures += await (BENCHES | DECISIONS)[name](here)
    return figures


def table(figures: Sequence[Figure]) -> Table:
    """The figures as people read them."""
    found = Table(caption="Ratios count: absolute figures move with the machine and the hour.")
    found.add_column("")
    for name in ("value", "floor", "unit", "ratio", "goal", "peak MB"):
        found.add_column(name, justify="left" if name == "unit" else "right", no_wrap=True)
    for figure in figures:
        colour = {True: "green", False: "red", None: "default"}[figure.met()]
        found.add_row(
            f"{figure.name}\n[dim]{figure.note}[/]",
            f"{figure.value:,.0f}",
            "" if figure.floor is None else f"{figure.floor:,.0f}",
            figure.unit,
            "" if figure.ratio is None else f"[{colour}]{figure.ratio:.2f}[/]",
            figure.goal or "",
            "" if figure.peak_mb is None else f"{figure.peak_mb:.0f}",
        )
    return found


if __name__ == "__main__":
    typer.run(main)
