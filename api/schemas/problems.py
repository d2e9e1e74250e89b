"""How an error is told (RFC 9457)."""

from api.schemas.common import Output


class Fault(Output):
    """One thing that is wrong with a request, and where: in the body, or in the address."""

    pointer: str | None = None
    parameter: str | None = None
    detail: str


class Problem(Output):
    """What went wrong, for programs (``code``) and for people (``detail``)."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    param: str | None = None
    errors: list[Fault] | None = None
    request_id: str
    retryable: bool
