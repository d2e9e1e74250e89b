"""``takings demo``: a busy evening with every trouble, and books that come out right."""

from typing import Annotated

import typer
from rich.markup import escape

from api.cli import loop, output
from api.cli.demo import closing, evening, regulars, report
from api.cli.demo.stage import Stage, staged
from api.settings import made

REGULARS = 10  # one in so many


@loop.awaited
async def demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running until Ctrl-C.")] = False,
    seed: Annotated[int, typer.Option(help="the same seed, the same evening")] = 7,
    listeners: Annotated[int, typer.Option(min=1, max=10_000)] = 200,
) -> None:
    """Listeners tip three hosts while webhooks get lost; in the end every cent is in its place.

    Exit code 1 if one is not.
    """
    async with staged(seed) as stage:
        right = await _play(stage, seed, listeners)
        if keep:
            stop = loop.stopping()
            report.where_it_runs(stage)
            await stop.wait()
        elif right:
            again = "make demo KEEP=1" if made() else f"{output.program()} demo --keep"
            output.console.print(f"\nLook around in it: [bold]{escape(again)}[/]", soft_wrap=True)
    if not right:
        raise typer.Exit(loop.FAILED)


async def _play(stage: Stage, seed: int, listeners: int) -> bool:
    """The whole evening; whether everything came out right."""
    rooms = await evening.open_rooms(stage)
    played = await evening.play(stage, evening.wishes(rooms, listeners, seed))
    await regulars.come(stage, rooms, played, many=-(-listeners // REGULARS))
    lost = await closing.find_lost(stage)
    await closing.refund_some(stage, played)
    await closing.end(stage, rooms)
    still_open = await closing.drain(stage)
    return await report.reckoning(stage, played, lost, still_open)
