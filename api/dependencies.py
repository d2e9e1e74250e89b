"""What endpoints are given: the runtime, the ids of what they make, what the caller has seen.

These are coroutines only because FastAPI would run plain functions in threads.
"""

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Path, Request, Response

from api.acts import Started
from api.runtime import Runtime
from api.schemas.common import Text
from takings.errors import Invalid


class BadIfMatch(Invalid):
    """The If-Match header is no ETag of ours: {given}.

    Send the ETag of what you have read, as it came, or no If-Match at all.
    """

    param = "If-Match"


@dataclass(frozen=True, slots=True)
class Ids:
    """Gives ids to what a request makes, such that the same act makes the same thing."""

    act: Started

    def of(self, prefix: str, given: str | None) -> str:
        """The caller's own id, else one made of the act."""
        return given or self.act.id(prefix)


async def runtime(request: Request) -> Runtime:
    """The runtime that the app was made around."""
    found: Runtime = request.app.state.runtime
    return found


async def ids(request: Request) -> Ids:
    """The giver of ids for this request."""
    return Ids(request.state.act)


async def actor(request: Request) -> str:
    """Who is asking: the actor, who stays the same while keys are rotated."""
    found: str = request.state.caller.id
    return found


async def expected(
    if_match: Annotated[str | None, Header(description="the ETag that you have seen")] = None,
) -> int | None:
    """The version that the caller has seen and wants to edit; None if they name none."""
    if if_match is None:
        return None
    found = re.fullmatch(r'"(\d{1,9})"', if_match)
    if found is None:
        raise BadIfMatch(given=if_match[:40])
    return int(found[1])


def tag(response: Response, version: int) -> None:
    """Say which version is shown, for a later If-Match."""
    response.headers["ETag"] = f'"{version}"'


Here = Annotated[Runtime, Depends(runtime)]
New = Annotated[Ids, Depends(ids)]
Actor = Annotated[str, Depends(actor)]
Seen = Annotated[int | None, Depends(expected)]
Id = Annotated[Text, Path()]
