"""Paper pools: what a box office has and who takes it, reckoned anew in plain Python."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal

TAKING, FREED = ("held", "expiring"), ("released", "expired")
ON = ("scheduled", "live")
ENDLESS = 10**9
EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(eq=False)
class Pool:
    """How many there are, and how many of them are taken."""

    quota: int | None
    held: int = 0
    sold: int = 0

    def __str__(self) -> str:
        return f"{self.held} held, {self.sold} sold of {self.quota}"

    @property
    def room(self) -> int:
        return ENDLESS if self.quota is None else self.quota - self.held - self.sold


@dataclass(eq=False)
class Tier:
    id: str
    kind: str
    minor: int
    pool: Pool
    closes_at: datetime | None = None


@dataclass(eq=False)
class Code:
    id: str
    rate_bps: int
    pool: Pool


@dataclass(eq=False)
class Run:
    id: str
    pool: Pool
    tiers: list[Tier]
    codes: dict[str, Code]
    per_listener: int | None
    hold_s: int
    offer_s: int
    refund_until_h: int | None
    issued: int = 0
    cancelled: bool = False


@dataclass(eq=False)
class Hold:
    name: str
    run: Run
    tier: Tier
    code: Code | None
    listener: str
    quantity: int
    minor: int
    created_at: datetime
    expires_at: datetime
    state: str = "held"
    paying: bool = False
    returned: int = 0
    purchases: list["Purchase"] = field(default_factory=list)
    place: "Place | None" = None

    def __str__(self) -> str:
        until = (self.expires_at - EPOCH) // timedelta(microseconds=1)
        seats = f"{self.quantity} × {self.tier.id} at {self.minor}"
        paying = ", paying" * self.paying
        return f"{self.state} {seats} by {self.listener}, {self.returned} back, {until}{paying}"

    @property
    def live(self) -> "Purchase | None":
        return next((one for one in self.purchases if one.state in ("open", "settled")), None)


@dataclass(eq=False)
class Purchase:
    id: str
    hold: Hold
    state: Literal["open", "settled", "unseated", "cancelled"] = "open"
    at_stripe: Literal["nothing", "open", "paid", "over"] = "nothing"
    tickets: list["Ticket"] = field(default_factory=list)


@dataclass(eq=False)
class Ticket:
    name: str
    purchase: Purchase
    listener: str
    created_at: datetime
    state: str = "pending"
    number: int | None = None
    serial: int = 1
    used: bool = False
    cause: str | None = None

    def __str__(self) -> str:
        used, number = " used" * self.used, f"{self.state} {self.number}"
        return f"{number} of {self.listener}, {self.serial}, {self.cause}{used}"

    @property
    def run(self) -> Run:
        return self.purchase.hold.run


@dataclass(eq=False)
class Place:
    id: str
    run: Run
    tier: Tier | None
    listener: str
    quantity: int
    least: int
    state: str = "waiting"
    hold: Hold | None = None


@dataclass
class Pools:
    """One Space with its runs, and who has taken what of them; its verbs change it."""

    name: str
    now: datetime
    starts_at: datetime
    capacity: Pool
    runs: list[Run]
    space: str = "scheduled"
    moved_at: datetime | None = None
    holds: dict[str, Hold] = field(default_factory=dict)
    purchases: dict[str, Purchase] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)  # in their order

    @property
    def tickets(self) -> list[Ticket]:
        return [ticket for one in self.purchases.values() for ticket in one.tickets]

    # -- what is left, and who takes it -------------------------------------------------------

    def room(self, run: Run) -> int:
        return min(run.pool.room, self.capacity.room)

    def sells(self, run: Run, tier: Tier, who: str) -> bool:
        if run.cancelled or self.space not in ON:
            return False
        closed = tier.closes_at is not None and tier.closes_at <= self.now
        return who == "house" or (tier.kind != "comp" and not closed)

    def taken_by(self, run: Run, listener: str) -> int:
        mine = (h for h in self.holds.values() if h.run is run and h.listener == listener)
        return sum(h.quantity - h.returned for h in mine if h.state in (*TAKING, "sold"))

    def count(self, hold: Hold, held: int, sold: int) -> None:
        for pool in self._pools(hold):
            pool.held, pool.sold = pool.held + held, pool.sold + sold

    def _pools(self, hold: Hold) -> list[Pool]:
        code = [hold.code.pool] if hold.code else []
        return [hold.tier.pool, hold.run.pool, self.capacity, *code]

    def take(
        self,
        name: str,
        run: Run,
        who: str,
        listener: str,
        quantity: int,
        least: int,
        tier: Tier | None,
        code: str | None,
    ) -> Hold | str:
        """One claim when its turn has come: a hold, or why not."""
        promo = run.codes.get(code or "")
        if code is not None and promo is None:
            return "unknown_code"
        if promo is not None and promo.pool.room < least:
            return "code_used_up"
        meant = [one for one in run.tiers if tier in (None, one) and self.sells(run, one, who)]
        if not meant:
            return "not_on_sale"
        fits = [one for one in meant if min(self.room(run), one.pool.room) >= least]
        if not fits:
            return "sold_out"
        given = min(quantity, self.room(run), fits[0].pool.room)
        given = min(given, promo.pool.room if promo else given)
        if who != "house" and run.per_listener is not None:
            given = min(given, run.per_listener - self.taken_by(run, listener))
        if given < least:
            return "too_many_tickets"
        minor = fits[0].minor - fits[0].minor * (promo.rate_bps if promo else 0) // 10_000
        until = self.now + timedelta(seconds=run.offer_s if who == "waiting" else run.hold_s)
        hold = Hold(name, run, fits[0], promo, listener, given, minor, self.now, until)
        self.holds[name] = hold
        self.count(hold, given, 0)
        return hold

    def offer(self, run: Run) -> None:
        """Whoever waits is given what there is, the first first."""
        for place in self.waiting(run):
            if self.room(run) <= 0:
                return
            told = (place.listener, place.quantity, place.least, place.tier, None)
            hold = self.take(f"offer:{place.id}", run, "waiting", *told)
            if isinstance(hold, Hold):
                place.state, place.hold, hold.place = "offered", hold, place

    def waiting(self, run: Run) -> list[Place]:
        return [one for one in self.places.values() if one.run is run and one.state == "waiting"]

    def free(self, run: Run, holds: Iterable[Hold], becomes: str) -> None:
        gone = [h for h in holds if h.state == "expiring" or (h.state == "held" and not h.paying)]
        for hold in gone:
            hold.state, hold.paying = becomes, False
            self.count(hold, -hold.quantity, 0)
            if hold.place is not None and hold.place.state == "offered":
                hold.place.state = "left" if becomes == "released" else "lapsed"
        if gone:
            self.offer(run)

    def sweep(self, run: Run) -> None:
        due = [h for h in self.held(run) if h.expires_at <= self.now]
        for hold in due:
            if hold.paying:
                hold.state = "expiring"
        self.free(run, [h for h in due if not h.paying], "expired")

    def held(self, run: Run) -> list[Hold]:
        return [h for h in self.holds.values() if h.run is run and h.state == "held"]

    def write(self, name: str, hold: Hold) -> Purchase:
        made = self.purchases[name] = Purchase(name, hold)
        places = range(1, hold.quantity + 1)
        made.tickets = [Ticket(f"{name}/{n}", made, hold.listener, self.now) for n in places]
        hold.purchases.append(made)
        return made

    def sell(self, purchase: Purchase) -> str:
        """It is paid, or costs nothing: from its hold, or else from what is left."""
        hold = purchase.hold
        if purchase.state in ("settled", "unseated"):
            return purchase.state
        off = hold.run.cancelled or self.space not in ON
        others = [one for one in hold.purchases if one is not purchase]
        alone = not any(one.state in ("open", "settled") for one in others)
        if hold.state in TAKING and alone and not off:
            self.count(hold, -hold.quantity, hold.quantity)
            if hold.place is not None and hold.place.state == "offered":
                hold.place.state = "taken"
            self._seat(purchase)
        elif hold.state in FREED and not off and self._room_of(hold) >= hold.quantity:
            self.count(hold, 0, hold.quantity)
            self._seat(purchase)
        else:
            purchase.state = "unseated"
            for ticket in purchase.tickets:
                ticket.state, ticket.cause = "void", "no_seat" if hold.minor else None
        return purchase.state

    def _room_of(self, hold: Hold) -> int:
        return min(pool.room for pool in self._pools(hold))

    def _seat(self, purchase: Purchase) -> None:
        purchase.state, purchase.hold.state, purchase.hold.paying = "settled", "sold", False
        for ticket in purchase.tickets:
            ticket.run.issued += 1
            ticket.number, ticket.state = ticket.run.issued, "valid"

    def void(self, tickets: Sequence[Ticket], cause: str) -> None:
        """Valid tickets of one run end: their money is owed, their places go to who waits."""
        for ticket in tickets:
            hold = ticket.purchase.hold
            ticket.state, ticket.cause = "void", cause if hold.minor else None
            hold.returned += 1
            self.count(hold, 0, -1)
        if tickets:
            self.offer(tickets[0].run)

    def over(self, purchase: Purchase) -> None:
        """It will not be paid."""
        if purchase.state != "open":
            return
        purchase.state, purchase.hold.paying = "cancelled", False
        if purchase.hold.state == "expiring":
            self.free(purchase.hold.run, [purchase.hold], "expired")
