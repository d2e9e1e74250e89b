"""A tip as a room's live feed tells of it."""

from typing import Literal, Self

from api.schemas.common import Output, Seconds
from tipping import tables, tips


class FeedTip(Output):
    """A tip as those in the room may see it: no name where the listener wants none."""

    id: str
    object: Literal["tip"] = "tip"
    created: Seconds
    space: str
    listener: str | None
    amount: int
    currency: str
    message: str | None
    state: tips.State

    @classmethod
    def of(cls, tip: tables.Tip) -> Self:
        """The tip as the feed tells of it."""
        return cls(
            id=tip.id,
            created=tip.created_at,
            space=tip.space_id,
            listener=None if tip.anonymous else tip.listener_id,
            amount=tip.minor,
            currency=tip.currency,
            message=tip.message,
            state=tips.state(tip),
        )
