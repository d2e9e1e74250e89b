"""What every test stands on: a real PostgreSQL, a fresh migrated database, a real sandbox."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from pydantic import SecretStr

import sandbox
from api.runtime import Runtime
from api.settings import Settings
from sandbox.control import Sandbox
from takings import books, embedded
from takings.database import Database
from takings.embedded import Server
from takings.payments.stripe import Stripe
from tests.contract import gate

ROOT = Path(__file__).parent.parent
HOME = ROOT / "build" / "tests" / "postgres"
SECRET = "whsec_tests"
CONNECT_SECRET = "whsec_tests_connect"
PROVE = os.environ.get("TAKINGS_PROVE") == "1"  # the long runs in full, not a seeded part of them


# A traceback with all its local variables takes half a minute to draw.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        ),
    ]
)


@dataclass(frozen=True, slots=True)
class Fresh:
    """The addresses of a fresh migrated database, for each role."""

    app: str
    owner: str
    admin: str


@asynccontextmanager
async def postgres(home: Path) -> AsyncIterator[Server]:
    """An embedded server, shared by all workers; TAKINGS_POSTGRES_BIN picks other binaries."""
    binaries = os.environ.get("TAKINGS_POSTGRES_BIN")
    if binaries:
        home = home.with_name(f"{home.name}-{Path(binaries).parent.name}")
    async with embedded.running(home, binaries=Path(binaries) if binaries else None) as found:
        yield found


@pytest.fixture(scope="session")
async def server() -> AsyncIterator[Server]:
    """The server of nearly all tests."""
    async with postgres(HOME) as found:
        yield found


@pytest.fixture(scope="session")
async def template(server: Server) -> AsyncIterator[str]:
    """A migrated database, one for each process, from which every test's is copied."""
    name = f"template_{os.getpid()}"
    await server.drop(name)
    await server.create(name)
    await books.prepare(server.url(name, "owner"), books.APP, now=datetime.now(UTC))
    yield name
    await server.drop(name)


@pytest.fixture
async def fresh(server: Server, template: str) -> AsyncIterator[Fresh]:
    """A fresh migrated database, gone after the test."""
    name = f"test_{os.getpid()}"
    await server.drop(name)
    await server.create(name, template=template)
    yield Fresh(server.url(name, "app"), server.url(name, "owner"), server.url(name, "admin"))
    await server.drop(name)


@pytest.fixture
async def database(fresh: Fresh) -> AsyncIterator[Database]:
    """The fresh database, as the role that serves."""
    async with Database(fresh.app, connections=20) as found:
        yield found


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    """A running sandbox; what was said to it and by it has to keep Stripe's contract."""
    async with sandbox.running() as found:
        yield found
    gate.check(found)


@pytest.fixture
def settings(fresh: Fresh, box: Sandbox) -> Settings:
    """The settings of a service beside the sandbox."""
    return Settings(
        _env_file=None,
        database_url=fresh.app,
        owner_url=fresh.owner,
        stripe_api_key=SecretStr("sk_test_takings"),
        stripe_api_base=box.url,
        stripe_webhook_secrets=[SecretStr(SECRET)],
        stripe_connect_secrets=[SecretStr(CONNECT_SECRET)],
    )


@pytest.fixture
async def runtime(settings: Settings, database: Database, box: Sandbox) -> AsyncIterator[Runtime]:
    """A process's runtime around the fresh database and the sandbox."""
    async with door(box) as found:
        yield Runtime(settings, database, found)


@asynccontextmanager
async def door(box: Sandbox) -> AsyncIterator[Stripe]:
    """The real SDK, pointed at the sandbox."""
    async with Stripe("sk_test_takings", base=box.url) as found:
        yield found


@pytest.fixture(autouse=True)
def _no_stray_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on the environment of whoever runs it."""
    for name in list(os.environ):
        if name.startswith("TAKINGS_") and name not in ("TAKINGS_POSTGRES_BIN", "TAKINGS_PROVE"):
            monkeypatch.delenv(name)
