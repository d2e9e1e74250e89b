"""Bars: how far it has come, four times a second."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from api.cli import output

PAUSE_S: Final = 0.25

Count = Callable[[], Awaitable[int]]


def shown() -> Progress:
    """Bars below each other, which are drawn while they are entered."""
    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=output.console)


@asynccontextmanager
async def following(bars: Progress, what: str, total: int, count: Count) -> AsyncIterator[None]:
    """A bar that follows a count while something else goes on."""
    bar = bars.add_task(what, total=total)

    async def follow() -> None:
        while True:
            bars.update(bar, completed=await count())
            await asyncio.sleep(PAUSE_S)

    task = asyncio.create_task(follow())
    try:
        yield
    finally:
        task.cancel()
    bars.update(bar, completed=await count())
