"""The service as its callers meet it: a real server on a real port, and a client with a key."""

import json
import re
import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api import app, errors, keys, serving
from api.runtime import Runtime
from sandbox.control import Sandbox
from tests.acceptance.world import World, inside


@pytest.fixture
async def service(runtime: Runtime) -> AsyncIterator[str]:
    """The address of a running service beside the sandbox."""
    async with serving.listening(runtime, "127.0.0.1", 0) as url:
        yield url


@pytest.fixture
async def key(runtime: Runtime) -> str:
    """An API key of the platform's backend."""
    _, secret = await keys.issue(runtime.database, "tests", now=runtime.now())
    return secret


@pytest.fixture
async def client(runtime: Runtime, service: str, key: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client that holds the key, and finds every problem that it is told in the document."""
    headers = {"Authorization": f"Bearer {key}"}
    document = app.create(runtime).openapi()

    async def check(response: httpx.Response) -> None:
        await documented(document, response)

    hooks = {"request": [name], "response": [check]}
    async with httpx.AsyncClient(
        base_url=service, headers=headers, timeout=30, event_hooks=hooks
    ) as found:
        yield found


async def name(request: httpx.Request) -> None:
    """Give an act a key of its own, as every good client does."""
    if request.method not in ("GET", "HEAD"):
        request.headers.setdefault("Idempotency-Key", secrets.token_hex(8))


async def documented(document: dict[str, Any], response: httpx.Response) -> None:
    """Nothing happens unless the answer is one that the document does not tell of."""
    request = response.request
    for template, item in document["paths"].items():
        operation = item.get(request.method.lower(), {})
        path = re.sub(r"{\w+}", "[^/]+", template)
        if "x-scopes" not in operation or not re.fullmatch(path, request.url.path):
            continue
        told = operation["responses"].get(str(response.status_code))
        assert told, f"{operation['operationId']} does not tell of {response.status_code}"
        if response.headers.get("content-type") == errors.MEDIA_TYPE:
            code = json.loads(await response.aread())["code"]
            known = told["content"][errors.MEDIA_TYPE]["examples"]
            assert code in known, f"{operation['operationId']} does not tell of {code}"


@pytest.fixture
async def room(client: httpx.AsyncClient) -> str:
    """A live Space, made over HTTP, that Ada and Bob share 60/40."""
    for name in ("ada", "bob"):
        await client.post("/v1/hosts", json={"id": f"host_{name}", "name": name.title()})
    shares = [{"host": "host_ada", "weight": 6000}, {"host": "host_bob", "weight": 4000}]
    space = {"id": "spc_one", "host": "host_ada", "title": "A room", "shares": shares}
    assert (await client.post("/v1/spaces", json=space)).is_success
    bob = {"host": "host_bob"}
    assert (await client.post("/v1/spaces/spc_one/agreements/1/sign", json=bob)).is_success
    assert (await client.post("/v1/spaces/spc_one/live")).json()["state"] == "live"
    return "spc_one"


@pytest.fixture
async def world(runtime: Runtime, box: Sandbox) -> AsyncIterator[World]:
    """A service in this process, and what things are called in it."""
    async with inside(runtime, box) as found:
        yield found
