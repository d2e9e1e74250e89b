"""Where the time goes: how much of it the worker waits for which statement, and works itself."""

import time
from collections import defaultdict
from types import TracebackType
from typing import Any, Self

from takings import database
from takings.ledger import journal
from takings.payments import allotments, lines, payments, webhooks
from tipping import tips

NAMES = {
    webhooks.CLAIM: "claiming",
    webhooks.DONE: "marking done",
    payments.LOCK: "payments",
    payments.PAID: "payments",
    lines.OF_PAYMENTS: "lines",
    tips.SETTLE: "tips",
    allotments.COUNT: "counters",
    allotments.WRITE: "allotments",
    journal.POST: "posting",
}


class Shares:
    """While inside, every statement of this process is timed."""

    def __init__(self) -> None:
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._begun, self._cpu = time.perf_counter(), time.process_time()
        self._rows = database._rows  # noqa: SLF001 - every statement passes there
        self._words = ""

    def __enter__(self) -> Self:
        database._rows = self._timed  # noqa: SLF001
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        database._rows = self._rows  # noqa: SLF001
        whole = time.perf_counter() - self._begun
        cpu = (time.process_time() - self._cpu) / whole
        longest = sorted(self._spent.items(), key=lambda item: -item[1])
        parts = [f"{name} {spent / whole:.0%}" for name, spent in longest]
        self._words = f"{', '.join(parts)}; its own work {cpu:.0%}"

    async def _timed(self, connection: Any, sql: str, args: tuple[Any, ...]) -> Any:
        start = time.perf_counter()
        try:
            return await self._rows(connection, sql, args)
        finally:
            self._spent[NAMES.get(sql, "others")] += time.perf_counter() - start

    def __str__(self) -> str:
        return self._words
