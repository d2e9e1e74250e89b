"""What endpoints are given: the runtime, and the ids of what they make.

These are coroutines only because FastAPI would run plain functions in threads.
"""

import hashlib
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Path, Request

from api import auth
from api.runtime import Runtime
from api.schemas.common import Text
from takings.records import new_id

ID_LENGTH = 32  # hexadecimal digits of a derived id: 128 bits


@dataclass(frozen=True, slots=True)
class Ids:
    """Gives ids to what a request makes, such that the same request makes the same thing."""

    caller: str
    idempotency_key: str | None

    def of(self, prefix: str, given: str | None) -> str:
        """The caller's own id, else one made of the Idempotency-Key, else a fresh one."""
        if given is not None:
            return given
        if self.idempotency_key is None:
            return new_id(prefix)
        text = f"{self.caller}\n{prefix}\n{self.idempotency_key}"
        return f"{prefix}_{hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]}"


async def runtime(request: Request) -> Runtime:
    """The runtime that the app was made around."""
    found: Runtime = request.app.state.runtime
    return found


async def ids(
    caller: Annotated[auth.Caller, Depends(auth.caller)],
    idempotency_key: Annotated[Text | None, Header()] = None,
) -> Ids:
    """The giver of ids for this request."""
    return Ids(caller.id, idempotency_key)


Here = Annotated[Runtime, Depends(runtime)]
New = Annotated[Ids, Depends(ids)]
Id = Annotated[Text, Path()]
