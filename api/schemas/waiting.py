"""Waiting lists, as the API hears and shows them."""

from typing import Annotated, Literal, Self

from pydantic import Field

from api.schemas.common import Input, Output, OwnId, Paging, Seconds, Text
from api.schemas.holds import Address, Quantity
from api.schemas.tips import Listener
from ticketing import waitlist

State = Literal["waiting", "offered", "taken", "lapsed", "left"]


class WaitInput(Input):
    """Tickets that a listener would wait for: all of them, or as few as ``least``."""

    id: OwnId | None = None
    listener: Listener
    quantity: Quantity = 1
    least: Annotated[Quantity, Field(description="how few would do; unset: all or nothing")] | (
        None
    ) = None
    tier: Text | None = None
    address: Address | None = None

    def wish(self, waiting_id: str, run: str) -> waitlist.WaitWish:
        """The wish as the waiting list knows it."""
        return waitlist.WaitWish(id=waiting_id, run=run, **self.model_dump(exclude={"id"}))


class WaitingFilter(Paging):
    """Whose places are wanted."""

    listener: Text | None = None
    state: State | None = None


class Waiting(Output):
    """A place on the waiting list of a run; ``place`` 1 is next, and null until lots are drawn.

    Offered, the tickets are in ``hold`` until ``offered_until``: buy them as any hold.
    """

    id: str
    object: Literal["waiting"] = "waiting"
    created: Seconds
    run: str
    tier: str | None
    listener: str
    quantity: int
    least: int
    state: State
    place: int | None
    hold: str | None
    offered_until: Seconds | None

    @classmethod
    def of(cls, place: waitlist.Place) -> Self:
        """The place as the API shows it."""
        return cls(
            id=place.id,
            created=place.created_at,
            run=place.run,
            tier=place.tier,
            listener=place.listener,
            quantity=place.quantity,
            least=place.least,
            state=place.state,
            place=place.place,
            hold=place.hold,
            offered_until=place.offered_until,
        )
