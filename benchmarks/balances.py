"""Reading a balance: the same at ten thousand postings and at a million, on either time."""

import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from benchmarks.measure import Figure, Side, compare, served
from benchmarks.stage import Stage, fresh
from takings.database import Database
from takings.ledger import accounts, balances, journal
from takings.ledger.entries import Entry, Posting
from takings.money import Money

SMALL, LARGE, FULL = 10_000, 1_000_000, 10_000_000
A_DAY = 1_000  # postings in the books; history grows by days, not by busier days
BATCH = 4  # days in a commit
START = datetime(2020, 1, 1, tzinfo=UTC)
READS = 100

Read = Callable[[AsyncSession], Awaitable[Money]]


async def reads(stage: Stage) -> list[Figure]:
    """Now, as of recorded and as of effective time; ratio: many postings against few."""
    size = FULL if stage.full else LARGE
    async with AsyncExitStack() as stack:
        few = await stack.enter_async_context(fresh(stage.server, "bench_few", full=False))
        between = await fill(few, SMALL), await fill(stage, size)
        figures = []
        for name in ("now", "recorded", "effective"):
            figure = Figure(
                f"balance, {name}",
                "µs",
                goal="≤ 1.3",
                note=f"{size:,} postings in the books; floor: {SMALL:,}",
            )
            ours = reading(stage, name, between[1], days=size // A_DAY)
            floor = reading(few, name, between[0], days=SMALL // A_DAY)
            figures.append(await compare(figure, ours, floor))
    return figures


def reading(stage: Stage, name: str, posted_at: datetime, *, days: int) -> Side:
    """A side: microseconds for a read of a hot account, one after another on one connection."""
    noon = START + timedelta(days=days - 1, hours=12)  # of the last day: all days before it count
    kinds: dict[str, Read] = {
        "now": lambda session: balances.now(session, accounts.CHARGES, "eur"),
        "recorded": lambda s: balances.recorded(s, accounts.CHARGES, "eur", posted_at),
        "effective": lambda s: balances.effective(s, accounts.CHARGES, "eur", noon),
    }

    async def side() -> float:
        async with stage.database.transaction() as session:
            start = time.perf_counter()
            for _ in range(READS):
                await kinds[name](session)
            return (time.perf_counter() - start) / READS * 1e6

    return side


async def fill(stage: Stage, postings: int) -> datetime:
    """Post as many, day after day, by four clients at once; an instant in the midst of it."""
    days = postings // A_DAY
    middle = [datetime.now(UTC)]

    async def post(database: Database, first: int) -> None:
        batch = [entry for day in range(first, min(first + BATCH, days)) for entry in a_day(day)]
        await database.run(journal.post, batch)
        if first <= days // 2:
            middle[0] = datetime.now(UTC)

    await served([stage.database] * 4, range(0, days, BATCH), post)
    await stage.raw[0].execute("VACUUM ANALYZE postings, balances, day_balances, accounts")
    return middle[0]


def a_day(day: int) -> list[Entry]:
    """A day's postings, half of them on each of two accounts, ten to an entry."""
    charged = Posting(accounts.CHARGES, Money(1, "eur"))
    earned = Posting(accounts.TIP_COMMISSION, Money(-1, "eur"))
    legs = (charged, earned) * 5
    count = A_DAY // len(legs)
    step = timedelta(days=1) / count
    return [
        Entry(f"{day}:{n}", "filled", f"day_{day}", START + timedelta(days=day) + n * step, legs)
        for n in range(count)
    ]
