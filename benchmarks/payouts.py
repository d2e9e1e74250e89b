"""Paying ten thousand hosts: what it costs us whatever a payout pays, and what Stripe takes of it.

A payout's lines are the postings since the last one, so writing it costs the same for one line as
for a hundred: that is what is shown, beside raw SQL that writes the same rows.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson

from benchmarks import bank, floors, settler
from benchmarks.floors import Books, transposed
from benchmarks.measure import Figure, Peak, Side, compare, interleaved, served
from benchmarks.stage import Stage
from takings.database import Database
from takings.ledger import accounts, journal
from takings.ledger.entries import Entry, Posting
from takings.money import Money
from takings.payments import asks
from takings.payments.stripe import Stripe
from takings.payouts import batches, funds, lines, payouts, transfers
from takings.records import new_id

HOSTS, SENT, ROUNDS = 10_000, 2_000, 3
FEW, MANY = 1, 100
GROUP = 100  # hosts in an entry that earns
DAY = datetime(2026, 1, 1, tzinfo=UTC)

REGISTER = """
INSERT INTO hosts (id, name, stripe_account, capability, created_at)
SELECT id, id, account, 'active', now() FROM unnest($1::text[], $2::text[]) AS h (id, account)
"""

PLANS = """
INSERT INTO payout_plans (host_id, version, schedule, minimums, next_on, updated_at)
SELECT id, 1, 'daily', '{}', '2026-01-01', now() FROM hosts
"""

# As if Stripe had taken them: the next batch may pay the same hosts.
TAKEN = """
WITH answered AS (UPDATE asks SET answered_at = now() WHERE answered_at IS NULL),
     sent AS (UPDATE transfers SET state = 'sent', stripe_id = id WHERE state = 'asked')
UPDATE payouts SET state = 'sent' WHERE state = 'sending'
"""

COPIES = """
CREATE TABLE plain.payouts (LIKE public.payouts INCLUDING ALL);
CREATE TABLE plain.transfers (LIKE public.transfers INCLUDING ALL);
CREATE TABLE plain.asks (LIKE public.asks INCLUDING ALL);
"""

# All that a step of a batch writes, in one statement and one round trip.
FLOOR = floors.BATCH.format(schema="plain").replace(
    "WITH\n",
    """WITH
payout AS (
  INSERT INTO plain.payouts (id, host_id, currency, minor, state, batch_id, requested_by,
                             destination, account_id, after_seq, upto_seq, upto_at, brought,
                             carried, created_at)
  SELECT id, host, 'eur', minor, 'sending', 'pob', 'system', account, place, 0, 1, $3, 0, 0, $3
    FROM unnest($23::text[], $24::text[], $25::bigint[], $26::text[], $27::bigint[])
      AS p (id, host, minor, account, place)
),
transfer AS (
  INSERT INTO plain.transfers (id, payout_id, host_id, currency, minor, state, reversing, reversed,
                               created_at)
  SELECT id, payout, host, 'eur', minor, 'asked', 0, 0, $3
    FROM unnest($28::text[], $23::text[], $24::text[], $25::bigint[])
      AS t (id, payout, host, minor)
),
ask AS (
  INSERT INTO plain.asks (key, call, params, leased_until, attempts, first_asked_at)
  SELECT key, 'transfers.create', params::jsonb, $3, 0, $3
    FROM unnest($29::text[], $30::text[]) AS a (key, params)
),
""",
    1,
)


async def paid(stage: Stage) -> list[Figure]:
    """A batch with few lines and with many; how a page of lines reads; how fast Stripe is told."""
    await stage.plain()
    await stage.raw[0].execute(COPIES)
    names = [f"host_{n:05}" for n in range(HOSTS)]
    await stage.raw[0].execute(REGISTER, names, [f"acct_{n}" for n in range(HOSTS)])
    await stage.raw[0].execute(PLANS)
    written = Figure(
        f"pay {HOSTS:,} hosts, {HOSTS * MANY:,} lines",
        "payouts/s",
        goal="≥ 0.3",
        note=f"ours alone, Stripe not asked yet; steps of {batches.STEP}; "
        "floor: the same rows in one statement a step, no triggers",
    )
    ours = batch(stage, names, MANY)
    return [
        await compare(written, ours, floor(stage, names), rounds=ROUNDS),
        await constant(stage, names),
        await read(stage),
        await told(stage),
    ]


def batch(stage: Stage, names: Sequence[str], count: int) -> Side:
    """A side: so many lines are earned by every host, then a batch pays them all."""

    async def side() -> float:
        await earn(stage, names, count)
        now = datetime.now(UTC)
        await batches.start(stage.database, new_id("pob"), actor="key_bench", now=now)
        start = time.perf_counter()
        made = await batches.write(stage.database, {}, now=now)
        took = time.perf_counter() - start
        if made != HOSTS:
            raise AssertionError(f"{made} payouts for {HOSTS} hosts")
        await stage.raw[0].execute(TAKEN)
        return HOSTS / took

    return side


async def earn(stage: Stage, names: Sequence[str], count: int) -> None:
    """Post so many lines for every host; untimed."""
    groups = [names[n : n + GROUP] for n in range(0, len(names), GROUP)]

    async def post(database: Database, group: Sequence[str]) -> None:
        for first in range(0, count, 10):
            some = range(first, min(first + 10, count))
            await database.run(journal.post, [evening(group) for _ in some])

    await served([stage.database] * 4, groups, post)
    await stage.raw[0].execute("VACUUM ANALYZE postings, balances, day_balances, accounts, payouts")


def evening(group: Sequence[str]) -> Entry:
    """One line for each of these hosts."""
    charged = Posting(accounts.CHARGES, Money(len(group), "eur"))
    earned = [Posting(funds.available(host), Money(-1, "eur")) for host in group]
    return Entry(new_id("key"), "released", "bench", DAY, (charged, *earned))


def floor(stage: Stage, names: Sequence[str]) -> Side:
    """A side: raw SQL writes the same rows into plain copies of the tables."""
    books = Books()

    async def side() -> float:
        steps = [names[n : n + batches.STEP] for n in range(0, len(names), batches.STEP)]
        work = [columns(books, step) for step in steps]
        start = time.perf_counter()
        for step in work:
            await stage.raw[0].fetch(FLOOR, *step)
        took = time.perf_counter() - start
        await stage.raw[0].execute("UPDATE plain.payouts SET state = 'sent'")
        return HOSTS / took

    return side


def columns(books: Books, names: Sequence[str]) -> list[Any]:
    """The arguments of FLOOR: one array for each column."""
    rows = []
    entries = []
    for place, host in enumerate(names):
        payout, transfer = new_id("po"), new_id("trf")
        entries.append(funds.moved(payout, host, Money(MANY, "eur"), "requested", DAY))
        asked = {
            "amount": MANY,
            "currency": "eur",
            "destination": f"acct_{place}",
            "transfer_group": payout,
            "metadata": {"takings_transfer": transfer, "takings_payout": payout},
        }
        told_ = (f"transfer:{transfer}", orjson.dumps(asked).decode())
        rows.append((payout, host, MANY, f"acct_{place}", place, transfer, *told_))
    return [*books.columns(entries), *transposed(rows)]


async def constant(stage: Stage, names: Sequence[str]) -> Figure:
    """The time of a payout with many lines against one with few."""
    with Peak() as peak:
        found = await interleaved(
            ROUNDS, {"few": batch(stage, names, FEW), "many": batch(stage, names, MANY)}
        )
    ratios = [few / many for few, many in zip(found["few"], found["many"], strict=True)]
    few, many = (1e6 / statistics.median(found[name]) for name in ("few", "many"))
    return Figure(
        f"a payout of {MANY} lines against one of {FEW}",
        "µs",
        value=many,
        floor=few,
        ratio=statistics.median(ratios),
        goal="≤ 1.3",
        peak_mb=peak.mb,
        note=f"{HOSTS:,} payouts: {HOSTS * MANY:,} lines; floor: {HOSTS * FEW:,}",
    )


async def read(stage: Stage) -> Figure:
    """Reading all lines of all payouts, page by page, as a statement does."""
    rows = await stage.database.fetch("SELECT id FROM payouts ORDER BY created_at DESC LIMIT 200")
    start, seen = time.perf_counter(), 0
    async with stage.database.transaction() as session:
        for row in rows:
            payout = await payouts.get(session, row.id)
            seen += len(await lines.of(session, payout, limit=MANY + 2))
    took = time.perf_counter() - start
    return Figure("read the lines of payouts", "lines/s", seen / took, note="a hundred at a time")


# The first hosts have accounts where money can be sent; the others are not paid any more.
MOVED_IN = """
UPDATE hosts h SET capability = CASE WHEN a.id IS NULL THEN 'none' ELSE 'active' END,
                   stripe_account = coalesce(a.id, h.stripe_account)
  FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM hosts) AS o
  LEFT JOIN unnest($1::text[]) WITH ORDINALITY AS a (id, n) ON a.n = o.n
 WHERE h.id = o.id
"""


async def told(stage: Stage) -> Figure:
    """How fast transfers go out, against the bare calls: the rest of the time is ours."""
    figure = Figure(
        f"send {SENT:,} transfers",
        "transfers/s",
        note=f"{asks.AT_ONCE} side by side, booked as they are answered; floor: the bare calls",
    )
    figure = replace(figure, goal="≥ 0.5")
    async with bank.running(SENT) as (url, ids), Stripe(settler.KEY, base=url) as door:
        await stage.raw[0].execute(MOVED_IN, ids)
        return await compare(figure, sending(stage, door), calling(door, ids), rounds=ROUNDS)


def sending(stage: Stage, door: Stripe) -> Side:
    """A side: a batch is written, and its transfers are sent until none is left."""

    async def side() -> float:
        now = datetime.now(UTC)
        rows = await stage.database.fetch("SELECT id FROM hosts WHERE capability = 'active'")
        await earn(stage, [row.id for row in rows], 1)
        await batches.start(stage.database, new_id("pob"), actor="key_bench", now=now)
        await batches.write(stage.database, {}, now=now)
        start, sent = time.perf_counter(), 0
        while some := await transfers.send(stage.database, door, now=now):
            sent += some
        if sent != SENT:
            raise AssertionError(f"{sent} transfers of {SENT}")
        return SENT / (time.perf_counter() - start)

    return side


def calling(door: Stripe, ids: Sequence[str]) -> Side:
    """A side: as many calls as the SDK makes them, and nothing is written down."""

    async def side() -> float:
        start = time.perf_counter()

        async def call(_: int, account: str) -> None:
            await door.ask("transfers.create", asked(account), new_id("bare"))

        await served(range(asks.AT_ONCE), ids, call)
        return SENT / (time.perf_counter() - start)

    return side


def asked(account: str) -> dict[str, Any]:
    """A transfer like those of payouts."""
    return {
        "amount": 1,
        "currency": "eur",
        "destination": account,
        "transfer_group": account,
        "metadata": {"takings_transfer": account, "takings_payout": account},
    }
