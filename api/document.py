"""The OpenAPI document: FastAPI's, and what the door adds to every operation.

Each operation has a stable id, the scopes that open it, every problem that it may answer with, and
an example that was executed.
"""

import json
from collections.abc import Iterator
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI

from api import acts, auth, errors, limits, operations, problems, versions
from api.schemas.problems import Problem
from takings import database
from takings.payments.asks import InFlight

Operation = dict[str, Any]

EXAMPLES: Final = Path(__file__).parent / "examples.json"
REF: Final = "#/components/schemas/{model}"

ALWAYS: Final = (
    *(auth.MissingKey, auth.UnknownKey, auth.WrongMode, auth.ScopeMissing),
    *(versions.UnknownVersion, limits.TooManyRequests),
    *(database.DatabaseAway, database.TooBusy, database.RowsLocked, database.Unstorable),
)
CHANGING: Final = (acts.BadIdempotencyKey, acts.IdempotencyKeyReused, InFlight, database.LawBroken)
READING: Final = (errors.MalformedJson, errors.NotJson, errors.BodyTooLarge)


HEADERS: Final = {
    "Request-Id": "the request's name, which our logs have too",
    versions.HEADER: "the version that this answer is in",
    "RateLimit-Policy": "how many requests in how many seconds",
    "RateLimit": "how many of them are left, and in how many seconds all are there again",
}
REPLAYED: Final = {operations.REPLAYED: "true, where this is the answer of the first time"}


SECURITY: Final = {
    "HTTPBearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key: tk_test_… or tk_live_…",
    }
}


class App(FastAPI):
    """FastAPI with the whole document."""

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = complete(super().openapi())
        return self.openapi_schema


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """FastAPI's document with all that the door asks and answers."""
    schema = Problem.model_json_schema(ref_template=REF)
    models = {"Problem": schema, **schema.pop("$defs")}
    components = document["components"]
    components["schemas"] |= models
    for model in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(model, None)
    components["headers"] = {
        name: {"description": why, "schema": {"type": "string"}}
        for name, why in (HEADERS | REPLAYED).items()
    }
    components["securitySchemes"] = SECURITY
    for _, method, operation in every(document):
        if "x-scopes" in operation:
            operation["security"] = [{name: [] for name in SECURITY}]
            _complete(operation, method)
    return document


def every(document: dict[str, Any]) -> Iterator[tuple[str, str, Operation]]:
    """Every operation with its path and method."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def codes(operation: Operation, method: str) -> list[str]:
    """The problems that an operation may answer with."""
    kinds: list[type[Exception]] = list(ALWAYS)
    plain = ["internal", "invalid_request"]
    if method.upper() not in operations.SAFE:
        kinds += CHANGING
    if operation["x-moves-money"]:
        kinds.append(acts.IdempotencyKeyMissing)
    if "requestBody" in operation:
        kinds += READING
        plain.append("malformed_request")
    found = {getattr(kind, "code", "") for kind in kinds} | {*plain, *operation["x-problems"]}
    return sorted(found)


def _complete(operation: Operation, method: str) -> None:
    parameters = operation.setdefault("parameters", [])
    parameters.append(_header(versions.HEADER, "the version to be answered in", *versions.VERSIONS))
    if method.upper() not in operations.SAFE:
        why = "new for each act, the same for each repetition of it; kept for 7 days"
        key = _header(acts.HEADER, why) | {"required": operation["x-moves-money"]}
        parameters.append(key)
    told = HEADERS if method.upper() in operations.SAFE else HEADERS | REPLAYED
    for answer in operation["responses"].values():
        answer["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in told}
    operation["responses"].pop("422", None)
    by_status: dict[int, list[problems.Kind]] = {}
    for code in codes(operation, method):
        kind = problems.every()[code]
        by_status.setdefault(kind.status, []).append(kind)
    operation["responses"] |= {
        str(status): _told(by_status[status]) for status in sorted(by_status)
    }
    _exemplify(operation)


def _header(name: str, why: str, *known: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "maxLength": acts.LONGEST}
    if known:
        schema["enum"] = list(known)
    return {"name": name, "in": "header", "required": False, "description": why, "schema": schema}


def _told(kinds: list[problems.Kind]) -> dict[str, Any]:
    """A status with all the problems that it may stand for."""
    return {
        "description": HTTPStatus(kinds[0].status).phrase,
        "headers": {"Request-Id": {"$ref": "#/components/headers/Request-Id"}},
        "content": {
            errors.MEDIA_TYPE: {
                "schema": {"$ref": REF.format(model="Problem")},
                "examples": {
                    kind.code: {"summary": kind.message, "value": kind.example()} for kind in kinds
                },
            }
        },
    }


@cache
def examples() -> dict[str, Any]:
    """By operation: a request and its answer, as they were executed by the tests."""
    found: dict[str, Any] = json.loads(EXAMPLES.read_text())
    return found


def _exemplify(operation: Operation) -> None:
    example = examples().get(operation["operationId"])
    if example is None:
        return
    operation["x-example"] = example["path"]
    if example["body"] is not None:
        operation["requestBody"]["content"]["application/json"]["example"] = example["body"]
    answer = operation["responses"][str(example["status"])]
    for content in answer.get("content", {}).values():
        content["example"] = example["answer"]
