"""Metrics, as Prometheus reads them: figures from the database, and what this process answered.

Every process tells the same of the database, and only of itself how often it was asked.  What a
look into an index tells is read at each scrape.  What needs more is read once a minute beside the
scrapes, which do not wait for it for long, and says how old it is.
"""

import asyncio
from collections import Counter as Tally
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Any
from weakref import WeakKeyDictionary

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client import generate_latest as text_of
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.engine import Row

from takings.database import Database
from takings.errors import TakingsError
from takings.ledger import seals
from takings.ledger.clearing import Clearing, Open, Subject
from takings.payments import releases

log = structlog.get_logger()

MEDIA_TYPE = CONTENT_TYPE_LATEST

FRESH = timedelta(minutes=1)
PATIENCE_S = 3.0
"""How long a scrape waits for the figures that need more than an index."""

MOST = 10_000
"""Up to how many payments are counted that are due to be released."""

AGES: Mapping[str, timedelta] = {
    "<1h": timedelta(hours=1),
    "<24h": timedelta(hours=24),
    "<3d": timedelta(days=3),
    "<7d": timedelta(days=7),
    "older": timedelta.max,
}

GAUGES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "takings_up": ("Whether the database answered.", ()),
    "takings_build_info": ("Which code runs on which schema.", ("version", "schema")),
    "takings_events": ("Webhooks that are stored and not handled.", ("status",)),
    "takings_inbox_lag_seconds": ("Since when the oldest webhook waits to be handled.", ()),
    "takings_asks_unanswered": ("What is asked of Stripe and has no answer yet.", ()),
    "takings_asks_oldest_seconds": ("Since when the oldest of them is asked.", ()),
    "takings_cash_overdue_seconds": (
        "Since when Stripe's oldest money is available that the books call pending.",
        (),
    ),
    "takings_cash_swept_seconds": ("Since the last full look at Stripe's cash.", ()),
    "takings_months_ahead": ("Coming months whose partitions are made.", ()),
    "takings_seals": ("Entries that are sealed: the number of the newest seal.", ()),
    "takings_holds": ("Holds of tickets that have not ended.", ("state",)),
    "takings_holds_overdue_seconds": ("Since when the oldest of them should have ended.", ()),
    "takings_ticket_refunds": ("Void tickets whose money is still to be returned.", ()),
    "takings_ticket_refunds_oldest_seconds": ("Since when the oldest of them is void.", ()),
    "takings_waiting": ("Tickets that are waited for.", ()),
    "takings_imbalance_minor": (
        "What all balances sum to; anything but 0 is wrong.",
        ("currency",),
    ),
    "takings_hosts_in_debt": ("Hosts who owe us.", ("currency",)),
    "takings_host_debts_minor": ("What hosts owe us.", ("currency",)),
    "takings_clearing_open": (
        "Subjects on which two sources do not agree yet.",
        ("account", "currency", "age"),
    ),
    "takings_releases_due": (f"Payments due and not released, up to {MOST}.", ()),
    "takings_unsealed_seconds": ("Since when the oldest entry without a seal is posted.", ()),
    "takings_figures_age_seconds": ("How old the six above are.", ()),
}
"""Every gauge, what it tells, and its labels."""


class Requests:
    """What this process has answered, and how long it took."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._count = Counter(
            "takings_http_requests",
            "Requests that this process has answered.",
            ("operation", "status"),
            registry=self.registry,
        )
        self._took = Histogram(
            "takings_http_request_duration_seconds",
            "How long the answers took.",
            ("operation",),
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)
        self._known: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def seen(self, operation: str, status: int, took_s: float) -> None:
        """One more was answered."""
        found = self._known.get((operation, status))
        if found is None:  # looking labels up takes longer than counting
            found = self._count.labels(operation, str(status)), self._took.labels(operation)
            self._known[operation, status] = found
        count, took = found
        count.inc()
        took.observe(took_s)


REQUESTS = Requests()
"""A process has one, as it has one memory and one clock of its own."""


class Gauges(Collector):
    """The gauges of one scrape; what was not set is not told."""

    def __init__(self) -> None:
        self._families = {
            name: GaugeMetricFamily(name, text, labels=labels)
            for name, (text, labels) in GAUGES.items()
        }

    def set(self, name: str, value: float, *labels: str) -> None:
        """This gauge stands at that."""
        self._families[name].add_metric(labels, value)

    def collect(self) -> Iterator[Metric]:
        """Those that were set."""
        return (family for family in self._families.values() if family.samples)


@dataclass(frozen=True, slots=True)
class Slow:
    """The figures that need more than a look into an index, as of an instant."""

    at: datetime
    sums: tuple[Row[Any], ...]
    clearing: tuple[tuple[str, str], ...]
    open: Mapping[Subject, Open]
    releases: int
    unsealed: datetime | None


SUMS = """
SELECT a.currency, sum(b.minor)::bigint AS minor, count(*) FILTER (WHERE debt) AS hosts,
       coalesce(sum(b.minor) FILTER (WHERE debt), 0)::bigint AS debts
  FROM accounts a
  JOIN balances b ON b.account_id = a.id
 CROSS JOIN LATERAL (
       SELECT b.minor > 0 AND a.name LIKE 'liabilities:host:%:available' AS debt) AS d
 GROUP BY a.currency
"""


class Minutely:
    """Reads the slow figures of one database, one reading at a time."""

    def __init__(self) -> None:
        self._clearing = Clearing()
        self._reading: asyncio.Task[None] | None = None
        self._last: Slow | None = None

    async def read(self, database: Database, now: datetime) -> Slow | None:
        """The figures, a minute old at most unless reading them takes longer; None before that."""
        stale = self._last is None or now - self._last.at >= FRESH
        if stale and (self._reading is None or self._reading.done()):
            self._reading = asyncio.create_task(self._read(database, now))
        if self._reading is not None and not self._reading.done():
            await asyncio.wait({self._reading}, timeout=PATIENCE_S)
        return self._last

    async def _read(self, database: Database, now: datetime) -> None:
        try:
            sums = tuple(await database.fetch(SUMS))
            due = await releases.waiting(database, now=now, most=MOST)
            found = dict(await self._clearing.read(database))
            unsealed = await _unsealed(database)
            self._last = Slow(now, sums, self._clearing.accounts, found, due, unsealed)
        except Exception:
            log.exception("figures_not_read")  # the scrapes show it by the age of the last ones


async def _unsealed(database: Database) -> datetime | None:
    """When the oldest entry was posted that the next quick pass would seal."""
    [newest] = await database.fetch(seals.NEWEST)
    since = newest.posted_at - seals.QUICK if newest.posted_at is not None else None
    rows = await database.fetch(seals.UNSEALED, since, 1)
    return rows[0].posted_at if rows else None


MINUTELY: WeakKeyDictionary[Database, Minutely] = WeakKeyDictionary()


async def exposition(database: Database, now: datetime) -> bytes:
    """All that is measured, in Prometheus's text; without the database, what is left."""
    gauges = Gauges()
    try:
        _quick(gauges, (await database.fetch(QUICK, now))[0], now)
        slow = await MINUTELY.setdefault(database, Minutely()).read(database, now)
    except TakingsError as error:
        log.warning("database_not_measured", error=error.code, why=error.message)
        gauges = Gauges()
        gauges.set("takings_up", 0)
    else:
        gauges.set("takings_up", 1)
        if slow is not None:
            _slow(gauges, slow, now)
    return text_of(gauges) + text_of(REQUESTS.registry)


QUICK = """
SELECT e.*, k.*, h.*, x.*, o.*, (SELECT version_num FROM alembic_version) AS schema,
       (SELECT count(*) FROM events WHERE status = 'parked') AS parked,
       (SELECT min(available_on) FROM cash
         WHERE matured_at IS NULL AND available_on <= $1) AS ripe_at,
       (SELECT swept_at FROM cursors WHERE name = 'all_cash') AS swept_at,
       (SELECT count(*) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'entries'::regclass AND c.relname <> 'entries_default'
           AND c.relname > to_char($1 AT TIME ZONE 'UTC', '"entries_"YYYY_MM')) AS months,
       (SELECT coalesce(max(n), 0) FROM seals) AS seals,
       (SELECT coalesce(sum(quantity), 0) FROM waiting WHERE state = 'waiting') AS waiting
  FROM (SELECT count(*) FILTER (WHERE status = 'received') AS received,
               count(*) FILTER (WHERE status = 'failed') AS failed,
               min(received_at) AS event_at
          FROM events WHERE status IN ('received', 'failed')) AS e,
       (SELECT count(*) AS asks, min(first_asked_at) AS ask_at
          FROM asks WHERE answered_at IS NULL) AS k,
       (SELECT count(*) AS held, min(expires_at) AS held_until
          FROM holds WHERE state = 'held') AS h,
       (SELECT count(*) AS expiring, min(expires_at) AS expiring_at
          FROM holds WHERE state = 'expiring') AS x,
       (SELECT count(*) AS refunds, min(created_at) AS refund_at
          FROM ticket_refunds WHERE done_at IS NULL) AS o
"""


def _quick(gauges: Gauges, row: Row[Any], now: datetime) -> None:
    gauges.set("takings_build_info", 1, version("takings"), row.schema)
    gauges.set("takings_events", row.received, "received")
    gauges.set("takings_events", row.failed, "failed")
    gauges.set("takings_events", row.parked, "parked")
    gauges.set("takings_inbox_lag_seconds", _since(row.event_at, now))
    gauges.set("takings_asks_unanswered", row.asks)
    gauges.set("takings_asks_oldest_seconds", _since(row.ask_at, now))
    gauges.set("takings_cash_overdue_seconds", _since(row.ripe_at, now))
    if row.swept_at is not None:
        gauges.set("takings_cash_swept_seconds", _since(row.swept_at, now))
    gauges.set("takings_months_ahead", row.months)
    gauges.set("takings_seals", row.seals)
    gauges.set("takings_holds", row.held, "held")
    gauges.set("takings_holds", row.expiring, "expiring")
    overdue_s = max(_since(row.held_until, now), _since(row.expiring_at, now))
    gauges.set("takings_holds_overdue_seconds", overdue_s)
    gauges.set("takings_ticket_refunds", row.refunds)
    gauges.set("takings_ticket_refunds_oldest_seconds", _since(row.refund_at, now))
    gauges.set("takings_waiting", row.waiting)


def _slow(gauges: Gauges, figures: Slow, now: datetime) -> None:
    for row in figures.sums:
        gauges.set("takings_imbalance_minor", row.minor, row.currency)
        gauges.set("takings_hosts_in_debt", row.hosts, row.currency)
        gauges.set("takings_host_debts_minor", row.debts, row.currency)
    tally = Tally((s.account, s.currency, _age(now - o.since)) for s, o in figures.open.items())
    for account in figures.clearing:
        for age in AGES:
            gauges.set("takings_clearing_open", tally[*account, age], *account, age)
    gauges.set("takings_releases_due", figures.releases)
    gauges.set("takings_unsealed_seconds", _since(figures.unsealed, now))
    gauges.set("takings_figures_age_seconds", _since(figures.at, now))


def _since(at: datetime | None, now: datetime) -> float:
    """For how many seconds; none if it never was, or is still to come."""
    return max((now - at).total_seconds(), 0) if at is not None else 0


def _age(age: timedelta) -> str:
    return next(name for name, below in AGES.items() if age < below)
