"""The gate: what went between us and the sandbox is what would go between us and Stripe.

``check(box)`` looks at every request, answer and event that the sandbox has logged and raises with
all that breaks a contract.  Two contracts are kept: the installed SDK's types and, where it has
been fetched, Stripe's official document.  Requests without a ``Stripe-Version`` are taken as an
older account's and pass by; so do requests that the sandbox itself refused, which no caller can
overlook.
"""

import functools
import hashlib
import json
import os
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import jsonschema_rs

from sandbox import Sandbox
from sandbox.state import Logged
from tests.contract import official, sdk

CACHE = Path(__file__).parents[2] / "build/contract"

WAIVERS: list[tuple[str, str, str]] = [
    # contract, a pattern of the complaint, why it may stand
    (
        "sdk",
        r"^GET /v2/core/accounts request: .* \('page' was unexpected\)",
        "a page is asked for by the address that Stripe gave, which no type describes",
    ),
    (
        "official",
        r"^POST /v2/core/account_links .*\"configurations\" is a required property",
        "required until dahlia, gone in endive, which the SDK pins",
    ),
    (
        "official",
        r'^(GET|POST) /v2/.* answer 200: .*\.stripe_transfers\.status: "rejected" is not one of',
        "a word that is new in endive, which the SDK pins",
    ),
    (
        "official",
        r"^(GET|POST) /v2/.* answer 200: .*: null is not (of type|one of)",
        "v2 writes null where nothing was asked for: optional in the document, null in the SDK",
    ),
]


class ContractBrokenError(AssertionError):
    """What went over the wire is not what Stripe would have sent or taken."""


class Contract:
    """A document of operations and objects, with validators made as they are needed."""

    def __init__(self, name: str, document: dict[str, Any]) -> None:
        self.name = name
        self.document = document
        self._validators: dict[str, Any] = {}
        self._paths = [
            (re.compile(re.sub(r"\\{\w+\\}", r"[^/]+", re.escape(path)) + "$"), path)
            for path in sorted(document["paths"], key=lambda path: path.count("{"))
        ]

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        """The operation of that method and path, if the contract has it."""
        for pattern, template in self._paths:
            if pattern.match(path):
                found: dict[str, Any] | None
                found = self.document["paths"][template].get(method.lower())
                return found
        return None

    def complaints(self, schema: dict[str, Any], value: Any) -> Iterator[str]:
        """What is wrong with the value, by place."""
        key = schema.get("$ref") or json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            whole = {**schema, "$defs": self.document["$defs"]}
            self._validators[key] = jsonschema_rs.validator_for(whole)
        for error in self._validators[key].iter_errors(value):
            yield from explained(error)

    def typed(self, value: Any, schema: dict[str, Any]) -> Any:
        """A form's text as what the schema wants: integers, booleans, lists."""
        schema = self._resolved(schema)
        if "anyOf" in schema:
            tries = ((self.typed(value, branch), branch) for branch in schema["anyOf"])
            return next((typed for typed, branch in tries if self._fits(typed, branch)), value)
        match schema.get("type"), value:
            case "array", dict():
                items = schema.get("items", {})
                return [self.typed(value[place], items) for place in sorted(value, key=int)]
            case "object", dict():
                known, other = schema.get("properties", {}), schema.get("additionalProperties")
                rest = other if isinstance(other, dict) else {}
                return {name: self.typed(v, known.get(name, rest)) for name, v in value.items()}
            case "integer", str() if re.fullmatch(r"-?\d+", value):
                return int(value)
            case "boolean", "true" | "false":
                return value == "true"
        return value

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in schema:
            schema = self.document["$defs"][schema["$ref"].removeprefix("#/$defs/")]
        return schema

    def _fits(self, value: Any, schema: dict[str, Any]) -> bool:
        """Whether it is of that kind at all."""
        schema = self._resolved(schema)
        if "enum" in schema:
            return value in schema["enum"]
        kinds = {dict: "object", list: "array", bool: "boolean", int: "integer", str: "string"}
        return "type" not in schema or kinds.get(type(value)) == schema["type"]


def explained(error: Any) -> Iterator[str]:
    """The error with its place; of an ``anyOf``, what the branch of the right type misses."""
    branches, here = getattr(error.kind, "context", []), error.instance_path
    alike = [
        b for b in branches if not any(e.kind.name == "type" and e.instance_path == here for e in b)
    ]
    if len(alike) != 1:
        yield f"{'.'.join(map(str, error.instance_path)) or 'it'}: {error.message[:200]}"
        return
    for inner in alike[0]:
        yield from explained(inner)


@functools.cache
def contracts() -> list[Contract]:
    """The contracts at hand, built once and kept under ``build/``."""
    found = [Contract("sdk", _kept("sdk", sdk.__file__, sdk.build))]
    if official.readable():
        found.append(Contract("official", _kept("official", official.__file__, official.build)))
    return found


def _kept(name: str, source: str, build: Any) -> dict[str, Any]:
    code = Path(source).read_bytes() + Path(sdk.__file__).read_bytes()
    version = hashlib.sha256(code + metadata.version("stripe").encode()).hexdigest()[:12]
    path = CACHE / f"{name}-{version}.json"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        mine = path.with_suffix(f".{os.getpid()}")
        mine.write_text(json.dumps(build()))
        mine.replace(path)  # whole or not at all, whoever else is building it
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def check(box: Sandbox) -> None:
    """Everything that the sandbox has logged keeps every contract."""
    broken = list(violations(box))
    if broken:
        raise ContractBrokenError("\n".join(broken))


def violations(box: Sandbox) -> Iterator[str]:
    """What breaks a contract and is not waived."""
    for contract in contracts():
        waived = [re.compile(pattern) for name, pattern, _ in WAIVERS if name == contract.name]
        for complaint in _of_box(contract, box):
            if not any(pattern.search(complaint) for pattern in waived):
                yield f"{contract.name}: {complaint}"


def _of_box(contract: Contract, box: Sandbox) -> Iterator[str]:
    for logged in box.requests:
        if logged.version is not None:
            for wrong in of_call(contract, logged):
                yield f"{logged.method} {logged.path} {wrong}"
    for event in box.events:
        for wrong in of_event(contract, event):
            yield f"event {event['type']}: {wrong}"
    for event in box.notifications:
        for wrong in of_notification(contract, event):
            yield f"notification {event['type']}: {wrong}"


def of_call(contract: Contract, logged: Logged) -> Iterator[str]:
    """What is wrong with a request, unless it was refused, and with its first answer, if any."""
    method, path, status = logged.method, logged.path, logged.status
    if status is None or not 400 <= status < 500:
        params = request_params(method, path, logged.body, logged.query)
        for wrong in of_request(contract, method, path, params):
            yield f"request: {wrong}"
    if status is not None and not logged.replayed:
        for wrong in of_answer(contract, method, path, status, logged.answer):
            yield f"answer {status}: {wrong}"


def request_params(method: str, path: str, body: bytes, query: str) -> Any:
    """The parameters of a request, from its own bytes."""
    if method == "POST" and path.startswith("/v2/"):
        return json.loads(body or b"{}")
    root: dict[str, Any] = {}
    for name, value in parse_qsl(body.decode() if method == "POST" else query, True):
        *steps, last = re.findall(r"[^\[\]]+", name)
        place = root
        for step in steps:
            place = place.setdefault(step, {})
        place[last] = value
    return root


def of_request(contract: Contract, method: str, path: str, params: Any) -> Iterator[str]:
    """What is wrong with a request."""
    operation = contract.operation(method, path)
    if operation is None:
        yield "no such operation"
        return
    schema = operation["request"]
    json_body = method == "POST" and path.startswith("/v2/")
    yield from contract.complaints(schema, params if json_body else contract.typed(params, schema))


def of_answer(
    contract: Contract, method: str, path: str, status: int, body: bytes
) -> Iterator[str]:
    """What is wrong with an answer."""
    operation, answer = contract.operation(method, path), json.loads(body)
    if status != 200:
        yield from of_error(contract, answer)
    elif answer.get("object") == "v2.core.event":
        yield from of_notification(contract, answer)
    elif operation is not None and not answer.get("deleted"):
        yield from contract.complaints(operation["answer"], answer)


def of_error(contract: Contract, answer: Any) -> Iterator[str]:
    """What is wrong with a refusal."""
    if "error" in contract.document["objects"]:
        yield from contract.complaints(contract.document["objects"]["error"], answer)
    elif not {"type", "message"} <= answer.get("error", {}).keys():
        yield "a refusal without type and message"


def of_event(contract: Contract, event: Any) -> Iterator[str]:
    """What is wrong with a snapshot event, or with the object inside."""
    objects = contract.document["objects"]
    yield from contract.complaints(objects["event"], event)
    inside = event["data"]["object"]
    if inside.get("object") not in objects:
        yield f"an event about {inside.get('object')}"
        return
    for wrong in contract.complaints(objects[inside["object"]], inside):
        yield f"data.object.{wrong}"


def of_notification(contract: Contract, event: Any) -> Iterator[str]:
    """What is wrong with a thin event."""
    known = contract.document["notifications"]
    if known and event["type"] not in known:
        yield "no such notification"
    elif known:
        yield from contract.complaints(known[event["type"]], event)
