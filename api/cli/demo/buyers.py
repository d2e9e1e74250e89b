"""The buyers: what each of them is going to do, and what they remember of it afterwards."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Literal

from api.cli.demo.cards import CARDS, DECLINED, SURFACES
from takings.payments.orders import Surface

CURRENCY: Final = "usd"
PER_LISTENER: Final = 2
SCALPER: Final = "scalper"
EVERY_PATIENT = 20
OF_A_SCALPER = 40  # one request in so many, all of them early
SLOWEST_S: Final = 1.6

Then = Literal["pays", "forgets", "regrets"]


@dataclass(frozen=True, slots=True)
class Buyer:
    """What one of them is going to do.

    Who ``forgets`` never pays; who ``regrets`` gives back what they hold while Stripe's page is
    open, and so many seconds later pays all the same.
    """

    listener: str
    quantity: int
    then: Then
    patient: bool
    surface: Surface
    card: str
    saved: str = ""  # the one that the platform knows, where that is how they pay
    slow_s: float = 0


def crowd(many: int, seed: int) -> list[Buyer]:
    """What everybody is going to do once they hold tickets; the same for the same seed."""
    chance = Random(f"buyers:{seed}")  # noqa: S311 - it has to replay, not to be secret
    found = []
    for n in range(1, many + 1):
        then: Then = chance.choice(("pays",) * 8 + ("forgets", "regrets"))
        surface = SURFACES[n % len(SURFACES)]
        if then == "regrets" and surface == "saved":  # that is paid at once
            surface = "intent"
        card = chance.choice(CARDS)
        scalper = n % 2 == 1 and n <= 2 * many // OF_A_SCALPER
        found.append(
            Buyer(
                listener=SCALPER if scalper else f"buyer_{n:05}",
                quantity=1 if scalper else chance.choice((1, 1, 2)),
                then=then,
                patient=n % EVERY_PATIENT == 0 and not scalper,
                surface=surface,
                card=card,
                saved=chance.choice((DECLINED, card, card, card)),
                slow_s=chance.uniform(0, SLOWEST_S),
            )
        )
    return found


@dataclass(slots=True)
class Seat:
    """A ticket, as its owner remembers it; without a payment it was a gift of the house."""

    run: str
    listener: str
    payment: str | None
    minor: int
    returned: bool = False


@dataclass(slots=True)
class Memory:
    """What the buyers remember: nothing here is read from the books."""

    seats: dict[str, Seat] = field(default_factory=dict)  # by ticket
    charged: Counter[str] = field(default_factory=Counter)  # by payment
    opened: set[str] = field(default_factory=set)  # payments, paid or not
    waiting: dict[str, Buyer] = field(default_factory=dict)  # by listener
    said: Counter[str] = field(default_factory=Counter)  # why they were told no
    held: int = 0
    forgotten: int = 0
    declined: int = 0
    late: int = 0  # paid, or tried to, after they had given back what they held
    too_late: int = 0  # of these: Stripe took no money
    wrong: list[str] = field(default_factory=list)

    def bought(self, purchase: Mapping[str, Any]) -> None:
        """Somebody has paid, or was given tickets."""
        payment = purchase["payment"]
        if payment is not None:
            self.charged[payment] += purchase["charged"]
        for ticket in purchase["tickets"]:
            seat = Seat(purchase["run"], purchase["listener"], payment, ticket["amount"])
            self.seats[ticket["id"]] = seat

    def of(self, run: str) -> list[tuple[str, Seat]]:
        """The tickets of a run that somebody has, in the order of their ids."""
        found = sorted(self.seats.items())
        return [(one, seat) for one, seat in found if seat.run == run and not seat.returned]

    def returned(self) -> Counter[str]:
        """What came back to them, by payment."""
        found: Counter[str] = Counter()
        for seat in self.seats.values():
            if seat.returned and seat.payment is not None:
                found[seat.payment] += seat.minor
        return found

    def given(self) -> Counter[str]:
        """What is left with the hosts and the platform, by currency."""
        return Counter({CURRENCY: self.charged.total() - self.returned().total()})
