"""Runs and their price tiers, as the API hears and shows them."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field

from api.schemas.common import Currency, Input, Instant, Minor, Output, OwnId, Paging, Seconds, Text
from ticketing import runs, wishes
from ticketing.tables import Pool
from ticketing.wishes import Kind

Count = Annotated[int, Field(strict=True)]
Size = Annotated[Count, Field(description="how many tickets there are; unset: as the run has")]
Price = Annotated[
    Minor, Field(description="in minor units: what a ticket costs, or the least of a choice")
]
Opens = Annotated[Instant, Field(description="from when it sells; unset: at once")]
Closes = Annotated[Instant, Field(description="until when; unset: for as long as there are any")]
PerListener = Annotated[Count, Field(description="how many tickets one listener may have")]
PerAddress = Annotated[Count, Field(description="how many may go to one address on the net")]
HoldFor = Annotated[Count, Field(description="for how many seconds a ticket is held")]
OfferFor = Annotated[Count, Field(description="for how many it is offered to who waits")]
RefundUntil = Annotated[
    Count,
    Field(description="until how many hours before the start a buyer may return it; unset: never"),
]


class TierInput(Input):
    """A price tier: fixed, a choice from ``price`` on, free, or comp, which only the house gives.

    Who asks for no tier is given the first that is on sale and has room.
    """

    id: OwnId | None = None
    name: Text
    kind: Kind = "fixed"
    price: Price = 0
    size: Size | None = None
    opens_at: Opens | None = None
    closes_at: Closes | None = None

    def wish(self, tier_id: str | None) -> wishes.TierWish:
        """The tier as the box office knows it."""
        told = self.model_dump(exclude={"id", "price"})
        return wishes.TierWish(id=tier_id, minor=self.price, **told)


class TierEdit(Input):
    """What is to be changed of a price tier; what is not told stays."""

    name: Text | None = None
    price: Price | None = None
    size: Size | None = None
    opens_at: Opens | None = None
    closes_at: Closes | None = None

    def changes(self) -> dict[str, Any]:
        """The same, in the box office's words."""
        told = self.model_dump(exclude_unset=True)
        return {"minor" if name == "price" else name: value for name, value in told.items()}


class RunInput(Input):
    """A limited issue of tickets for a Space, with its price tiers in their order.

    Without a policy it is the Space's.  Who comes in the first ``draw_s`` seconds draws lots.
    """

    id: OwnId | None = None
    space: Text
    size: Annotated[Count, Field(description="how many tickets there are")]
    tiers: Annotated[list[TierInput], Field(min_length=1, max_length=wishes.MOST_TIERS)]
    currency: Currency
    policy: Annotated[Text, Field(description="whose rules hold, in today's version")] | None = None
    opens_at: Opens | None = None
    closes_at: Closes | None = None
    per_listener: PerListener | None = None
    per_address: PerAddress | None = None
    hold_s: HoldFor = 600
    offer_s: OfferFor = 1800
    draw_s: Annotated[Count, Field(description="for how many lots are drawn")] | None = None
    refund_until_h: RefundUntil | None = None

    def wish(self, run_id: str) -> wishes.RunWish:
        """The run as the box office knows it."""
        told = self.model_dump(exclude={"id", "tiers"})
        tiers = tuple(tier.wish(tier.id) for tier in self.tiers)
        return wishes.RunWish(id=run_id, tiers=tiers, **told)


class RunEdit(Input):
    """What is to be changed of a run; what is not told stays."""

    size: Annotated[Count, Field(description="how many tickets there are")] | None = None
    opens_at: Opens | None = None
    closes_at: Closes | None = None
    per_listener: PerListener | None = None
    per_address: PerAddress | None = None
    hold_s: HoldFor | None = None
    offer_s: OfferFor | None = None
    refund_until_h: RefundUntil | None = None

    def changes(self) -> dict[str, Any]:
        """The same, in the box office's words."""
        return self.model_dump(exclude_unset=True)


class RunFilter(Paging):
    """Which runs are wanted."""

    space: Text | None = None
    host: Text | None = None


class PriceTier(Output):
    """A price step inside a run; without a size there are as many as the run has."""

    id: str
    object: Literal["tier"] = "tier"
    name: str
    kind: Kind
    price: int
    size: int | None
    held: int
    sold: int
    opens_at: Seconds | None
    closes_at: Seconds | None

    @classmethod
    def of(cls, step: runs.Step) -> Self:
        """The tier as the API shows it."""
        tier, pool = step.tier, step.pool
        return cls(
            id=tier.id,
            name=tier.name,
            kind=step.wish().kind,
            price=tier.minor,
            size=pool.quota,
            held=pool.held,
            sold=pool.sold,
            opens_at=tier.opens_at,
            closes_at=tier.closes_at,
        )


class Run(Output):
    """A limited issue of tickets for one Space, and how many of them are held and sold."""

    id: str
    object: Literal["run"] = "run"
    created: Seconds
    version: int
    space: str
    policy: str
    policy_version: int
    currency: str
    size: int
    held: int
    sold: int
    tiers: list[PriceTier]
    opens_at: Seconds | None
    closes_at: Seconds | None
    per_listener: int | None
    per_address: int | None
    hold_s: int
    offer_s: int
    draw_s: int | None
    refund_until_h: int | None
    cancelled_at: Seconds | None

    @classmethod
    def of(cls, opened: runs.Opened) -> Self:
        """The run as the API shows it."""
        plain = opened.run.model_dump(include=set(cls.model_fields))
        return cls(
            **plain,
            created=opened.run.created_at,
            space=opened.run.space_id,
            size=opened.pool.quota,
            held=opened.pool.held,
            sold=opened.pool.sold,
            tiers=[PriceTier.of(step) for step in opened.tiers],
        )


class CapacityInput(Input):
    """How many tickets all runs of a Space may sell together; null: as many as they have."""

    capacity: Count | None


class Capacity(Output):
    """How many tickets all runs of a Space may sell together, and what is taken of them.

    Without a limit nothing is counted.
    """

    object: Literal["capacity"] = "capacity"
    space: str
    capacity: int | None
    held: int
    sold: int

    @classmethod
    def of(cls, space: str, pool: Pool) -> Self:
        """The pool as the API shows it."""
        return cls(space=space, capacity=pool.quota, held=pool.held, sold=pool.sold)
