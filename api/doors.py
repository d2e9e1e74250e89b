"""Doors without the net: what they take along, what they tell later, and what did not fit."""

from hashlib import sha256
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import Header, Response

from api import operations
from api.dependencies import Here, Id
from api.operations import operation
from api.schemas.admissions import (
    DoorConflict,
    DoorList,
    DoorReport,
    ListedTicket,
    Scanned,
    ScansInput,
)
from api.schemas.common import Listing
from takings.errors import NotFound
from ticketing import doors

router = operations.router("doors")

UNCHANGED: Final[dict[int | str, dict[str, Any]]] = {
    HTTPStatus.NOT_MODIFIED: {"description": "the list is the one whose ETag was sent"}
}
Known = Annotated[str | None, Header(alias="If-None-Match", description="the ETag of a list")]


@router.get(
    "/spaces/{id}/door",
    response_model=DoorList,
    responses=UNCHANGED,
    **operation("tickets", raises=(NotFound,)),
)
async def one(here: Here, id: Id, known: Known = None) -> Response:  # noqa: A002 - as the address
    """Every valid ticket: what a door takes along to check passes without the net."""
    found = [ListedTicket.of(one) for one in await here.database.run(doors.tickets, id)]
    body = DoorList(space=id, data=found).model_dump_json().encode()
    etag = {"ETag": f'"{sha256(body).hexdigest()[:32]}"'}
    if known is not None and etag["ETag"] in known:  # among others, or called weak on its way
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=etag)
    return Response(body, headers=etag, media_type="application/json")


@router.post("/spaces/{id}/door", **operation("tickets", raises=(NotFound,)))
async def tell(here: Here, id: Id, given: ScansInput) -> DoorReport:  # noqa: A002 - as above
    """Tell what a door saw while it was alone; of all scans of a ticket the earliest counts."""
    scans = [scan.scan() for scan in given.scans]
    found = await doors.tell(here.database, id, given.door, scans, now=here.now())
    return DoorReport(space=id, door=given.door, data=[Scanned.of(one) for one in found])


@router.get("/spaces/{id}/door/conflicts", **operation("tickets", raises=(NotFound,)))
async def conflicts(here: Here, id: Id) -> Listing[DoorConflict]:  # noqa: A002 - as above
    """Whom doors let in with tickets that were used before or not good any more, oldest first."""
    found = await here.database.run(doors.conflicts, id)
    return Listing.whole(
        [DoorConflict.of(*one) for one in found], f"/v1/spaces/{id}/door/conflicts"
    )
