"""Keys: GET list, and shut one out; they are made on the command line, which shows their secret."""

from fastapi import APIRouter

from api import keys
from api.dependencies import Here, Id
from api.operations import Operation, operation
from api.schemas.access import Key
from api.schemas.common import Listing
from takings.errors import NotFound

router = APIRouter(route_class=Operation, tags=["keys"])


@router.get("/keys", **operation("admin"))
async def every(here: Here) -> Listing[Key]:
    """Every key there has been, newest first."""
    found = [Key.of(row) for row in await here.database.run(keys.all)]
    return Listing.whole(found, "/v1/keys")


@router.post("/keys/{id}/revoke", **operation("admin", raises=(NotFound,)))
async def revoke(here: Here, id: Id) -> Key:  # noqa: A002 - the name in the address
    """Shut the door to a key, within a second and for good."""
    return Key.of(await keys.revoke(here.database, id, now=here.now()))
