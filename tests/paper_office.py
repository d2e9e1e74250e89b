"""A paper office: what must become of every act of a box office, reckoned anew in plain Python.

It knows neither locks nor batches nor SQL, so it is what the real one has to agree with.  What
happens at Stripe may be heard of later, but of one payment at a time.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tests.paper_pools import ON, TAKING, Hold, Place, Pools, Purchase, Run, Ticket, Tier

PAGE_OPEN, LONGEST = timedelta(minutes=35), timedelta(hours=2)
NO_SHOW = timedelta(hours=2)


@dataclass
class Office(Pools):
    """Every verb answers what the service has to say to it: a state, or the code of a refusal."""

    unheard: list[Purchase] = field(default_factory=list)
    no_show: bool = False

    def told(self) -> dict[str, str]:
        """All of it, as the service's rows are told."""
        pools = {f"space:{self.name}": self.capacity}
        for run in self.runs:
            pools |= {run.id: run.pool} | {one.id: one.pool for one in run.tiers}
            pools |= {one.id: one.pool for one in run.codes.values()}
        said = {f"pool {name}": str(pool) for name, pool in pools.items()}
        said |= {hold.name: str(hold) for hold in self.holds.values()}
        said |= {one.id: one.state for one in self.purchases.values()}
        said |= {one.name: str(one) for one in self.tickets}
        said |= {one.id: one.state for one in self.places.values()}
        said |= {f"run {run.id}": str(run.cancelled).lower() for run in self.runs}
        return said | {"space": self.space}

    # -- who wants one ----------------------------------------------------------------------------

    def claim(
        self,
        name: str,
        run: Run,
        listener: str,
        quantity: int,
        least: int,
        tier: Tier | None,
        code: str | None,
    ) -> str:
        self.sweep(run)
        if self.waiting(run):
            self.offer(run)
        found = self.take(name, run, "buyer", listener, quantity, least, tier, code)
        return found if isinstance(found, str) else f"{found.quantity} of {found.tier.id}"

    def extend(self, hold: Hold, listener: str) -> str:
        if hold.listener != listener:
            return "not_your_hold"
        if hold.state != "held":
            return "hold_over"
        lasts_s = hold.run.hold_s if hold.place is None else hold.run.offer_s
        twice = hold.created_at + timedelta(seconds=2 * lasts_s)
        hold.expires_at = max(hold.expires_at, twice)
        return hold.state

    def release(self, hold: Hold, listener: str) -> str:
        if hold.listener != listener:
            return "not_your_hold"
        if hold.state == "sold":
            return "hold_over"
        if hold.state == "held" and hold.paying:
            hold.state = "expiring"
        elif hold.state == "held":
            self.free(hold.run, [hold], "released")
        return hold.state

    def buy(self, name: str, hold: Hold, listener: str) -> str:
        if hold.listener != listener:
            return "not_your_hold"
        if hold.live is not None:
            return "purchase_open"
        if hold.state != "held":
            return "hold_over"
        if hold.run.cancelled or self.space not in ON:
            return "sale_over"
        made = self.write(name, hold)
        if not hold.minor:
            return self.sell(made)
        made.at_stripe, hold.paying = "open", True
        until = min(self.now + PAGE_OPEN, hold.created_at + LONGEST)
        hold.expires_at = max(hold.expires_at, until)
        return made.state

    def give(self, name: str, run: Run, tier: Tier, listener: str, quantity: int) -> str:
        told = (listener, quantity, quantity, tier, None)
        hold = self.take(f"comp:{name}", run, "house", *told)
        if isinstance(hold, str):
            return hold
        return self.sell(self.write(name, hold))

    def join(
        self,
        name: str,
        run: Run,
        listener: str,
        quantity: int,
        least: int,
        tier: Tier | None,
    ) -> str:
        meant = [one for one in run.tiers if tier in (None, one)]
        if not any(self.sells(run, one, "waiting") for one in meant):
            return "not_on_sale"
        mine = (p for p in self.places.values() if p.run is run and p.listener == listener)
        if any(place.state in ("waiting", "offered") for place in mine):
            return "already_waiting"
        most = run.per_listener
        if most is not None and most - self.taken_by(run, listener) < least:
            return "too_many_tickets"
        self.sweep(run)
        free = [one.pool.room for one in meant if self.sells(run, one, "waiting")]
        if not self.waiting(run) and min(self.room(run), max(free)) >= least:
            return "still_on_sale"
        self.places[name] = Place(name, run, tier, listener, quantity, least)
        self.offer(run)
        return self.places[name].state

    def leave(self, place: Place) -> str:
        if place.state == "taken":
            return "wait_over"
        if place.state == "waiting":
            place.state = "left"
        elif place.state == "offered" and place.hold is not None:
            self.release(place.hold, place.listener)
        return place.state

    # -- who has a ticket ---------------------------------------------------------------------

    def transfer(self, ticket: Ticket, listener: str, to: str) -> str:
        if ticket.state == "valid" and ticket.listener == to:
            return ticket.state
        if (wrong := self._unusable(ticket, listener)) is not None:
            return wrong
        if self.space not in ON:
            return "too_late_to_transfer"
        ticket.listener, ticket.serial = to, ticket.serial + 1
        return ticket.state

    def give_back(self, ticket: Ticket, listener: str) -> str:
        again = ticket.cause in ("asked", "rescheduled") and ticket.listener == listener
        if not again:
            wrong, cause = self._unusable(ticket, listener), self._cause(ticket)
            if wrong is not None or cause not in ("asked", "rescheduled"):
                return wrong or cause
            self.void([ticket], cause)
        return ticket.state

    def _unusable(self, ticket: Ticket, listener: str) -> str | None:
        if ticket.listener != listener:
            return "not_your_ticket"
        if ticket.state == "pending":
            return "ticket_not_paid"
        if ticket.state == "void":
            return "ticket_void"
        return "ticket_used" if ticket.used else None

    def _cause(self, ticket: Ticket) -> str:
        """Why it can be given back, or why not."""
        if self.space != "scheduled":
            return "refund_too_late"
        hours = ticket.run.refund_until_h
        if hours is not None and self.now <= self.starts_at - timedelta(hours=hours):
            return "asked"
        moved = self.moved_at is not None and self.moved_at > ticket.created_at
        if moved and self.now < self.starts_at:
            return "rescheduled"
        return "refund_not_offered" if hours is None else "refund_too_late"

    def admit(self, ticket: Ticket, serial: int) -> str:
        if serial < ticket.serial:
            return "pass_replaced"
        if self.space == "cancelled":
            return "space_cancelled"
        if ticket.state != "valid":
            return "ticket_void"
        if ticket.used:
            return "already_admitted"
        ticket.used = True
        return "admitted"

    # -- the house ----------------------------------------------------------------------------

    def resize(self, run: Run, size: int) -> str:
        if run.cancelled:
            return "run_called_off"
        if size < run.pool.held + run.pool.sold:
            return "size_below_taken"
        if size != run.pool.quota:
            run.pool.quota = size
            self.offer(run)
        return "edited"

    def reprice(self, run: Run, tier: Tier, minor: int) -> str:
        if run.cancelled:
            return "run_called_off"
        if minor != tier.minor:
            tier.minor = minor
            self.offer(run)
        return "edited"

    def cap(self, capacity: int) -> str:
        if capacity < self.capacity.held + self.capacity.sold:
            return "size_below_taken"
        self.capacity.quota = capacity
        for run in self.runs:
            self.offer(run)
        return "edited"

    def move(self, to: str) -> str:
        before = {"live": ("scheduled",), "ended": ("live",), "cancelled": ON}
        if self.space not in (to, *before[to]):
            return "space_cannot_move"
        self.space = to
        return to

    def reschedule(self, starts_at: datetime) -> str:
        if self.space != "scheduled":
            return "not_scheduled"
        if starts_at <= self.now:
            return "starts_in_the_past"
        self.starts_at, self.moved_at = starts_at, self.now
        return "scheduled"

    # -- Stripe, and the worker ---------------------------------------------------------------

    def hear(self) -> None:
        """What happened at Stripe is told."""
        for purchase in self.unheard:
            if purchase.at_stripe == "paid":
                self.sell(purchase)
            else:
                self.over(purchase)
        self.unheard.clear()

    def sweep_all(self) -> None:
        for run in self.runs:
            self.sweep(run)

    def end_one(self) -> None:
        """One hold that expires while it is paid ends at Stripe, unless that is paid already."""
        waits = [hold for hold in self.holds.values() if hold.state == "expiring"]
        for hold in sorted(waits, key=lambda one: (one.run.id, one.expires_at))[:1]:
            if hold.live is None:
                self.free(hold.run, [hold], "expired")
            elif hold.live.at_stripe == "paid":
                self.sell(hold.live)
            else:
                hold.live.at_stripe = "over"
                self.over(hold.live)

    def work(self) -> None:
        """Everything that the worker does once."""
        self.hear()
        self.sweep_all()
        self.end_one()
        for run in self.runs:
            if run.cancelled or self.space not in ON:
                self._send_home(run)
            else:
                self.offer(run)
        if self.space == "scheduled" and self.starts_at <= self.now - NO_SHOW:
            self.space, self.no_show = "cancelled", True
        if self.space == "cancelled":
            for run in self.runs:
                self._call_off(run)

    def _send_home(self, run: Run) -> None:
        for place in self.waiting(run):
            place.state = "lapsed"

    def _call_off(self, run: Run) -> None:
        if run.cancelled:
            return
        self._send_home(run)
        for hold in self.held(run):
            if hold.paying:
                hold.state = "expiring"
        self.free(run, self.held(run), "expired")
        valid = [one for one in self.tickets if one.run is run and one.state == "valid"]
        self.void(valid, "no_show" if self.no_show else "cancelled")
        taking = [hold for hold in self.holds.values() if hold.run is run and hold.state in TAKING]
        run.cancelled = not taking
