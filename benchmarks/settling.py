"""Settling: stored events become entries, and Stripe's cash is read and booked beside them."""

import asyncio
import gc
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from api.settlement import SETTLEMENT
from benchmarks import floors, payer, sales, settler
from benchmarks.floors import Books, transposed
from benchmarks.measure import Figure, Peak, Side, compare
from benchmarks.payer import Pay
from benchmarks.sales import Sale
from benchmarks.settler import Settle
from benchmarks.shares import Shares
from benchmarks.stage import Stage
from takings import splits
from takings.ledger import accounts
from takings.payments import sweeps, webhooks
from takings.payments.stripe import Stripe

PAYMENTS, ROUNDS = 4_000, 5
PROMISED = 2_000

# Everything that settling writes, in one statement and one round trip.
FLOOR = floors.BATCH.replace(
    "WITH\n",
    """WITH
paid AS (
  UPDATE {schema}.payments p
     SET state = 'paid', paid_at = f.paid_at, intent_id = f.intent, charge_id = f.charge
    FROM unnest($23::text[], $24::timestamptz[], $25::text[], $26::text[])
      AS f (id, paid_at, intent, charge)
   WHERE p.id = f.id
),
allotment AS (
  INSERT INTO {schema}.allotments
    (line_id, position, host_id, account, gross, credited, taken, held)
  SELECT *, 0, 0 FROM unnest($27::text[], $28::smallint[], $29::text[], $30::text[], $31::bigint[],
                             $32::bigint[])
),
sale AS (
  INSERT INTO {schema}.lifetime_sales AS l (host_id, currency, minor)
  SELECT host, 'eur', minor FROM unnest($33::text[], $34::bigint[]) AS s (host, minor)
  ON CONFLICT (host_id, currency) DO UPDATE SET minor = l.minor + excluded.minor
),
tip AS (
  UPDATE {schema}.tips SET settled_at = $3 WHERE id = ANY($35::text[])
),
event AS (
  UPDATE {schema}.events SET status = 'done', attempts = 1, handled_at = $3
   WHERE id = ANY($36::text[])
),
""",
    1,
)


async def settled(stage: Stage) -> list[Figure]:
    """One worker against raw SQL; with Stripe's cash; and two workers against one."""
    await sales.prepare(stage, "plain")
    figures = []
    for figure in (one, with_cash, two):
        async with payer.running() as (url, pay):  # a Stripe of its own: nobody else's cash
            figures.append(await figure(World(stage, url, pay)))
    return figures


@dataclass(frozen=True, slots=True)
class World:
    """The database, Stripe's address, and the listeners who pay."""

    stage: Stage
    url: str
    pay: Pay

    async def paid(self, schema: str = "public") -> list[Sale]:
        """New payments that nobody has settled yet; what is in memory stays there untouched."""
        made = await sales.paid(self.pay, PAYMENTS)
        await sales.write(self.stage.raw[0], schema, made)
        gc.collect()
        gc.freeze()
        return made


async def one(world: World) -> Figure:
    """One worker, against raw SQL that writes the same rows."""
    figure = Figure("settle stored events, one worker", "payments/s", goal="≥ 0.3")
    async with Stripe(settler.KEY, base=world.url) as door:

        async def side() -> float:
            await world.paid()
            start = time.perf_counter()
            await settler.drain(world.stage.database, door)
            return PAYMENTS / (time.perf_counter() - start)

        figure = await compare(figure, side, floor(world), rounds=ROUNDS)
        await world.paid()
        with Shares() as shares:
            await settler.drain(world.stage.database, door)
    kept = f"batches of {webhooks.BATCH}; floor: the same rows in one statement, no triggers"
    return replace(figure, note=f"{kept}; {shares}")


async def with_cash(world: World) -> Figure:
    """One worker settles, then reads the payments' cash from Stripe and books it."""
    figure = Figure("settle them with their cash", "payments/s", floor=PROMISED, goal="≥ 1")
    database, rounds = world.stage.database, []
    async with Stripe(settler.KEY, base=world.url) as door:
        with Peak() as peak:
            for _ in range(ROUNDS + 1):
                await world.paid()
                start, cpu = time.perf_counter(), time.process_time()
                await settler.drain(database, door)
                middle = time.perf_counter()
                await sweeps.new_cash(database, door, SETTLEMENT, now=datetime.now(UTC))
                end, own = time.perf_counter(), time.process_time() - cpu
                rounds.append((PAYMENTS / (end - start), (end - middle) / (end - start), own))
    # The first round warms, and the first sweep ever goes another way.
    value, cash, own = map(statistics.median, zip(*rounds[1:], strict=True))
    kept = f"cash {cash:.0%} of the time, in pages of 100 over HTTP"
    work = f"the worker's own work {own / PAYMENTS * 1e6:.0f} µs a payment"
    note = f"floor: the payments a second that we promise; {kept}; {work}"
    return replace(figure, value=value, ratio=value / PROMISED, peak_mb=peak.mb, note=note)


async def two(world: World) -> Figure:
    """Two workers against one, each in a process of its own."""
    note = "each in a process of its own; floor: one; where cores allow"
    figure = Figure("two workers against one", "payments/s", goal="≥ 1", note=note)
    async with (
        settler.running(world.stage.app, world.url) as first,
        settler.running(world.stage.app, world.url) as second,
    ):

        def side(*workers: Settle) -> Side:
            async def settle() -> float:
                await world.paid()
                start = time.perf_counter()
                await asyncio.gather(*(worker() for worker in workers))
                return PAYMENTS / (time.perf_counter() - start)

            return settle

        return await compare(figure, side(first, second), side(first), rounds=ROUNDS)


def floor(world: World) -> Side:
    """A side: raw SQL writes the same rows into plain copies of the tables."""
    books, sql = Books(), FLOOR.format(schema="plain")

    async def side() -> float:
        work = [columns(books, batch) for batch in sales.batches(await world.paid("plain"))]
        start = time.perf_counter()
        for batch in work:
            await world.stage.raw[0].fetch(sql, *batch)
        return PAYMENTS / (time.perf_counter() - start)

    return side


def columns(books: Books, batch: Sequence[Sale]) -> list[Any]:
    """The arguments of FLOOR: one array for each column."""
    allotments: list[tuple[Any, ...]] = []
    sold: dict[str, int] = {}
    for sale in batch:
        parts = splits.divide(sale.minor, sales.WEIGHTS)
        for place, (host, part) in enumerate(zip(sales.hosts(sale.room), parts, strict=True), 1):
            held = accounts.of_host(host, "held")
            allotments.append((sale.line, place, host, held, part, part))
            sold[host] = sold.get(host, 0) + part
        covered = sale.charged - sale.minor
        allotments.append((sale.line, 3, None, accounts.FEES_COVERED, 0, covered))
    paid = [(s.payment, s.at, s.intent["id"], s.intent["latest_charge"]) for s in batch]
    return [
        *books.columns([sale.earned() for sale in batch]),
        *transposed(paid),
        *transposed(allotments),
        *transposed(sorted(sold.items())),
        [sale.tip for sale in batch],
        [sale.event["id"] for sale in batch],
    ]
