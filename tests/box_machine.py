"""A machine that makes plays up about tickets, and plays each in two offices (``Machine``)."""

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from api import worker
from api.settlement import SETTLEMENT
from takings.payments import payments
from takings.spaces import spaces
from tests import stories
from tests.box_stage import Stage, answer, chosen, soon
from tests.paper_pools import TAKING, Hold, Purchase, Run, Ticket
from ticketing import (
    admissions,
    comps,
    door_keys,
    endings,
    holds,
    pools,
    purchases,
    returns,
    runs,
    tickets,
    tiers,
    waitlist,
)
from ticketing.admissions import AdmissionWish
from ticketing.comps import CompWish
from ticketing.holds import Claim
from ticketing.purchases import PurchaseWish
from ticketing.tickets import Transfer
from ticketing.waitlist import WaitWish

Thing = TypeVar("Thing")
Claimed = tuple[str, int, int]

LISTENERS = st.sampled_from(("lis_zoe", "lis_yan", "lis_xia", "lis_wim"))
QUANTITIES = st.sampled_from((1, 1, 2, 3))
PICKS = st.integers(0, 59)
TIERS = st.sampled_from((None, None, None, None, None, None, 0, 1, 2, 3))
CODES = st.sampled_from((None, None, None, None, None, "HALF", "HALF", "GIFT", "NONE"))
CLAIMS = st.tuples(LISTENERS, QUANTITIES, st.integers(0, 3))
SELDOM = st.integers(0, 5).map(lambda n: n == 5)


class Machine(RuleBasedStateMachine):
    """One play: its rules are what may happen next."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        self.office = stage.do(stage.begin())
        self.database, self.box = stage.runtime.database, stage.box
        self.passes: list[tuple[Ticket, int, str]] = []
        self.ids: dict[str, str] = {}
        self.n = 0
        self.whole = True

    # -- how a play goes ------------------------------------------------------------------------

    def act(self, said: str, act: Coroutine[Any, Any, Any], says: Callable[[Any], str]) -> None:
        """The service answers what is said on paper."""
        self.whole = False
        assert self.stage.do(answer(act, says)) == said
        self.stage.seen[said.partition(" ")[0]] += 1

    def later(self, seconds: int = 1) -> None:
        """Time passes, here and at Stripe; no two instants are of the same microsecond."""
        self.n += 1
        now = self.office.now.replace(microsecond=self.n) + timedelta(seconds=seconds)
        self.office.now, self.stage.now = now, now
        self.stage.do(soon(self.box.advance, seconds))

    def new(self, kind: str) -> str:
        """An id."""
        self.later()
        return f"{self.office.name}_{kind}_{self.n:04}"

    def run_of(self, pick: int) -> Run:
        """A run: nearly always the first."""
        return self.office.runs[pick % 6 == 0]

    @invariant()
    def both_offices_agree(self) -> None:
        """Of everything, and the service's own checks find nothing."""
        rows, guilty = self.stage.do(self.stage.rows(self.office.name))
        self.ids = {row.name: row.id for row in rows}
        self.whole = False
        assert {row.name: row.said for row in rows} == self.office.told()
        assert guilty == {}
        self.whole = True

    @initialize(claims=st.tuples(*[CLAIMS] * 4), waits=st.tuples(*[CLAIMS] * 2), late=st.booleans())
    def begin(self, claims: tuple[Claimed, ...], waits: tuple[Claimed, ...], late: bool) -> None:
        """Some hold tickets, pay, have paid, or gave up while paying, and pay late; some wait."""
        lost: list[Purchase] = []
        for who, many, far in claims:
            self.claim(pick=1 if far else 3, who=who, many=many, some=True, tier=None, code=None)
            made = self.payable()[-1:]
            if far == 2 and made:
                self.paid(made[0], heard=True)
            elif far == 3 and made:
                self.ended(made[0], there=False)
                self.given_up(made[0].hold, made[0].hold.listener)
                lost += made
        for who, many, _ in waits:
            self.join(who=who, many=many, some=False, tier=None)
        for purchase in lost if late else ():
            self.paid(purchase, heard=True)

    # -- who wants a ticket ---------------------------------------------------------------------

    @rule(pick=PICKS, who=LISTENERS, many=QUANTITIES, some=SELDOM, tier=TIERS, code=CODES)
    def claim(
        self, pick: int, who: str, many: int, some: bool, tier: int | None, code: str | None
    ) -> None:
        run, name = self.run_of(pick), self.new("hold")
        step = None if tier is None else run.tiers[tier % len(run.tiers)]
        least = 1 if some else many
        said = self.office.claim(name, run, who, many, least, step, code)
        wish = Claim(name, run.id, who, many, least, step.id if step else None, code)
        for _ in range(2 if pick % 5 == 0 and name in self.office.holds else 1):  # asked again
            self.act(said, holds.claim(self.database, wish, now=self.office.now), seats)
        if name in self.office.holds and pick % 4 < 2:
            self.ids[name] = name
            self.bought(self.office.holds[name], who)

    def held(self, pick: int) -> Hold:
        """A hold: mostly one that takes something."""
        all_of = list(self.office.holds.values())
        return chosen(pick, [one for one in all_of if one.state == "held"], all_of)

    @precondition(lambda self: self.office.holds)
    @rule(pick=PICKS, stranger=SELDOM)
    def extend(self, pick: int, stranger: bool) -> None:
        self.later()
        hold = self.held(pick)
        who = "lis_eve" if stranger else hold.listener
        act = holds.extend(self.database, self.ids[hold.name], who)
        self.act(self.office.extend(hold, who), act, state)

    @precondition(lambda self: self.office.holds)
    @rule(pick=PICKS, stranger=SELDOM)
    def release(self, pick: int, stranger: bool) -> None:
        self.later()
        hold = self.held(pick)
        who = "lis_eve" if stranger else hold.listener
        self.given_up(hold, who)

    def given_up(self, hold: Hold, who: str) -> None:
        """Somebody gives a hold back."""
        said, name = self.office.release(hold, who), self.ids[hold.name]
        self.act(said, holds.release(self.database, name, who, now=self.office.now), state)

    @rule(who=LISTENERS, many=QUANTITIES, some=SELDOM, tier=TIERS)
    def join(self, who: str, many: int, some: bool, tier: int | None) -> None:
        run, name = self.office.runs[0], self.new("wait")
        step = None if tier is None else run.tiers[tier]
        least = 1 if some else many
        said = self.office.join(name, run, who, many, least, step)
        wish = WaitWish(name, run.id, who, many, least, step.id if step else None)
        self.act(said, waitlist.join(self.database, wish, now=self.office.now), state)

    @precondition(lambda self: self.office.places)
    @rule(pick=PICKS)
    def leave(self, pick: int) -> None:
        self.later()
        place = chosen(pick, [], list(self.office.places.values()))
        said = self.office.leave(place)
        self.act(said, waitlist.leave(self.database, place.id, now=self.office.now), state)

    # -- who pays -------------------------------------------------------------------------------

    @precondition(lambda self: self.office.holds)
    @rule(pick=PICKS, stranger=SELDOM)
    def buy(self, pick: int, stranger: bool) -> None:
        hold = self.held(pick)
        self.bought(hold, "lis_eve" if stranger else hold.listener)

    def bought(self, hold: Hold, who: str) -> None:
        """Somebody buys a hold."""
        name, door = self.new("pur"), self.stage.runtime.stripe
        said = self.office.buy(name, hold, who)
        wish = PurchaseWish(name, self.ids[hold.name], who, surface="intent")
        self.act(said, purchases.open(self.database, door, wish, now=self.office.now), state)

    def payable(self) -> list[Purchase]:
        """What Stripe would take money for, whatever we believe."""
        return [one for one in self.office.purchases.values() if one.at_stripe == "open"]

    @precondition(payable)
    @rule(pick=PICKS, heard=st.booleans())
    def pay(self, pick: int, heard: bool) -> None:
        self.paid(chosen(pick, [], self.payable()), heard=heard)

    def paid(self, purchase: Purchase, *, heard: bool) -> None:
        """Somebody pays; we hear of it at once, or later."""
        self.hear()
        purchase.at_stripe = "paid"
        self.office.unheard.append(purchase)
        self.stage.do(self._pay(purchase))
        if heard:
            self.hear()
        self.stage.seen[f"paid when {purchase.state}"] += 1

    async def _pay(self, purchase: Purchase) -> None:
        found = await purchases.get(self.database, purchase.id)
        assert found.payment is not None
        self.box.pay(found.payment.intent_id)

    @precondition(payable)
    @rule(pick=PICKS, there=st.booleans())
    def let_end(self, pick: int, there: bool) -> None:
        self.ended(chosen(pick, [], self.payable()), there=there)

    def ended(self, purchase: Purchase, *, there: bool) -> None:
        """Somebody ends a payment at Stripe; or we believe so, and it can still be paid."""
        self.hear()
        if there:
            purchase.at_stripe = "over"
            self.office.unheard.append(purchase)
        else:
            self.office.over(purchase)
        self.stage.do(self._end(purchase, there=there))

    async def _end(self, purchase: Purchase, *, there: bool) -> None:
        found = await purchases.get(self.database, purchase.id)
        assert found.payment is not None
        if there:
            told, key = {"id": found.payment.intent_id}, f"by hand:{purchase.id}"
            await self.stage.runtime.stripe.ask("payment_intents.cancel", told, key)
        else:
            over = [found.payment.id]
            await self.database.run(payments.cancel, over, SETTLEMENT, self.office.now)

    @rule()
    def hear(self) -> None:
        self.later()
        self.office.hear()
        self.stage.do(self.stage.hear(self.office.now))

    # -- who has a ticket -----------------------------------------------------------------------

    def ticket(self, pick: int) -> Ticket:
        """A ticket: mostly a valid one."""
        all_of = self.office.tickets
        return chosen(pick, [one for one in all_of if one.state == "valid"], all_of)

    @precondition(lambda self: self.office.tickets)
    @rule(pick=PICKS, to=LISTENERS, stranger=SELDOM)
    def transfer(self, pick: int, to: str, stranger: bool) -> None:
        self.later()
        ticket = self.ticket(pick)
        who = "lis_eve" if stranger else ticket.listener
        said, name = self.office.transfer(ticket, who, to), self.ids[ticket.name]
        act = tickets.transfer(self.database, name, Transfer(to), listener=who)
        self.act(said, act, of_ticket)

    @precondition(lambda self: self.office.tickets)
    @rule(pick=PICKS, stranger=SELDOM)
    def give_back(self, pick: int, stranger: bool) -> None:
        self.later()
        ticket, now = self.ticket(pick), self.office.now
        who = "lis_eve" if stranger else ticket.listener
        said, name = self.office.give_back(ticket, who), self.ids[ticket.name]
        door = self.stage.runtime.stripe
        act = returns.give_back(self.database, door, name, listener=who, now=now)
        self.act(said, act, of_ticket)

    @precondition(lambda self: self.office.tickets)
    @rule(pick=PICKS, old=st.booleans())
    def scan(self, pick: int, old: bool) -> None:
        """At the door: with the pass of now, or with one that was printed before."""
        name, ticket = self.new("adm"), self.ticket(pick)
        if ticket.state == "valid":
            sign = self.database.run(door_keys.sign, self.ids[ticket.name], now=self.office.now)
            self.passes.append((ticket, ticket.serial, self.stage.do(sign)))
        if not self.passes:
            return
        shown = chosen(pick, [], self.passes) if old else self.passes[-1]
        wish = AdmissionWish(name, shown[2], self.office.name, "north")
        act = admissions.admit(self.database, wish, now=self.office.now)
        self.act(self.office.admit(*shown[:2]), act, lambda _: "admitted")

    # -- the house ------------------------------------------------------------------------------

    @rule(who=LISTENERS, many=QUANTITIES)
    def give(self, who: str, many: int) -> None:
        run, name = self.office.runs[0], self.new("pur")
        said = self.office.give(name, run, run.tiers[3], who, many)
        wish = CompWish(name, run.id, run.tiers[3].id, who, many)
        self.act(said, comps.give(self.database, wish, now=self.office.now), state)

    @rule(pick=PICKS, what=st.sampled_from(("size", "price", "capacity")), to=st.integers(3, 9))
    def edit(self, pick: int, what: str, to: int) -> None:
        self.later()
        run, office, now = self.run_of(pick), self.office, self.office.now
        if what == "size":
            act: Any = runs.edit(self.database, run.id, {"size": to}, now=now)
            self.act(office.resize(run, to), act, edited)
        elif what == "capacity":
            act = pools.cap_space(self.database, office.name, to, now=now)
            self.act(office.cap(to), act, edited)
        else:
            tier, change = run.tiers[0], {"minor": to * 200}
            act = tiers.edit(self.database, run.id, tier.id, change, now=now)
            self.act(office.reprice(run, tier, to * 200), act, edited)

    @rule(hours=st.integers(-1, 9))
    def reschedule(self, hours: int) -> None:
        self.later()
        start, now = self.office.now + timedelta(hours=hours), self.office.now
        said = self.office.reschedule(start)
        act = spaces.reschedule(self.database, self.office.name, start, now=now)
        self.act(said, act, state)

    @rule(to=st.sampled_from((None, None, "live", "live", "ended", "cancelled")))
    def move(self, to: Any) -> None:
        """Not always, for most plays are over then."""
        self.later()
        if to is not None:
            act = spaces.move(self.database, self.office.name, to, now=self.office.now)
            self.act(self.office.move(to), act, state)

    # -- time, and the worker -------------------------------------------------------------------

    @rule(
        minutes=st.sampled_from((0, 1, 11, 32, 61)), then=st.sampled_from(("sweep", "end", "work"))
    )
    def time_passes(self, minutes: int, then: str) -> None:
        """And the worker does one of its duties, or all."""
        self.later(minutes * 60 + 1)
        now, runtime = self.office.now, self.stage.runtime
        if then == "sweep":
            self.office.sweep_all()
            self.stage.do(holds.sweep(self.database, now=now))
        elif then == "end":
            self.office.end_one()
            self.stage.do(endings.carry(self.database, runtime.stripe, now=now))
        else:
            self.work()

    def work(self) -> None:
        """The worker does all of its duties once."""
        self.hear()
        self.office.work()
        self.stage.do(worker.drain(self.stage.runtime, self.office.now))

    # -- how a play ends ------------------------------------------------------------------------

    def teardown(self) -> None:
        """Time passes until nothing is due: nothing is held, nobody's money is missing."""
        if not self.whole:
            return
        left = self.office.starts_at - self.office.now
        self.later(max(0, left // timedelta(seconds=1)) + 3 * 3600)
        self.work()
        while any(one.state in TAKING for one in self.office.holds.values()):
            self.work()
        self.work()
        self.both_offices_agree()
        self.whole = False
        assert self.stage.do(self.stage.missing(self.office.name)) == []
        assert self.stage.do(stories.guilty(self.database)) == {}
        self.stage.clean = True


def state(found: Any) -> str:
    return str(found.state)


def seats(held: holds.Held) -> str:
    return f"{held.quantity} of {held.tier}"


def of_ticket(found: tickets.Issued) -> str:
    return found.ticket.state


def edited(_: Any) -> str:
    return "edited"
