"""Problems: every code that the API can answer with, what it means, and what to do about it."""

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from itertools import chain
from typing import Any, Final

from api import errors
from takings.errors import NotFound, TakingsError

OURS: Final = ("takings", "tipping", "ticketing", "api")
NOT_HERE: Final = "api.cli"  # what the command line says is never an answer of the API


@dataclass(frozen=True, slots=True)
class Kind:
    """One code: its status, what it means (facts in brackets), what to do."""

    code: str
    status: int
    message: str
    remedy: str
    param: str | None = None
    retryable: bool = False

    @property
    def title(self) -> str:
        """The code in words."""
        return self.code.replace("_", " ").capitalize()

    def example(self) -> dict[str, Any]:
        """A problem of this kind, as it is answered."""
        told = {
            "type": f"/problems/{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": " ".join(filter(None, (self.message, self.remedy))),
            "instance": "/v1/…",
            "code": self.code,
            "param": self.param,
            "request_id": "req_06bqf8v8c0h3v2m4d5k6n7p8q9",
            "retryable": self.retryable,
        }
        return {name: fact for name, fact in told.items() if fact is not None}


PLAIN: Final = (
    Kind(
        "invalid_request",
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The request is understood, and something in it is not as the documentation says.",
        "Look at errors: each says where (pointer into the body, or parameter) and what.",
    ),
    *(
        Kind(code, status, message, remedy)
        for status, (code, message, remedy) in errors.ROUTER.items()
    ),
    Kind(
        "internal",
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Something went wrong on our side.",
        "Repeat the request with the same Idempotency-Key: nothing is done twice. If it stays, "
        "tell us the request_id.",
    ),
)
"""The problems that no error of ours stands behind."""


@cache
def every() -> Mapping[str, Kind]:
    """All kinds by their code."""
    return {kind.code: kind for kind in sorted((*PLAIN, *_kinds()), key=lambda kind: kind.code)}


def _kinds() -> Iterator[Kind]:
    found: Iterator[type[TakingsError]] = chain([NotFound], _leaves(TakingsError))
    for error in found:
        text = re.sub(r"{(\w+)[^}]*}", r"[\1]", inspect.getdoc(error) or "")
        message, _, remedy = (" ".join(part.split()) for part in text.partition("\n\n"))
        status = errors.status_of(error)
        yield Kind(error.code, status, message, remedy, error.param, errors.retryable(error))


def _leaves(error: type[TakingsError]) -> Iterator[type[TakingsError]]:
    for kind in error.__subclasses__():
        yield from _leaves(kind)
        module = kind.__module__
        ours = module.partition(".")[0] in OURS and not module.startswith(NOT_HERE)
        if ours and not kind.__subclasses__():
            yield kind
