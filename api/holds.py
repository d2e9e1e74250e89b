"""Holds: POST, GET one, extend, release."""

from api import desk, operations
from api.dependencies import Here, Id, New
from api.operations import at_first, operation
from api.schemas.holds import Claimant, Hold, HoldInput
from takings.errors import NotFound
from takings.records import BadId
from ticketing import holds

router = operations.router("holds")

CLAIMING = (
    *(BadId, NotFound, holds.QuantityOutOfRange, holds.LeastOutOfRange),
    *(holds.SoldOut, holds.NotOnSale),
    *(holds.LotsAreDrawn, holds.TooManyTickets, holds.UnknownCode, holds.CodeUsedUp),
    holds.HoldDiffers,
)
KEEPING = (NotFound, holds.NotYourHold, holds.HoldOver)


@router.post("/holds", **operation("tickets", moves_money=True, raises=CLAIMING))
@at_first(desk.first)
async def claim(here: Here, new: New, given: HoldInput) -> Hold:
    """Set tickets aside for a listener; the answer says until when, and what is left.

    Repeating it by its id changes nothing.
    """
    wish = given.claim(given.id or desk.hold_id(new.act.actor, new.act.key))
    return Hold.of(await holds.claim(here.database, wish, now=here.now()))


@router.get("/holds/{id}", **operation("tickets", raises=(NotFound,)))
async def one(here: Here, id: Id) -> Hold:  # noqa: A002 - the name in the address
    """One hold, as it is now."""
    return Hold.of(await holds.get(here.database, id))


@router.post(
    "/holds/{id}/extend",
    **operation("tickets", moves_money=True, raises=KEEPING),
)
async def extend(here: Here, id: Id, given: Claimant) -> Hold:  # noqa: A002 - as above
    """Let it last twice as long as it did at first; asking again changes nothing."""
    return Hold.of(await holds.extend(here.database, id, given.listener))


@router.post("/holds/{id}/release", **operation("tickets", moves_money=True, raises=KEEPING))
async def release(here: Here, id: Id, given: Claimant) -> Hold:  # noqa: A002 - as above
    """Give the tickets back before its time is over; repeating it changes nothing."""
    return Hold.of(await holds.release(here.database, id, given.listener, now=here.now()))
