"""Cases made from the document itself: no server error, and no answer that it does not tell of.

Every operation is asked with what its schema allows and with what it forbids, at addresses of its
own making and at those where the story has left something.  The controls are three operations that
are planted: one breaks, one answers what is not told, one is not shaped as told.
"""

import asyncio
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import pytest
import requests
import schemathesis
from fastapi import APIRouter, FastAPI, HTTPException
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.responses import JSONResponse, Response

from api import app, serving
from api.acts import HEADER
from api.operations import Operation, operation
from api.runtime import Runtime
from api.schemas.common import Output
from tests.acceptance.examples import STORY, told
from tests.acceptance.world import World
from tests.conftest import PROVE

CASES = 5_000 if PROVE else 500
SEED = 20261120
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@dataclass(frozen=True)
class Known:
    """Where something is, and what is well asked there."""

    place: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)


def known(world: World) -> dict[str, Known]:
    """By operation, out of the story."""
    found = {}
    for example in STORY:
        _, template, _ = world.operations()[example.operation]
        named = re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", template)
        match = re.fullmatch(named, world.here(example.path))
        assert match is not None
        body = {name: value for name, value in (example.body or {}).items() if name != "id"}
        found[example.operation] = Known(match.groupdict(), world.here(body))
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """What is asked: every operation whose answer comes to an end."""
    schema = schemathesis.openapi.from_dict(document)
    for result in schema.get_all_operations():
        found = result.ok()
        raw = found.definition.raw
        if "text/event-stream" not in raw["responses"]["200"]["content"]:
            yield raw["operationId"], found


@st.composite
def near(draw: st.DrawFn, cases: st.SearchStrategy[Case], story: Known) -> Case:
    """A case that is the story's, but for a field or two, and has a new Idempotency-Key."""
    case = draw(cases)
    if isinstance(case.body, dict) and case.body and story.body:
        names = draw(st.sets(st.sampled_from(sorted(case.body)), max_size=2))
        case.body = story.body | {name: case.body[name] for name in names}
    case.headers = {HEADER: secrets.token_hex(8)}
    return case


def asked(found: Any, story: Known) -> st.SearchStrategy[Case]:
    """Good and bad questions, at invented addresses and at known ones."""
    modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    far = [found.as_strategy(generation_mode=mode) for mode in modes]
    there = [found.as_strategy(generation_mode=mode, path_parameters=story.place) for mode in modes]
    return st.one_of(*far, *[near(cases, story) for cases in there])


@dataclass
class Told:
    """What was answered: how often which status, and what was wrong, by operation."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: dict[str, list[str]] = field(default_factory=dict)


def ask(world: World, url: str, many: int, only: Iterable[str] = ()) -> Told:
    """Ask that many questions of each operation."""
    session, result, story = requests.Session(), Told(), known(world)
    headers = {"Authorization": world.client.headers["Authorization"]}
    plan = settings(
        max_examples=many,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    def once(case: Case) -> None:
        answer = case.call(base_url=url, session=session, headers=headers)
        result.statuses[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    document = session.get(f"{url}/v1/openapi.json").json()
    for name, found in operations(document):
        if only and name not in only:
            continue
        try:
            seed(SEED)(plan(given(asked(found, story.get(name, Known())))(once)))()
        except FailureGroup as failures:
            result.wrong[name] = [str(failure) for failure in failures.exceptions]
    session.close()
    return result


async def test_whatever_the_document_allows_or_forbids_is_answered_as_it_says(
    world: World,
) -> None:
    await told(world)
    many = -(-CASES // len(world.operations()))
    async with serving.listening(world.runtime, "127.0.0.1", 0) as url:
        found = await asyncio.to_thread(ask, world, url, many)
    assert found.wrong == {}
    assert found.statuses.total() >= CASES * 0.9
    assert found.statuses[200] > found.statuses.total() / 20
    assert set(found.statuses) >= {200, 400, 404, 422}


router = APIRouter(prefix="/v1", route_class=Operation, tags=["planted"])


class Shape(Output):
    """What is promised."""

    number: int


@router.get("/planted/{number}/breaks", **operation("admin"))
async def breaks(number: int) -> Shape:
    """Something that nobody foresaw."""
    return Shape(number=100 // (number - number))


@router.get("/planted/untold", **operation("admin"))
async def untold() -> Shape:
    """A status that the document does not tell of."""
    raise HTTPException(HTTPStatus.IM_A_TEAPOT)


@router.get("/planted/misshapen", response_model=Shape, **operation("admin"))
async def misshapen() -> Response:
    """An answer of another shape."""
    return JSONResponse({"number": "one"})


async def test_control_what_is_planted_is_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = app.create

    def planted(runtime: Runtime) -> FastAPI:
        made = create(runtime)
        made.include_router(router)
        return made

    await told(world)
    monkeypatch.setattr(app, "create", planted)
    seeds = {"planted.breaks", "planted.untold", "planted.misshapen"}
    async with serving.listening(world.runtime, "127.0.0.1", 0) as url:
        found = await asyncio.to_thread(ask, world, url, 10, seeds)
    assert set(found.wrong) == seeds
    assert found.statuses.keys() >= {500, 418, 200}
