"""A world: one service with its database and its sandbox, and what things are called in it."""

import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import SecretStr

import sandbox
from api import app, document, keys
from api.document import Operation
from api.runtime import Runtime
from api.settings import sealed
from sandbox.control import Sandbox
from takings.database import Database
from takings.embedded import Server
from tests import conftest, stories

SCHEMA = """
SELECT relname AS name FROM pg_class
 WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace
   AND relname NOT IN ('alembic_version', 'limits')
 ORDER BY relname
"""
"""What there is to be written; what is spent of a limit does not count."""

DIGEST = """
SELECT '{table}' AS name, count(*) AS n, md5(string_agg(t::text, ';' ORDER BY t::text)) AS digest
  FROM {table} t
"""

KINDS = ("event", "v2.core.event")
SUMS = ("accounts", "balances", "day_balances", "cursors", "seals")


@dataclass
class World:
    """One service as its callers meet it; its clock is ours to put forward."""

    runtime: Runtime
    box: Sandbox
    app: FastAPI
    client: httpx.AsyncClient
    names: dict[str, str] = field(default_factory=dict)
    ahead: timedelta = timedelta()

    def operations(self) -> dict[str, tuple[str, str, Operation]]:
        """Every operation behind the door: its method, its path, what the document says of it."""
        return {
            operation["operationId"]: (method.upper(), path, operation)
            for path, method, operation in document.every(self.app.openapi())
            if "x-scopes" in operation
        }

    def here(self, told: Any) -> Any:
        """The same, with every name of the story as it is called in this world."""
        text = json.dumps(told)
        for name, actual in self.names.items():
            text = text.replace(f'"{name}"', f'"{actual}"').replace(f"/{name}", f"/{actual}")
        return json.loads(text)

    async def heard(self) -> None:
        """Stripe's events are stored and handled, and what is due is done."""
        await stories.hear(self.runtime, self.box)

    async def rows(self) -> dict[str, tuple[int, str]]:
        """What is written: of every table how many rows, and a digest of them."""
        tables = await self.runtime.database.fetch(SCHEMA)
        every = " UNION ALL ".join(DIGEST.format(table=row.name) for row in tables)
        return {row.name: (row.n, row.digest) for row in await self.runtime.database.fetch(every)}

    def moved(self) -> list[str]:
        """What has changed at Stripe, by its own events and notifications, oldest first."""
        rows = [row for kind in KINDS for row in self.box._rows(kind)]  # noqa: SLF001
        return [row["type"] for row in sorted(rows, key=lambda row: row["number"])]


def grown(before: Mapping[str, tuple[int, str]], after: Mapping[str, tuple[int, str]]) -> Any:
    """By how many rows each table has grown; sums of other rows and cursors are no effects."""
    many = {name: n - before[name][0] for name, (n, _) in after.items() if name not in SUMS}
    return {name: n for name, n in many.items() if n}


@asynccontextmanager
async def inside(runtime: Runtime, box: Sandbox) -> AsyncIterator[World]:
    """A world in this process: its service is called without a network, and hears no NOTIFY."""
    _, secret = await keys.issue(runtime.database, "tests", now=runtime.now())
    headers = {"Authorization": f"Bearer {secret}"}
    clock = lambda: datetime.now(UTC) + world.ahead  # noqa: E731 - it reads the world's clock
    runtime = replace(runtime, clock=clock)
    made = app.create(runtime)
    async with calling(made, headers) as client:
        world = World(runtime, box, made, client)
        yield world


def calling(made: FastAPI, headers: Mapping[str, str] | None = None) -> httpx.AsyncClient:
    """A client of a service in this process."""
    transport = httpx.ASGITransport(made)
    return httpx.AsyncClient(transport=transport, base_url="http://takings", headers=headers)


@asynccontextmanager
async def elsewhere(server: Server, template: str) -> AsyncIterator[World]:
    """Another world, with a database and a sandbox of its own."""
    name = f"beside_{os.getpid()}"
    await server.drop(name)
    await server.create(name, template=template)
    url = server.url(name, "app")
    secret = SecretStr("whsec_tests")
    async with sandbox.running() as box, Database(url) as database, conftest.door(box) as stripe:
        settings = sealed(stripe_webhook_secrets=[secret], stripe_connect_secrets=[secret])
        async with inside(Runtime(settings, database, stripe), box) as world:
            yield world
    await server.drop(name)
