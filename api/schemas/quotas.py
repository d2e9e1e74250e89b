"""What a run has left, as the API shows it."""

from typing import Literal, Self

from api.schemas.common import Output, Seconds
from ticketing import quotas


class TierQuota(Output):
    """A tier's part of it; ``size`` is null where the tier has no limit of its own."""

    tier: str
    size: int | None
    sold: int
    held: int
    available: int


class Quota(Output):
    """What a run has, and how much of it is taken, as it was read at ``as_of``.

    ``waiting`` is how many tickets are waited for. ``available`` is what can be held: neither the
    run nor its Space, nor the tier, has fewer left.
    """

    object: Literal["quota"] = "quota"
    run: str
    size: int
    sold: int
    held: int
    waiting: int
    available: int
    as_of: Seconds
    tiers: list[TierQuota]

    @classmethod
    def of(cls, quota: quotas.Quota) -> Self:
        """The quota as the API shows it."""
        return cls(
            run=quota.run,
            size=quota.size,
            sold=quota.sold,
            held=quota.held,
            waiting=quota.waiting,
            available=quota.available,
            as_of=quota.as_of,
            tiers=[
                TierQuota(
                    tier=part.tier,
                    size=part.size,
                    sold=part.sold,
                    held=part.held,
                    available=part.available,
                )
                for part in quota.parts
            ],
        )
