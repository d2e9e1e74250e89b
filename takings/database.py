"""The one place that begins, commits, rolls back and tries again.

Everything else either is handed a session (a step) or owns a ``Database`` (an act).
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Self, TypeVar

import stamina
from sqlalchemy.engine import URL, Row, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import listening
from takings.errors import Conflict, Corrupt, Invalid, Refused, TakingsError, Unavailable

Result = TypeVar("Result")


class DatabaseAway(Unavailable):
    """The database does not answer.

    Send the same again in a moment: if it was written after all, it is not written twice.
    """


class BadAddress(Invalid):
    """The address of the database cannot be used: {what}.

    Write it as postgresql://user:password@host:port/database, with ?sslmode=… if need be.
    """


class TooBusy(Unavailable):
    """Every connection to the database is in use.

    Nothing was written. Send the same again in a moment.
    """


class RowsLocked(Unavailable):
    """Others had the same rows locked, at every try.

    Nothing was written. Send the same again in a moment.
    """


class Unstorable(Invalid):
    """The database cannot store what was sent.

    Look for control characters in texts, and for numbers beyond 64 bits.
    """


class LawBroken(Conflict):
    """The database refused it: {law}.

    The law's name says what must hold; nothing was written.
    """


class UnsafeDatabase(Corrupt):
    """The database runs with {setting} = {value}, so that a crash can lose acknowledged money.

    Set {setting} to on, then start again.
    """


class Overdrawn(Refused):
    """A host's money would be spent that is not there.

    Only the available money of a host may become a debt, and only by a refund, a dispute or a fee.
    """


class JournalLaw(Invalid):
    """The journal refused the entry: {law}.

    Entries are whole, sum to zero per currency, and are never changed.
    """


LAWS: Mapping[str, type[TakingsError]] = {
    "postings_overdraw": Overdrawn,
    "postings_balance": JournalLaw,
    "postings_whole": JournalLaw,
    "entries_have_postings": JournalLaw,
    "journal_is_final": JournalLaw,
}
"""Which error of ours a constraint's name becomes."""

TRY_AGAIN = frozenset({"40001", "40P01", "55P03"})  # serialisation, deadlock, lock not available

AWAY = ("57P", "08", "53300")  # shutting down or starting, connection lost, too many connections
DATA = "22"  # a value that its type cannot hold

ANSWERS_OF_THE_DISK = ("fsync", "full_page_writes", "synchronous_commit")


def address(url: str) -> URL:
    """A database's address as our driver takes it, from one as libpq and its kin write it.

    Of the options behind the question mark ``sslmode`` is kept; others are refused, not ignored.
    """
    parsed = make_url(url)
    if not parsed.drivername.startswith("postgres"):
        raise BadAddress(what=f"{parsed.drivername} is no PostgreSQL")
    options = dict(parsed.query)
    ssl = options.pop("sslmode", options.pop("ssl", None))
    if options:
        raise BadAddress(what=f"the option {', '.join(sorted(options))} is not known")
    kept = {"ssl": ssl} if ssl else {}
    return parsed.set(drivername="postgresql+asyncpg", query=kept)


class Database:
    """A pool of connections to one PostgreSQL; the only begin, commit and retry."""

    def __init__(self, url: str, *, connections: int = 10) -> None:
        at = address(url)
        mode = at.query.get("ssl")
        self._plain = at.set(drivername="postgresql", query={"sslmode": mode} if mode else {})
        self.engine: AsyncEngine = create_async_engine(
            at,
            hide_parameters=True,  # they are people's words and amounts, and errors are logged
            pool_size=connections,
            max_overflow=0,
            pool_timeout=5,
            connect_args={
                "server_settings": {
                    "application_name": "takings",
                    "timezone": "UTC",
                    # A plan made while a table was empty must not outlive its emptiness.
                    "plan_cache_mode": "force_custom_plan",
                    "jit": "off",
                    # Nothing waits for ever: not for a lock, not for a client who went away.
                    "lock_timeout": "10s",
                    "idle_in_transaction_session_timeout": "60s",
                },
            },
        )

        self._alone = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.engine.dispose()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """One transaction: all of it is kept, or nothing is."""
        with in_our_words():
            async with (
                AsyncSession(self.engine, expire_on_commit=False) as session,
                session.begin(),
            ):
                yield session

    async def run(self, step: Callable[..., Awaitable[Result]], *args: Any, **named: Any) -> Result:
        """Run a step in a transaction of its own, again if PostgreSQL asks for that."""

        async def once() -> Result:
            async with self.transaction() as session:
                return await step(session, *args, **named)

        return await again(once)

    async def fetch(self, sql: str, *args: Any) -> Sequence[Row[Any]]:
        """Run one of our statements as a transaction of its own: one round trip, not three."""

        async def once() -> Sequence[Row[Any]]:
            with in_our_words():
                async with self._alone.connect() as connection:
                    return await _rows(connection, sql, args)

        return await again(once)

    def listening(
        self, rings: Mapping[str, Callable[[str], None]]
    ) -> AbstractAsyncContextManager[None]:
        """While inside, a channel's ring is called with what every NOTIFY on it says."""
        return listening.to(self._plain.render_as_string(hide_password=False), rings)

    async def refuse_unsafe_settings(self) -> None:
        """Raise UnsafeDatabase where a crash could lose what was acknowledged."""
        async with self.transaction() as session:
            for setting in ANSWERS_OF_THE_DISK:
                rows = await fetch(session, "SELECT current_setting($1) AS value", setting)
                if rows[0].value == "off":
                    raise UnsafeDatabase(setting=setting, value=rows[0].value)


async def fetch(session: AsyncSession, sql: str, *args: Any) -> Sequence[Row[Any]]:
    """Run one of our statements in the session's transaction; its arguments are $1 and so on."""
    return await _rows(await session.connection(), sql, args)


PLANS = "SELECT set_config('plan_cache_mode', $1, true)"


@asynccontextmanager
async def plans_kept(session: AsyncSession) -> AsyncIterator[None]:
    """While inside, plans are kept: for statements that write many rows with foreign keys.

    Our connections plan every statement anew; so they would a foreign key's check, for every row.
    """
    await fetch(session, PLANS, "auto")
    yield
    await fetch(session, PLANS, "force_custom_plan")


async def _rows(connection: AsyncConnection, sql: str, args: tuple[Any, ...]) -> Sequence[Row[Any]]:
    result = await connection.exec_driver_sql(sql, args)
    return result.all() if result.returns_rows else ()


async def again(once: Callable[[], Awaitable[Result]]) -> Result:
    """The result, if need be of a later try."""
    try:
        return await once()  # nearly always; the machinery of waiting is for the rest
    except DBAPIError as error:
        if not must_try_again(error):
            raise
    try:
        async for attempt in stamina.retry_context(on=must_try_again, attempts=8, wait_max=1.0):
            with attempt:
                return await once()
    except DBAPIError as error:
        raise (RowsLocked() if must_try_again(error) else error) from error
    raise AssertionError  # pragma: no cover - stamina returns or raises


@contextmanager
def in_our_words() -> Iterator[None]:
    """Whatever PostgreSQL says inside is said as an error of ours, where we have a word for it."""
    try:
        yield
    except (DBAPIError, PoolTimeout, OSError) as error:
        ours = translated(error)
        if ours is None:
            raise
        raise ours from error


def must_try_again(error: Exception) -> bool:
    """Whether the same transaction may succeed when it is simply run again."""
    return isinstance(error, DBAPIError) and state(error) in TRY_AGAIN


def state(error: BaseException) -> str | None:
    """PostgreSQL's five-letter code of what went wrong."""
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def constraint(error: BaseException) -> str | None:
    """The name of the law that was broken."""
    cause = getattr(error, "orig", None)
    return getattr(getattr(cause, "__cause__", None), "constraint_name", None)


def translated(error: Exception) -> TakingsError | None:
    """The error of ours for one of PostgreSQL's; None where we have no word for it."""
    law, code = constraint(error), state(error) or ""
    if law is not None and law in LAWS:
        return LAWS[law](law=law)
    if isinstance(error, PoolTimeout):
        return TooBusy()
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if lost or code.startswith(AWAY) or isinstance(error, InterfaceError | OSError):
        return DatabaseAway()
    if isinstance(error, IntegrityError):
        return LawBroken(law=law or code)
    return Unstorable() if code.startswith(DATA) else None
