"""The platform's part, the store's part and the card fee, in whole minor units.

Rates are basis points: 10 000 are all.  A part at a rate is divided from the rest by
``splits.divide``, and exactly one half goes to the rest: to the host, not to the platform or the
store.  Only the card fee is rounded half up.  It is an estimate: the real fee is Stripe's own line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from takings.errors import Invalid
from takings.splits import divide

ALL_BPS: Final = 10_000


class BadRate(Invalid):
    """A rate of {rate_bps} basis points is not between 0 and {most}.

    100 basis points are one per cent.
    """


class BadTiers(Invalid):
    """Commission tiers must rise to one last tier without an upper end, but end at {ends}.

    List them from the lowest boundary up; the last one has up_to null.
    """


class NegativeAmount(Invalid):
    """The {what} cannot be negative: {value}.

    Money that goes back is a refund.
    """


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """What Stripe is expected to keep of a charge: a rate of it and a fixed amount."""

    rate_bps: int
    fixed: int

    def __post_init__(self) -> None:
        if not 0 <= self.rate_bps < ALL_BPS:
            raise BadRate(rate_bps=self.rate_bps, most=ALL_BPS - 1)
        _not_negative("fixed fee", self.fixed)

    def fee(self, charge: int) -> int:
        """The estimated card fee of a charge, its rate rounded half up."""
        return (2 * charge * self.rate_bps + ALL_BPS) // (2 * ALL_BPS) + self.fixed


@dataclass(frozen=True, slots=True)
class Tier:
    """One rate, for the part of a host's lifetime earnings below ``up_to`` (None: no end)."""

    up_to: int | None
    rate_bps: int

    def __post_init__(self) -> None:
        if not 0 <= self.rate_bps <= ALL_BPS:
            raise BadRate(rate_bps=self.rate_bps, most=ALL_BPS)


def cover(amount: int, schedule: FeeSchedule, *, step: int = 1) -> int:
    """The smallest charge (a multiple of ``step``) that leaves at least the amount after its fee.

    With c the charge, r its rate in basis points and t = amount + fixed:
        c - ⌊(2cr + 10⁴) / 2·10⁴⌋ ≥ t   ⇔   c·(10⁴ - r) > 10⁴·t - 5·10³
    so the smallest whole c is one more than the quotient below.  The net never falls as the charge
    grows, so rounding up to the step keeps it the smallest of its kind.
    """
    _not_negative("amount", amount)
    target = amount + schedule.fixed
    charge = (ALL_BPS * target - ALL_BPS // 2) // (ALL_BPS - schedule.rate_bps) + 1
    return -(-max(0, charge) // step) * step


def part(total: int, rate_bps: int) -> int:
    """The part of a total at a rate, rounded to the nearest unit, one half downwards."""
    return divide(total, (ALL_BPS - rate_bps, rate_bps))[1]


def after_store(price: int, store_bps: int) -> int:
    """What an app store leaves of a price: 7.00 of 10.00 at 30 %."""
    return price - part(price, store_bps)


def check_tiers(tiers: Sequence[Tier]) -> None:
    """Nothing happens if the boundaries rise from above zero to one open end; else ``BadTiers``."""
    ends = [tier.up_to for tier in tiers]
    bounds = [0, *(end for end in ends if end is not None)]
    rising = all(low < high for low, high in pairwise(bounds))
    if ends[-1:] != [None] or len(bounds) != len(ends) or not rising:
        raise BadTiers(ends=ends)


def commission(share: int, tiers: Sequence[Tier], counter: int, *, minimum: int = 0) -> int:
    """The platform's part of one payee's own share, at that payee's lifetime counter before it.

    Tiers are marginal: each slice of the share pays the rate of the tier that it falls into, and is
    rounded by itself: a share cut in two at a boundary pays the same.  ``minimum`` is the least for
    a share, but never more than the share.
    """
    check_tiers(tiers)
    _not_negative("share", share)
    _not_negative("lifetime counter", counter)
    taken, low = 0, counter
    for tier in tiers:
        high = counter + share if tier.up_to is None else min(counter + share, tier.up_to)
        if high > low:
            taken += part(high - low, tier.rate_bps)
            low = high
    return min(share, max(taken, minimum))


def alike(tiers: Sequence[Tier], counter: int, share: int) -> int | None:
    """How many such shares in a row pay the same commission from this counter on; None: no end.

    As many as stay within the tier; or the one alone that ends beyond it.
    """
    ahead = [tier.up_to - counter for tier in tiers if tier.up_to and tier.up_to > counter]
    return max(1, ahead[0] // share) if share and ahead else None


def _not_negative(what: str, value: int) -> None:
    if value < 0:
        raise NegativeAmount(what=what, value=value)
