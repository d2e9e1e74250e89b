"""Hot accounts: three ways to keep many clients from queueing behind one balance row.

All three are the floor's raw SQL on plain tables, so that only the way differs; the last is what
the product does, triggers and running balances included.
"""

import statistics

import asyncpg

from benchmarks import floors, posting, tips
from benchmarks.measure import Figure, Peak, Side, interleaved, ratio, served
from benchmarks.stage import Stage
from takings.ledger import accounts

CLIENTS = (1, 2, 4, 8)
BATCHES, ROUNDS = 10, 7

# Deferred: the postings of a moment are appended, and folded into balances later (here: never).
DEFERRED = floors.BATCH.replace(
    """  ON CONFLICT (account_id, slot)
  DO UPDATE SET minor = b.minor + excluded.minor, seq = b.seq + excluded.seq
""",
    "",
)


async def candidates(stage: Stage) -> list[Figure]:
    """One row, deferred rows and slots, at one, two, four and eight clients; ratio: to one row."""
    for schema in ("one", "deferred", "slots"):
        await stage.plain(schema)
    await stage.raw[0].execute("ALTER TABLE deferred.balances DROP CONSTRAINT balances_pkey")
    figures = []
    for clients in CLIENTS:
        sides = {
            "one row": raw(stage, "one", clients),
            "deferred rows": raw(stage, "deferred", clients),
            f"{accounts.SLOTS} slots": raw(stage, "slots", clients),
            "as built": posting.product(stage, clients=clients),
        }
        with Peak() as peak:
            found = await interleaved(ROUNDS, sides)
        figures += [
            Figure(
                f"hot account: {name}, {clients} clients",
                "commits/s",
                value=statistics.median(rates),
                floor=statistics.median(found["one row"]),
                ratio=ratio(rates, found["one row"]),
                peak_mb=peak.mb,
                note="batches of 100 × 4; floor: one row",
            )
            for name, rates in found.items()
        ]
    return figures


def raw(stage: Stage, schema: str, clients: int) -> Side:
    """A side: as many clients write batches, each into its slot where there are slots."""
    books = floors.Books()
    sql = (DEFERRED if schema == "deferred" else floors.BATCH).format(schema=schema)
    width = accounts.SLOTS if schema == "slots" else 1

    async def write(client: tuple[asyncpg.Connection, list[list[object]]], _turn: int) -> None:
        connection, columns = client
        await connection.fetch(sql, *columns.pop())

    async def side() -> float:
        made = [(stage.raw[n], work(n % width)) for n in range(clients)]
        return await served(made, range(BATCHES * clients), write)

    def work(slot: int) -> list[list[object]]:
        return [books.columns(tips.earned(100), slot=slot) for _ in range(BATCHES * clients)]

    return side
