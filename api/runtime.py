"""What a running process holds: its settings, its database, its door to Stripe."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from alembic.script import ScriptDirectory
from sqlalchemy.engine import make_url

import migrations
from api.settings import Settings
from takings import books, embedded
from takings.database import Database
from takings.errors import Unavailable
from takings.payments.stripe import SecretMissing, Stripe

HEAD = ScriptDirectory(str(migrations.HERE)).get_current_head()
"""The schema that this code was written for."""


class SchemaDiffers(Unavailable):
    """The schema is at {found}, and this code needs {wanted}.

    Run "takings db migrate".
    """


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the database is, for the role that serves and for the one that migrates."""

    app: str
    owner: str

    @property
    def app_role(self) -> str:
        """The role that serves."""
        return make_url(self.app).username or "takings_app"


@dataclass(frozen=True, slots=True)
class Runtime:
    """The things that every act of a process is given."""

    settings: Settings
    database: Database
    stripe: Stripe
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def now(self) -> datetime:
        """The instant, read here and handed down; a test clock goes ahead of the real one."""
        ahead = self.settings.test_clock
        if ahead is None:
            return self.clock()
        return self.clock() + timedelta(seconds=int(ahead.read_text()))


@asynccontextmanager
async def addresses(settings: Settings) -> AsyncIterator[Addresses]:
    """The database's addresses; the embedded server runs for as long as they are used."""
    async with AsyncExitStack() as stack:
        if settings.database_url is not None:
            yield Addresses(settings.database_url, settings.owner_url or settings.database_url)
            return
        server = await stack.enter_async_context(
            embedded.running(settings.home / "postgres", binaries=settings.postgres_bin)
        )
        await server.create(books.NAME)
        yield Addresses(server.url(books.NAME, "app"), server.url(books.NAME, "owner"))


async def migrate(where: Addresses) -> None:
    """Bring the schema up to date, and make the presets ready to use."""
    await books.prepare(where.owner, where.app_role, now=datetime.now(UTC))


async def same_schema(database: Database) -> None:
    """Raise SchemaDiffers unless the schema is the one that this code was written for."""
    found = "nothing"
    for row in await database.fetch("SELECT to_regclass('alembic_version') AS there"):
        if row.there is not None:
            rows = await database.fetch("SELECT version_num FROM alembic_version")
            found = rows[0].version_num if rows else found
    if found != HEAD:
        raise SchemaDiffers(found=found, wanted=HEAD)


@asynccontextmanager
async def running(settings: Settings, *, migrated: bool = True) -> AsyncIterator[Runtime]:
    """A process's runtime, migrated and refused where a crash could lose money."""
    async with addresses(settings) as where:
        if migrated:
            await migrate(where)
        async with (
            Database(where.app, connections=settings.connections) as database,
            Stripe(
                settings.stripe_api_key.get_secret_value(),
                base=settings.stripe_api_base,
                settles=settings.settlement_currencies,
            ) as door,
        ):
            await database.refuse_unsafe_settings()
            await same_schema(database)
            yield Runtime(settings, database, door)


def secrets(settings: Settings, endpoint: str) -> list[str]:
    """The signing secrets of a webhook endpoint; an empty one stops the service at its start."""
    found = {
        "account": settings.stripe_webhook_secrets,
        "connect": settings.stripe_connect_secrets,
    }[endpoint]
    plain = [secret.get_secret_value() for secret in found]
    if not plain or not all(secret.strip() for secret in plain):
        raise SecretMissing(endpoint=endpoint)
    return plain
