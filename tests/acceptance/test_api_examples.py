"""Every operation has an example that was executed, and the document shows it.

TAKINGS_WRITE_EXAMPLES=1 writes api/examples.json anew; without it, what is written is compared with
what happens.
"""

import io
import json
import os
import re
import zipfile
from collections import Counter
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from api import document, problems
from api.acts import HEADER
from tests.acceptance.examples import STORY, TO_ADD, Example, missing, streams
from tests.acceptance.world import World, calling

WRITE = os.environ.get("TAKINGS_WRITE_EXAMPLES") == "1"
EVENING = 1_795_204_800  # 2026-11-20 20:00 UTC
DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
JWK = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
LINES, ROWS = 12, 2

MADE = re.compile(r"\b([a-z]{2,4})_[A-Za-z0-9]{14,}")
PLAIN = {
    r"http://127\.0\.0\.1:\d+": "https://checkout.stripe.com",
    r"\b[0-9a-f]{64}\b": DIGEST,
    r"\b2\d{3}-\d\d-\d\dT[\d:.]+Z": "2026-11-20T20:00:00Z",
    r"\b1[789]\d{8}\b": str(EVENING),
    r"_secret_\w+": "_secret_1",
    r'schema="\w+",version="[^"]+"': 'schema="0005",version="0.1.0"',
    r"tk_test_…\w{4}": "tk_test_…1a2b",
    r"^[0-9a-f]{8}$": "9f86d081",
    r"^[0-9a-f]{16}$": DIGEST[:16],
    r'd="M[^"]+"': 'd="M4 4.5h7m6…"',
    r"\b2\d{7}T\d{6}Z": "20261120T200000Z",
    r"^2\d{3}-\d\d-\d\d$": "2026-11-20",
    r"SEQUENCE:\d+": "SEQUENCE:1",
    r"\?return_url=\S+": "",
}


class StandIns:
    """Something stable for all that is made anew at every run."""

    def __init__(self, world: World) -> None:
        self.names = {actual: name for name, actual in world.names.items()}
        self.made: dict[str, str] = {}
        self.many: Counter[str] = Counter()

    def of(self, told: Any) -> Any:
        """The same, with stand-ins."""
        if isinstance(told, dict):
            return {name: self.of(value) for name, value in told.items()}
        if isinstance(told, list):
            return [self.of(value) for value in told]
        if isinstance(told, str):
            return self.text(told)
        when = isinstance(told, int) and EVENING - 10**8 < told < EVENING + 10**9
        return EVENING if when else told

    def text(self, told: str) -> str:
        """The text, with stand-ins."""
        if re.fullmatch(r"[\w-]{43}", told):  # 256 bits, in which chance writes anything
            return JWK
        for actual, name in self.names.items():
            told = told.replace(actual, name)
        told = MADE.sub(self._id, told)
        for pattern, plain in PLAIN.items():
            told = re.sub(pattern, plain, told)
        return told

    def _id(self, found: re.Match[str]) -> str:
        kind = found[1]
        if found[0] not in self.made:
            self.many[kind] += 1
            self.made[found[0]] = f"{kind}_{self.many[kind]}"
        return self.made[found[0]]


async def first_event(service: str, world: World, example: Example) -> httpx.Response:
    """What a stream says first."""
    headers = {"Authorization": world.client.headers["Authorization"]}
    async with (
        httpx.AsyncClient(base_url=service, headers=headers, timeout=10) as client,
        client.stream("GET", world.here(example.path)) as answer,
    ):
        told = ""
        async for part in answer.aiter_text():
            told += part
            if told.endswith("\n\n"):
                break
        return httpx.Response(answer.status_code, headers=answer.headers, text=told)


def shown(answer: httpx.Response) -> Any:
    """The answer as it can be shown: of a long list its end, of a long text its beginning.

    What is measured is shown without figures; of an archive, what is in it.
    """
    if answer.headers["content-type"] == "application/zip":
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            return "\n".join(archive.namelist())
    if answer.headers["content-type"].startswith("application/json"):
        found = answer.json()
        return found | {"data": found["data"][-ROWS:]} if "data" in found else found
    lines = answer.text.splitlines(keepends=True)[:LINES]
    return re.sub(r" [\d.e+-]+$", " 0", "".join(lines), flags=re.MULTILINE)


async def executed(world: World, service: str) -> dict[str, Any]:
    """The whole story: what was asked, and what was answered."""
    told = []
    for example in STORY:
        await example.ready(world)
        if streams(world, example.operation):
            answer = await first_event(service, world, example)
        else:
            headers = {HEADER: example.operation}
            answer = await world.client.send(example.request(world, named=True, headers=headers))
        assert answer.is_success, (example, answer.text)
        found = shown(answer)
        if isinstance(found, dict):
            example.learn(world, found)
        told.append((example, answer.status_code, found))
    stand_ins = StandIns(world)
    return {
        example.operation: {
            "path": asked(example),
            "body": example.body,
            "status": status,
            "answer": stand_ins.of(found),
        }
        for example, status, found in told
    }


def asked(example: Example) -> str:
    """Where it was asked, as one types it."""
    query = urlencode(example.asked, safe="[]:")
    return f"{example.path}?{query}" if query else example.path


async def test_every_operation_has_an_example_which_is_what_happens(
    world: World, service: str
) -> None:
    assert not missing(world), TO_ADD.format(missing(world))
    found = await executed(world, service)
    if WRITE:
        text = json.dumps(found, indent=2, ensure_ascii=False)
        document.EXAMPLES.write_text(text + "\n")
    known = json.loads(document.EXAMPLES.read_text())
    assert found == known, "TAKINGS_WRITE_EXAMPLES=1 writes it anew"


async def test_the_document_shows_the_example_of_every_operation(world: World) -> None:
    examples = json.loads(document.EXAMPLES.read_text())
    for name, (_, _, said) in world.operations().items():
        example = examples[name]
        assert said["x-example"] == example["path"], name
        for content in said["responses"][str(example["status"])]["content"].values():
            assert content["example"] == example["answer"], name
        if example["body"] is not None:
            body = said["requestBody"]["content"]["application/json"]
            assert body["example"] == example["body"], name


def codes(said: document.Operation) -> dict[str, set[str]]:
    """The problems that an operation tells of, by status."""
    return {
        status: set(answer["content"]["application/problem+json"]["examples"])
        for status, answer in said["responses"].items()
        if int(status) >= 400
    }


async def test_every_operation_tells_of_its_problems_and_every_problem_is_somewhere(
    world: World,
) -> None:
    told = set()
    for name, (method, path, said) in world.operations().items():
        found = codes(said)
        assert said["summary"], name
        assert said["security"] == [{"HTTPBearer": []}], name
        assert {"missing_key", "unknown_key", "wrong_mode"} <= found["401"], name
        assert "scope_missing" in found["403"], name
        assert "too_many_requests" in found["429"], name
        assert {"database_away", "too_busy"} <= found["503"], name
        assert "internal" in found["500"], name
        if "{" in path:
            assert "not_found" in found["404"], name
        if method != "GET":
            assert "in_flight" in found["409"], name
            assert "idempotency_key_reused" in found["422"], name
        assert ("idempotency_key_missing" in found["400"]) == said["x-moves-money"], name
        told |= set().union(*found.values())
    assert told <= set(problems.every())


ADDRESS = re.compile(r"""(?:src|href|action|url)\s*[=(]\s*["']?([^"'\s>)]+)""")


def strict(page: httpx.Response) -> None:
    """A page that fetches nothing from anywhere else and runs nothing."""
    assert page.is_success
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'")
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    addresses = ADDRESS.findall(page.text)
    assert addresses
    assert [one for one in addresses if not one.startswith(("/", "#"))] == []
    assert [one for one in addresses if one.startswith("//")] == []
    assert not re.search(r"<script|<style|\sstyle=|\son\w+=|<base|<iframe", page.text)


@pytest.fixture
async def stranger(world: World) -> httpx.AsyncClient:
    """Anyone: the pages are open to all."""
    return calling(world.app)


async def test_every_problem_has_a_page_that_says_what_to_do(stranger: httpx.AsyncClient) -> None:
    async with stranger:
        every = await stranger.get("/problems")
        strict(every)
        for code, kind in problems.every().items():
            page = await stranger.get(f"/problems/{code}")
            strict(page)
            text = plain(page.text)
            assert kind.remedy, f"{code} does not say what to do"
            assert code in text
            assert plain(kind.message) in text
            assert plain(kind.remedy) in text
            assert f"/problems/{code}" in every.text
        nobodys = await stranger.get("/problems/nobodys")
        assert (nobodys.status_code, nobodys.json()["code"]) == (404, "no_such_route")


def plain(text: str) -> str:
    """The words of a text or a page."""
    for entity, sign in (("&#34;", '"'), ("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">")):
        text = text.replace(entity, sign)
    return " ".join(re.sub(r"<[^<>]+>", " ", text.replace("&amp;", "&")).split())


async def test_the_reference_shows_every_operation_strictly(
    world: World, stranger: httpx.AsyncClient
) -> None:
    async with stranger:
        page = await stranger.get("/docs")
        strict(page)
        text = page.text.replace("<wbr>", "")
        for name, (method, path, _) in world.operations().items():
            assert f'id="{name}"' in text, name
            assert f">{method}</span> <code>{path}</code>" in text, name
        assert (await stranger.get("/style.css")).headers["content-type"].startswith("text/css")
