"""Passes: a ticket's QR code, and the keys that every door reads it by."""

from api import operations
from api.dependencies import Here, Id
from api.operations import operation
from api.schemas.admissions import PublicKey, TicketPass
from api.schemas.common import Listing
from takings.errors import NotFound
from ticketing import door_keys, passes

router = operations.router("passes")


@router.get("/door_keys", **operation("tickets"))
async def keys(here: Here) -> Listing[PublicKey]:
    """The keys that passes are read by, newest first: public, for doors to take along."""
    found = await here.database.run(door_keys.published, now=here.now())
    return Listing.whole([PublicKey.of(key) for key in found], "/v1/door_keys")


@router.get("/tickets/{id}/pass", **operation("tickets", raises=(NotFound, passes.NoPass)))
async def one(here: Here, id: Id) -> TicketPass:  # noqa: A002 - the name in the address
    """What a valid ticket shows at the door; it is another after each transfer."""
    return TicketPass.of(id, await here.database.run(door_keys.sign, id, now=here.now()))
