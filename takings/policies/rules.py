"""A policy is data: rates, bearers, days and amounts, versioned and frozen into each line.

Whatever is stated in minor units belongs to one currency and stands in that currency's ``Terms``; a
currency without terms cannot be sold under the policy.  Whatever is a rate, a bearer or a number of
days holds for all of them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError

from takings import commission
from takings.commission import ALL_BPS, FeeSchedule, Tier
from takings.errors import Invalid, Refused
from takings.money import DECIMALS, LIMIT, Money
from takings.records import ID

Bearer = Literal["listener", "host", "platform"]
Channel = Literal["web", "ios", "android"]
Schedule = Literal["manual", "daily", "weekly", "monthly"]

STANDARD: Final = "standard"
"""The card region of ``Terms.fee``: the cards that are usual where the platform is."""

VERSION_MAX: Final = 32_767  # a smallint

_DAY_S: Final = 86_400
_STORE_FEE: Final[Mapping[Channel, int]] = {"web": 0, "ios": 3000, "android": 3000}


class BadPolicy(Invalid):
    """The policy's {field} is wrong: {problem}.

    Compare it with the presets.
    """

    param = "policy"


class CurrencyNotOffered(Refused):
    """The policy {policy} has no terms in {currency}.

    Pay in one of: {offered}.
    """

    param = "currency"


class RegionNotPriced(Refused):
    """The policy {policy} has no card fee for {region} cards in {currency}.

    Choose among: {known}; or publish a version whose terms name it under "fees".
    """

    param = "card_region"


class BelowMinimum(Invalid):
    """{amount} is less than the minimum of {minimum}.

    Send at least the minimum.
    """

    param = "amount"


class AboveMaximum(Invalid):
    """{amount} is more than the maximum of {maximum}.

    Send at most the maximum.
    """

    param = "amount"


@dataclass(frozen=True, slots=True)
class Terms:
    """The amounts of a policy in one currency, all in its minor units.

    ``fee`` estimates the card fee; ``fees`` that of other cards, by card region, for previews: when
    something is sold, nobody knows the card yet.  ``minimum`` to ``maximum`` is what one line may
    cost, and ``suggested`` what is proposed: the chips of a tip, the usual prices of a ticket.
    ``tiers`` and ``commission_minimum`` make the platform's part.  ``payout_minimum`` is worth
    paying out.  ``listener_maximum`` is what one listener may tip in any 24 hours, in all rooms
    under policies of this name; ``room_maximum`` what one listener may tip in one room.  None is no
    cap.
    """

    fee: FeeSchedule
    minimum: int
    maximum: int
    suggested: tuple[int, ...] = ()
    tiers: tuple[Tier, ...] = (Tier(up_to=None, rate_bps=0),)
    commission_minimum: int = 0
    payout_minimum: int = 0
    listener_maximum: int | None = None
    room_maximum: int | None = None
    fees: Mapping[str, FeeSchedule] = field(default_factory=dict)

    def __post_init__(self) -> None:
        commission.check_tiers(self.tiers)
        named = all(region and region != STANDARD for region in self.fees)
        _require(named, "fees", f"each region has a name, and {STANDARD} is what fee is for")
        in_order = 0 < self.minimum <= self.maximum <= LIMIT
        _require(in_order, "minimum", "it lies between 1 and the maximum, both within a bigint")
        inside = all(self.minimum <= chip <= self.maximum for chip in self.suggested)
        _require(inside, "suggested", "each amount lies between the minimum and the maximum")
        _require(self.commission_minimum >= 0, "commission_minimum", "it is zero or more")
        _require(self.payout_minimum >= 0, "payout_minimum", "it is zero or more")
        for name in ("listener_maximum", "room_maximum"):
            cap = getattr(self, name)
            reachable = cap is None or self.minimum <= cap <= LIMIT
            _require(reachable, name, "it lets at least the minimum through, within a bigint")

    def commission(self, share: int, counter: int) -> int:
        """The platform's part of a payee's own share, at that payee's lifetime counter so far."""
        return commission.commission(share, self.tiers, counter, minimum=self.commission_minimum)


@dataclass(frozen=True, slots=True)
class RollingReserve:
    """A part of every released share, kept for a number of days against later disputes."""

    rate_bps: int
    days: int

    def __post_init__(self) -> None:
        _require(0 <= self.rate_bps <= ALL_BPS, "rolling_reserve.rate_bps", "0 to 10000")
        _require(self.days > 0, "rolling_reserve.days", "at least one day")


@dataclass(frozen=True, slots=True)
class Tax:
    """A tax on the platform's commission, owed in one country (ISO 3166, two capitals)."""

    country: str
    rate_bps: int

    def __post_init__(self) -> None:
        two_capitals = len(self.country) == len("DE") and self.country.isalpha()
        _require(two_capitals and self.country.isupper(), "tax.country", "a code such as DE")
        _require(0 <= self.rate_bps <= ALL_BPS, "tax.rate_bps", "0 to 10000")


@dataclass(frozen=True, slots=True)
class Velocity:
    """How fast one listener may tip: at most so many tips in so many seconds, whatever room."""

    tips: int
    seconds: int

    def __post_init__(self) -> None:
        _require(self.tips > 0, "velocity.tips", "at least one")
        _require(0 < self.seconds <= _DAY_S, "velocity.seconds", "1 second to a day")


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Who may earn under a policy, as facts that the platform's backend compares with its own."""

    followers_min: int = 0
    age_min: int = 0
    spaces_min: int = 0
    spaces_within_days: int = 0
    hosts: str = "every enabled host"


@dataclass(frozen=True, slots=True)
class Policy:
    """All rules for the money of one kind of sale, under a name and a version that never change."""

    name: str
    version: int
    source: str  # where the rules come from, in words
    terms: Mapping[str, Terms]  # by currency
    fee_bearer: Bearer
    refund_fee_bearer: Bearer = "platform"
    dispute_fee_bearer: Bearer = "platform"
    release_days: int = 0  # after the room has ended
    refund_window_days: int = 0
    payout_schedule: Schedule = "daily"
    store_fee: Mapping[Channel, int] = field(default_factory=lambda: dict(_STORE_FEE))
    rolling_reserve: RollingReserve | None = None
    tax: Tax | None = None
    velocity: Velocity | None = None
    run_maximum: int | None = None  # tickets in one run
    eligibility: Eligibility = Eligibility()

    def __post_init__(self) -> None:
        named = ID.fullmatch(self.name) is not None
        _require(named, "name", "1 to 64 letters, digits, underscores, dots and hyphens")
        _require(0 < self.version <= VERSION_MAX, "version", f"from 1 to {VERSION_MAX}")
        _require(self.release_days >= 0, "release_days", "zero or more")
        _require(self.refund_window_days >= 0, "refund_window_days", "zero or more")
        _require(self.run_maximum is None or self.run_maximum > 0, "run_maximum", "at least one")
        borne = self.dispute_fee_bearer != "listener"
        _require(borne, "dispute_fee_bearer", "whose bank took the money back pays no fee for it")
        _require(self.store_fee.get("web") == 0, "store_fee.web", "nobody stands between: 0")
        for channel, rate_bps in self.store_fee.items():
            _require(0 <= rate_bps < ALL_BPS, f"store_fee.{channel}", "0 to 9999")
        for currency in self.terms:
            _require(currency in DECIMALS, f"terms.{currency}", "Stripe charges no such currency")

    def terms_in(self, currency: str) -> Terms:
        """The terms in a currency; ``CurrencyNotOffered`` where there are none."""
        try:
            return self.terms[currency]
        except KeyError:
            offered = ", ".join(sorted(self.terms)) or "none"
            raise CurrencyNotOffered(policy=self.name, currency=currency, offered=offered) from None

    def card_fee(self, currency: str, region: str) -> FeeSchedule:
        """What Stripe is expected to keep of a card of that region; else ``RegionNotPriced``."""
        terms = self.terms_in(currency)
        if region != STANDARD and region not in terms.fees:
            told = {"policy": self.name, "region": region, "currency": currency}
            raise RegionNotPriced(**told, known=", ".join((STANDARD, *sorted(terms.fees))))
        return terms.fees.get(region, terms.fee)

    def check(self, amount: Money) -> None:
        """Nothing happens if one line may cost this much; otherwise the error says what may."""
        terms = self.terms_in(amount.currency)
        if amount.minor < terms.minimum:
            raise BelowMinimum(amount=amount, minimum=Money(terms.minimum, amount.currency))
        if amount.minor > terms.maximum:
            raise AboveMaximum(amount=amount, maximum=Money(terms.maximum, amount.currency))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, which ``from_dict`` turns into an equal policy."""
        plain: dict[str, Any] = _POLICY.dump_python(self, mode="json")
        return plain

    @staticmethod
    def from_dict(plain: Mapping[str, Any]) -> "Policy":
        """The policy that these JSON values state; ``BadPolicy`` names the first wrong field."""
        try:
            # Strict JSON knows arrays from objects and 1 from 1.0, "1" and true.
            return _POLICY.validate_json(json.dumps(plain), strict=True, extra="forbid")
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(step) for step in first["loc"]) or "document"
            raise BadPolicy(field=where, problem=first["msg"]) from error


_POLICY: Final = TypeAdapter(Policy)


def _require(holds: bool, name: str, rule: str) -> None:
    if not holds:
        raise BadPolicy(field=name, problem=rule)
