"""Everything that the stand-in knows: objects, balances, the clock and what is due later."""

import heapq
import string
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

from sandbox.errors import StripeError, missing
from sandbox.faults import Faults
from sandbox.tables import Row, Table

API_VERSION = "2026-10-28.endive"
PLATFORM = "acct_1SandboxPlatform"  # the account that holds the API key
LETTERS = string.ascii_letters + string.digits

PREFIXES = {
    "payment_intent": "pi_3",
    "payment_method": "pm_1",
    "balance_transaction": "txn_1",
    "charge": "ch_3",
    "checkout.session": "cs_test_a1",
    "customer": "cus_",
    "dispute": "dp_1",
    "event": "evt_1",
    "payout": "po_1",
    "refund": "re_3",
    "transfer": "tr_1",
    "transfer_reversal": "trr_1",
    "account": "acct_1",
    "webhook_endpoint": "we_1",
}


def iso(moment: int) -> str:
    """A moment as v2 writes it."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


class Clock:
    """Wall time plus what the test has added; it never goes back."""

    def __init__(self) -> None:
        self._ahead = 0
        self._stopped: int | None = None

    def now(self) -> int:
        """Seconds since the epoch, in the sandbox's own time."""
        return self._stopped if self._stopped is not None else int(time.time()) + self._ahead

    def advance(self, seconds: int) -> None:
        """Jump forward."""
        if seconds < 0:
            raise StripeError("The clock only goes forward.", param="advance")
        self._ahead += seconds

    @contextmanager
    def stopped(self, moment: int) -> Iterator[None]:
        """What was due at a moment that has passed happens at that moment."""
        self._stopped = moment
        try:
            yield
        finally:
            self._stopped = None


@dataclass
class Balance:
    """One account's money in one currency, in minor units."""

    available: int = 0
    pending: int = 0


@dataclass(frozen=True, slots=True)
class Fee:
    """A card fee: basis points of the amount, rounded half up, and a fixed part."""

    basis_points: int = 290
    fixed: int = 30

    def of(self, amount: int) -> int:
        """The fee on an amount, in minor units."""
        return (amount * self.basis_points + 5_000) // 10_000 + self.fixed


@dataclass
class Settings:
    """What a test may set: fees, when a charge's balance transaction appears, the schedule.

    ``transaction_delay`` 0: right after ``charge.succeeded``, told by ``charge.updated`` (Stripe's
    usual way); n: n seconds later; None: at once, already inside ``charge.succeeded``.
    """

    fees: dict[str, Fee] = field(default_factory=dict)
    fee_of: dict[str, int] = field(default_factory=dict)  # by payment intent
    transaction_delay: int | None = 0
    days_to_available: int = 2
    payout_interval: str = "manual"  # how often the platform is paid out by itself


@dataclass(frozen=True, slots=True)
class Logged:
    """One request and its answer, as they went over the wire."""

    id: str
    method: str
    path: str
    params: Row
    body: bytes
    query: str
    account: str | None
    version: str | None
    idempotency_key: str | None
    status: int | None  # None: the connection was closed without an answer
    answer: bytes
    replayed: bool = False


class State:
    """The stand-in's whole memory; one seed, one run, one sequence of ids and faults."""

    def __init__(self, seed: int = 0, url: str = "http://127.0.0.1") -> None:
        self.url = url
        self.clock = Clock()
        self.settings = Settings()
        self.faults = Faults(seed)
        self.requests: deque[Logged] = deque(maxlen=20_000)
        self.tables: dict[tuple[str, str], Table] = {}
        self.balances: dict[str, dict[str, Balance]] = defaultdict(lambda: defaultdict(Balance))
        self.answers: dict[tuple[str, str], Any] = {}  # by account and idempotency key
        self.maturing: dict[tuple[str, int], list[Row]] = {}
        self.undelivered: dict[str, dict[str, Row]] = defaultdict(dict)
        self.token_of: dict[str, str] = {}  # the test token behind a payment method
        self.wishes: dict[str, Row] = {}  # payment_intent_data, by checkout session
        self.sent_from: dict[str, int] = defaultdict(int)  # transferred, by source charge
        self.line_items: dict[str, list[Row]] = {}  # by checkout session
        self.hooks: dict[str, Any] = {}  # webhooks.Hook by endpoint
        self.outbox: list[Any] = []  # a heap of webhooks.Delivery
        self.posted = self.queued = 0  # events made, deliveries queued
        self.cause: Row = {"id": None, "idempotency_key": None}  # of the events made now
        self.on_change: Callable[[], None] = lambda: None
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._due_count = 0
        self._latest = 0  # when the newest object was made: tables stay in order of time
        self._ids = Random(f"ids:{seed}")  # noqa: S311  ids only have to differ, and to replay

    def new_id(self, prefix: str) -> str:
        """A fresh id of that prefix."""
        return prefix + "".join(self._ids.choices(LETTERS, k=24))

    def table(self, kind: str, account: str = PLATFORM) -> Table:
        """The objects of one kind that belong to one account."""
        key = (account, kind)
        if key not in self.tables:
            self.tables[key] = Table(kind)
        return self.tables[key]

    def add(self, kind: str, account: str = PLATFORM, prefix: str = "", **fields: Any) -> Row:
        """A new object with its id, kind and time."""
        self._latest = self.clock.now()
        row = {
            "id": self.new_id(prefix or PREFIXES[kind]),
            "object": kind,
            "created": self._latest,
            "livemode": False,
        }
        return self.table(kind, account).add(row | fields)

    def get(self, kind: str, id_: str, account: str = PLATFORM, param: str = "") -> Row:
        """The object of that id; 404, or 400 where a parameter named it."""
        row = self.table(kind, account).get(id_)
        if row is None:
            raise missing(kind, id_, param=param or "id", status=400 if param else 404)
        return row

    def schedule(self, moment: int, act: Callable[[], None]) -> None:
        """Do it when the clock has reached that moment."""
        self._due_count += 1
        heapq.heappush(self._agenda, (moment, self._due_count, act))
        self.on_change()

    def next_due(self) -> int | None:
        """When the clock next makes something happen."""
        return self._agenda[0][0] if self._agenda else None

    def catch_up(self) -> None:
        """Everything that is due has happened, each at its own time and in order."""
        while self._agenda and self._agenda[0][0] <= self.clock.now():
            moment, _, act = heapq.heappop(self._agenda)
            with self.clock.stopped(max(moment, self._latest)):
                act()
