"""What a run may be: the wish for one, with its price tiers, and what is checked of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from takings import money, records
from takings.errors import Invalid, Refused
from takings.money import Money
from takings.policies.rules import Policy
from ticketing.pools import MOST

Kind = Literal["fixed", "choice", "free", "comp"]

MOST_TIERS: Final = 50
_DAY_S: Final = 86_400

RANGES: Final[Mapping[str, tuple[int, int]]] = {
    "size": (1, MOST),
    "per_listener": (1, MOST),
    "per_address": (1, MOST),
    "hold_s": (1, _DAY_S),
    "offer_s": (1, 7 * _DAY_S),
    "draw_s": (1, _DAY_S),
    "refund_until_h": (0, 366 * 24),
}
NEEDED: Final = ("size", "hold_s", "offer_s")


class BadRun(Invalid):
    """The run's {field} is wrong: {problem}.

    Compare it with the reference.
    """

    param = "run"


class RunTooLarge(Refused):
    """A run of {size} tickets is more than the {maximum} that the policy {policy} allows.

    Open a smaller one, or choose another policy.
    """

    param = "size"


@dataclass(frozen=True, slots=True)
class TierWish:
    """A price step: ``minor`` is its price, or the least of a choice; free and comp cost nothing.

    ``comp`` is what only the house gives.  Without a size it has the run's.
    """

    name: str
    kind: Kind = "fixed"
    minor: int = 0
    id: str | None = None
    size: int | None = None
    opens_at: datetime | None = None
    closes_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RunWish:
    """A limited issue of tickets for a Space, with the price tiers in their order.

    Without a policy it is the Space's, as that was when the Space was scheduled; with one it is
    today's version.  ``per_listener`` and ``per_address`` are the most that one buyer may have.
    Who comes in the first ``draw_s`` seconds draws lots; ``refund_until_h`` is how many hours
    before the Space starts a buyer can still give back, None: only we can.
    """

    id: str
    space: str
    size: int
    tiers: Sequence[TierWish]
    currency: str
    policy: str | None = None
    opens_at: datetime | None = None
    closes_at: datetime | None = None
    per_listener: int | None = None
    per_address: int | None = None
    hold_s: int = 600
    offer_s: int = 1800
    draw_s: int | None = None
    refund_until_h: int | None = None


def check(wish: RunWish) -> None:
    """Nothing happens if the run is well formed; else BadId, UnknownCurrency or BadRun."""
    records.check_id(wish.id)
    money.exponent(wish.currency)
    for field, (least, most) in RANGES.items():
        value = getattr(wish, field)
        if value is None and field in NEEDED:
            raise BadRun(field=field, problem="it has none")
        if value is not None and not least <= value <= most:
            raise BadRun(field=field, problem=f"it is {value}, and may be {least} to {most}")
    check_window(wish.opens_at, wish.closes_at)
    if wish.draw_s is not None and wish.opens_at is None:
        raise BadRun(field="draw_s", problem="lots are drawn from a start: tell opens_at")
    if not 1 <= len(wish.tiers) <= MOST_TIERS:
        raise BadRun(field="tiers", problem=f"it has {len(wish.tiers)}, and may have 1 to 50")
    ids = [tier.id for tier in wish.tiers if tier.id is not None]
    if len(set(ids)) < len(ids):
        raise BadRun(field="tiers", problem="two of them have the same id")


def check_tier(policy: Policy, currency: str, wish: TierWish) -> None:
    """Nothing happens if a run under this policy can have the tier; else what is wrong with it.

    Raises BadId, BadRun, BelowMinimum, AboveMaximum, NotChargeable or CurrencyNotOffered.
    """
    records.check_id(*([wish.id] if wish.id is not None else ()))
    price = Money(wish.minor, currency)
    if not wish.name:
        raise BadRun(field="name", problem="a tier has one")
    if wish.size is not None and not 1 <= wish.size <= MOST:
        raise BadRun(field="size", problem=f"a tier has 1 to {MOST} tickets, not {wish.size}")
    check_window(wish.opens_at, wish.closes_at)
    if wish.kind in ("fixed", "choice"):
        policy.check(price)
        money.check_charge(price)
    elif price:
        raise BadRun(field="tiers", problem=f"{wish.name} is {wish.kind}, so its price is 0")


def check_window(opens_at: datetime | None, closes_at: datetime | None) -> None:
    """Nothing happens if it opens before it closes; else BadRun."""
    if opens_at is not None and closes_at is not None and opens_at >= closes_at:
        raise BadRun(field="closes_at", problem="it closes before it opens")


def check_size(policy: Policy, size: int) -> None:
    """Nothing happens if the policy lets a run have that many tickets; else RunTooLarge."""
    if policy.run_maximum is not None and size > policy.run_maximum:
        raise RunTooLarge(size=size, maximum=policy.run_maximum, policy=policy.name)
