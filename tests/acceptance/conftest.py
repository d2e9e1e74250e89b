"""The service as its callers meet it: a real server on a real port, and a client with a key."""

from collections.abc import AsyncIterator

import httpx
import pytest

from api import keys, serving
from api.runtime import Runtime


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
async def client(service: str, key: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client that holds the key."""
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=service, headers=headers, timeout=30) as found:
        yield found


@pytest.fixture
async def room(client: httpx.AsyncClient) -> str:
    """A live Space, made over HTTP, that Ada and Bob share 60/40."""
    for name in ("ada", "bob"):
        await client.post("/v1/hosts", json={"id": f"host_{name}", "name": name.title()})
    shares = [{"host": "host_ada", "weight": 6000}, {"host": "host_bob", "weight": 4000}]
    space = {"id": "spc_one", "host": "host_ada", "title": "A room", "shares": shares}
    assert (await client.post("/v1/spaces", json=space)).is_success
    assert (await client.post("/v1/spaces/spc_one/live")).json()["state"] == "live"
    return "spc_one"
