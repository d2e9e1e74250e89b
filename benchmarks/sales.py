"""The work of settling: rooms shared by two hosts, and tips that listeners have paid at Stripe.

Everything is written set by set, before any clock starts.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg
import orjson

from benchmarks import tips
from benchmarks.payer import Pay
from benchmarks.stage import Stage
from takings import commission, records, splits
from takings.ledger import accounts
from takings.ledger.entries import Entry, Posting
from takings.money import Money
from takings.payments import webhooks
from takings.payments.objects import moment
from takings.policies import policies
from takings.policies.presets import PRESETS

ROOMS = 500
WEIGHTS = (6_000, 4_000)
POLICY = PRESETS["clubhouse-2021"]  # the listener covers the card fee
TERMS = POLICY.terms["eur"]

# Copies of what settling writes besides the books, plain like those of the books.
PLAIN = """
CREATE TABLE {schema}.payments (LIKE public.payments INCLUDING ALL);
CREATE TABLE {schema}.tips (LIKE public.tips INCLUDING ALL);
CREATE TABLE {schema}.events (LIKE public.events INCLUDING ALL);
CREATE TABLE {schema}.allotments (LIKE public.allotments INCLUDING ALL);
CREATE TABLE {schema}.lifetime_sales (LIKE public.lifetime_sales INCLUDING ALL);
"""

HOSTS = """
INSERT INTO hosts (id, name, created_at) SELECT id, id, now() FROM unnest($1::text[]) AS id
"""

SPACES = """
WITH space AS (
  INSERT INTO spaces (id, host_id, title, state, policy, policy_version, live_at, created_at)
  SELECT id, ada, 'A room', 'live', $4, $5, now(), now()
    FROM unnest($1::text[], $2::text[]) AS s (id, ada)
),
agreement AS (
  INSERT INTO agreements (space_id, version, created_at) SELECT unnest($1::text[]), 1, now()
),
signature AS (
  INSERT INTO signatures (space_id, version, host_id, actor, signed_at)
  SELECT id, 1, unnest(ARRAY[ada, bob]), 'bench', now()
    FROM unnest($1::text[], $2::text[], $3::text[]) AS s (id, ada, bob)
)
INSERT INTO shares (space_id, version, position, host_id, weight)
SELECT id, 1, position, host, weight
  FROM unnest($1::text[], $2::text[], $3::text[]) AS s (id, ada, bob),
       LATERAL (VALUES (1, ada, $6::int), (2, bob, $7::int)) AS h (position, host, weight)
"""

SIGNED = """
UPDATE agreements SET signed_at = now() WHERE signed_at IS NULL;
UPDATE spaces SET agreement_version = 1 WHERE agreement_version IS NULL;
"""

SOLD = """
DROP TABLE IF EXISTS sold;
CREATE TEMP TABLE sold (
  n int, room int, minor bigint, charged bigint, payment text, line text, tip text, intent text,
  event text, version text, at timestamptz, body bytea
)
"""

# What is there when Stripe's events have been stored and nobody has looked at them.
STORED = """
INSERT INTO {schema}.payments
  (id, listener_id, space_id, release_days, surface, capture, state, minor, currency, fees_covered,
   intent_id, created_at)
SELECT payment, 'lis_' || room, 'spc_' || room, 0, 'intent', 'at_once', 'open', charged, 'eur',
       charged - minor, intent, now()
  FROM sold;
INSERT INTO {schema}.tips
  (id, payment_id, space_id, agreement_version, listener_id, minor, currency, anonymous, created_at)
SELECT tip, payment, 'spc_' || room, 1, 'lis_' || room, minor, 'eur', false, now() FROM sold;
INSERT INTO {schema}.events
  (id, endpoint, type, api_version, livemode, created_at, received_at, payload, status, attempts,
   next_at)
SELECT event, 'account', 'payment_intent.succeeded', version, false, at, now(), body, 'received', 0,
       now() - interval '1 minute' + n * interval '1 microsecond'
  FROM sold;
"""

LINES = """
INSERT INTO lines
  (id, payment_id, kind, subject, space_id, agreement_version, policy, policy_version, currency,
   minor, fees_covered, refunding, returned)
SELECT line, payment, 'tip', tip, 'spc_' || room, 1, '{policy}', {version}, 'eur', minor,
       charged - minor, 0, 0
  FROM sold;
"""


@dataclass(frozen=True, slots=True)
class Sale:
    """A tip whose payment has succeeded at Stripe, and the event that tells of it."""

    room: int
    minor: int
    payment: str
    line: str
    tip: str
    charged: int
    body: bytes
    event: dict[str, Any]

    @property
    def intent(self) -> dict[str, Any]:
        """Stripe's side of the payment."""
        found: dict[str, Any] = self.event["data"]["object"]
        return found

    @property
    def at(self) -> datetime:
        """When Stripe says that it was."""
        return moment(self.event["created"])

    @property
    def stored(self) -> tuple[str, str, datetime, bytes]:
        """The event's id, its version, its instant and its body."""
        return self.event["id"], self.event["api_version"], self.at, self.body

    def earned(self) -> Entry:
        """The entry that settling writes for it."""
        shares = zip(hosts(self.room), splits.divide(self.minor, WEIGHTS), strict=True)
        legs = [
            Posting(accounts.CHARGES, Money(self.charged, "eur")),
            *(
                Posting(accounts.of_host(host, "held"), Money(-part, "eur"), self.line)
                for host, part in shares
            ),
            Posting(accounts.FEES_COVERED, Money(self.minor - self.charged, "eur"), self.line),
        ]
        return Entry(
            key=f"payment:{self.payment}:earned",
            kind="earned",
            subject=self.payment,
            happened_at=self.at,
            postings=tuple(legs),
            source=self.intent["id"],
        )


def hosts(room: int) -> tuple[str, str]:
    """The two hosts who share a room."""
    some = tips.HOSTS
    return some[room * 3 % len(some)], some[(room * 7 + 1) % len(some)]


async def prepare(stage: Stage, schema: str) -> None:
    """The rooms, and plain copies of the tables."""
    now = datetime.now(UTC)
    await policies.publish(stage.database, POLICY, now=now)
    raw = stage.raw[0]
    await raw.execute(HOSTS, tips.HOSTS)
    ids = [f"spc_{room}" for room in range(ROOMS)]
    pairs = zip(*map(hosts, range(ROOMS)), strict=True)
    await raw.execute(SPACES, ids, *map(list, pairs), POLICY.name, POLICY.version, *WEIGHTS)
    await raw.execute(SIGNED)
    await stage.plain(schema)
    await raw.execute(PLAIN.format(schema=schema))


async def paid(pay: Pay, count: int) -> list[Sale]:
    """As many tips, paid at Stripe; we know nothing of them yet."""
    chosen = [
        (random.randrange(ROOMS), random.choice(TERMS.suggested), records.new_id("pay"))  # noqa: S311
        for _ in range(count)
    ]
    charges = [commission.cover(minor, TERMS.fee) for _, minor, _ in chosen]
    told = await pay([(row[2], charge) for row, charge in zip(chosen, charges, strict=True)])
    return [
        Sale(*row, records.new_id("line"), records.new_id("tip"), charge, body, orjson.loads(body))
        for row, charge, body in zip(chosen, charges, told, strict=True)
    ]


async def write(raw: asyncpg.Connection, schema: str, sales: Sequence[Sale]) -> None:
    """The tips as they stand when Stripe's events have been stored and not been looked at."""
    rows = [
        (n, s.room, s.minor, s.charged, s.payment, s.line, s.tip, s.intent["id"], *s.stored)
        for n, s in enumerate(sales)
    ]
    await raw.execute(SOLD)
    await raw.copy_records_to_table("sold", records=rows)
    await raw.execute(STORED.format(schema=schema))
    if schema == "public":
        await raw.execute(LINES.format(policy=POLICY.name, version=POLICY.version))
    await raw.execute("VACUUM ANALYZE")  # as a database is that has been running for a while


def batches(sales: Sequence[Sale]) -> list[Sequence[Sale]]:
    """The sales in batches of the size that the product settles in."""
    size = webhooks.BATCH
    return [sales[n : n + size] for n in range(0, len(sales), size)]
