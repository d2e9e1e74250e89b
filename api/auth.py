"""Who is asking: the holder of an API key."""

from dataclasses import dataclass
from typing import Annotated

import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from api import keys
from api.runtime import Runtime
from takings.errors import Refused


class Unproven(Refused):
    """Who is asking is not known."""


class MissingKey(Unproven):
    """The request carries no API key.

    Send it as "Authorization: Bearer tk_test_…"; "takings keys issue" makes one.
    """


class UnknownKey(Unproven):
    """The API key opens nothing: it is wrong, or it was revoked.

    Make a new one with "takings keys issue".
    """


@dataclass(frozen=True, slots=True)
class Caller:
    """The API key by which a request came."""

    id: str
    name: str


BEARER = HTTPBearer(auto_error=False, description="An API key: tk_test_… or tk_live_…")


async def caller(
    request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]
) -> Caller:
    """The caller, looked up by the hash of the key at every request: a revoked key is revoked."""
    if bearer is None:
        raise MissingKey
    runtime: Runtime = request.app.state.runtime
    found = await runtime.database.run(keys.find, bearer.credentials)
    if found is None:
        raise UnknownKey
    structlog.contextvars.bind_contextvars(actor=found.id)
    return Caller(found.id, found.name)
