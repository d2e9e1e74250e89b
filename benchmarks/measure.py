"""How a figure is taken: two sides in turn, the first round thrown away, medians of the rest."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self, TypeVar

import psutil

Client = TypeVar("Client")
Item = TypeVar("Item")

Side = Callable[[], Awaitable[float]]
"""Does its work once more and says how much of it a second."""

ROUNDS = 11


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table; ``ratio`` is value / floor, and ``goal`` is what it should be."""

    name: str
    unit: str
    value: float = 0
    floor: float | None = None
    ratio: float | None = None
    goal: str | None = None
    peak_mb: float | None = None
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """The row as it stands in ``build/bench.json``."""
        return asdict(self)

    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        if self.goal is None or self.ratio is None:
            return None
        sign, limit = self.goal.split()
        return self.ratio >= float(limit) if sign == "≥" else self.ratio <= float(limit)


class Peak:
    """The most resident memory of a process while inside, looked at a hundred times a second."""

    def __init__(self, pid: int | None = None) -> None:
        self.mb = 0.0
        self._process = psutil.Process(pid)
        self._over = Event()
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._look()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            self._look()

    def _look(self) -> None:
        self.mb = max(self.mb, self._process.memory_info().rss / 2**20)


async def served(
    clients: Sequence[Client], items: Sequence[Item], act: Callable[[Client, Item], Awaitable[None]]
) -> float:
    """Items a second, when every client takes the next one as soon as it has done one."""
    waiting = iter(items)

    async def busy(client: Client) -> None:
        for item in waiting:
            await act(client, item)

    start = time.perf_counter()
    await asyncio.gather(*(busy(client) for client in clients))
    return len(items) / (time.perf_counter() - start)


async def interleaved(rounds: int, sides: Mapping[str, Side]) -> dict[str, list[float]]:
    """The rates of every side, A B A B …, so that a slow minute of the machine meets them all."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            taken = await side()
            if number:  # the first round warms caches, plans and connections
                found[name].append(taken)
    return found


def ratio(ours: Sequence[float], floors: Sequence[float]) -> float:
    """The median of the rounds' ratios: each of ours against the floor right beside it."""
    return statistics.median(a / b for a, b in zip(ours, floors, strict=True))


async def compare(figure: Figure, ours: Side, floor: Side, *, rounds: int = ROUNDS) -> Figure:
    """The figure, filled in: ours against the floor."""
    with Peak() as peak:
        found = await interleaved(rounds, {"ours": ours, "floor": floor})
    return replace(
        figure,
        value=statistics.median(found["ours"]),
        floor=statistics.median(found["floor"]),
        ratio=ratio(found["ours"], found["floor"]),
        peak_mb=peak.mb,
    )
