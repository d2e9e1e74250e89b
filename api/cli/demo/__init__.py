"""``takings demo``: tips and a flash sale of tickets with every trouble, and the month after."""

from typing import Annotated

import typer
from rich.markup import escape

from api.cli import loop, output
from api.cli.demo import buyers as people
from api.cli.demo import cancelled, closing, evening, guests, month, regulars, report, sale
from api.cli.demo.stage import Stage, staged
from api.settings import made

REGULARS = 10  # one in so many
A_TICKET, A_GROUP = 20, 5  # so many buyers for each ticket, so many tickets for each group


@loop.awaited
async def demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running until Ctrl-C.")] = False,
    seed: Annotated[int, typer.Option(help="the same seed, the same evening")] = 7,
    listeners: Annotated[int, typer.Option(min=1, max=10_000)] = 200,
    buyers: Annotated[int, typer.Option(min=200, max=10_000, help="20 for each ticket")] = 2000,
) -> None:
    """Listeners tip hosts, 2,000 buyers come for 100 tickets, while webhooks get lost.

    Then a month passes: hosts are paid, banks take money back, refunds come late.  In the end every
    cent and every ticket is in its place.

    Exit code 1 if one is not.
    """
    async with staged(seed) as stage:
        right = await _play(stage, seed, listeners, buyers)
        if keep:
            stop = loop.stopping()
            report.where_it_runs(stage)
            await stop.wait()
        elif right:
            again = "make demo KEEP=1" if made() else f"{output.program()} demo --keep"
            output.console.print(f"\nLook around in it: [bold]{escape(again)}[/]", soft_wrap=True)
    if not right:
        raise typer.Exit(loop.FAILED)


async def _play(stage: Stage, seed: int, listeners: int, buyers: int) -> bool:
    """The whole evening; whether everything came out right."""
    rooms = await evening.open_rooms(stage)
    played = await evening.play(stage, evening.wishes(rooms, listeners, seed))
    await regulars.come(stage, rooms, played, many=-(-listeners // REGULARS))
    size = buyers // A_TICKET
    sold = await sale.play(stage, people.crowd(buyers, seed), size)
    await guests.give_back(sold)
    await guests.come_in(sold, await guests.pass_on(sold))
    await cancelled.play(stage, sold.memory, groups=max(4, size // A_GROUP))
    lost = await closing.find_lost(stage)
    await closing.refund_some(stage, played)
    await closing.end(stage, rooms)
    await closing.drain(stage)
    await report.trouble(stage, played, sold.memory, lost)
    passed = await month.play(stage, sold.memory)
    still_open = await closing.drain(stage)
    return await report.reckoning(played, sold, size, passed, still_open)
