"""Calendars: a Space, or a ticket for it, as a file that calendars read."""

from typing import Any, Final

from fastapi import Response

from api import operations
from api.dependencies import Here, Id
from api.operations import operation
from takings.errors import NotFound
from ticketing import calendars

router = operations.router("calendars")

MEDIA: Final = "text/calendar"
DOCUMENTED: Final[dict[str, Any]] = {
    "response_class": Response,
    "responses": {200: {"content": {MEDIA: {"schema": {"type": "string"}}}}},
}
TELLING: Final = (NotFound, calendars.NoTimeYet)


@router.get("/spaces/{id}/calendar", **DOCUMENTED, **operation("spaces", "tickets", raises=TELLING))
async def space(here: Here, id: Id) -> Response:  # noqa: A002 - the name in the address
    """When a Space is; where it was moved or cancelled, the same again with the next sequence."""
    return _file(await here.database.run(calendars.of_space, id), id)


@router.get("/tickets/{id}/calendar", **DOCUMENTED, **operation("tickets", raises=TELLING))
async def ticket(here: Here, id: Id) -> Response:  # noqa: A002 - the name in the address
    """The same for a ticket."""
    return _file(await here.database.run(calendars.of_ticket, id), id)


def _file(said: bytes, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}.ics"'}
    return Response(said, headers=headers, media_type=MEDIA)
