"""Keys: GET list, and shut one out; they are made on the command line, which shows their secret."""

from api import keys, operations
from api.dependencies import Here, Id
from api.operations import operation
from api.schemas.access import Key
from api.schemas.common import Listing
from takings.errors import NotFound

router = operations.router("keys")


@router.get("/keys", **operation("admin"))
async def every(here: Here) -> Listing[Key]:
    """Every key there has been, newest first."""
    found = [Key.of(row) for row in await here.database.run(keys.all)]
    return Listing.whole(found, "/v1/keys")


@router.post("/keys/{id}/revoke", **operation("admin", raises=(NotFound,)))
async def revoke(here: Here, id: Id) -> Key:  # noqa: A002 - the name in the address
    """Shut the door to a key, within a second and for good."""
    return Key.of(await keys.revoke(here.database, id, now=here.now()))
