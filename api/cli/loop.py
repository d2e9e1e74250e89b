"""How a command runs: an event loop around it, signals that end it cleanly, errors in words."""

import asyncio
import errno
import getpass
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from typing import ParamSpec

import asyncpg
import typer
from pydantic import ValidationError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from api import acts, runtime
from api.cli import output
from api.runtime import Addresses, Runtime
from api.settings import Settings, current, variable
from takings import database
from takings.errors import Invalid, TakingsError, Unavailable

P = ParamSpec("P")

FAILED, WRONG, INTERRUPTED = 1, 2, 130
"""Exit codes: what was asked for does not hold, could not be done, was not waited for."""

NO_TABLE = "42P01"

REFUSALS = (
    *(TakingsError, ValidationError, OSError),
    *(DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError),
)
"""What we, the settings, the system, the network and PostgreSQL raise when something is wrong."""

UNREACHABLE = (None, errno.EHOSTUNREACH, errno.ENETUNREACH)  # none: several addresses were tried


class BadSettings(Invalid):
    """The setting {name} is wrong: {why}.

    Look at the environment and at .env.
    """


class DatabaseAway(Unavailable):
    """No PostgreSQL answers at {where}.

    Start it, or put its address right in TAKINGS_DATABASE_URL and TAKINGS_OWNER_URL.
    """


class Unusable(Invalid):
    """{path} cannot be used: {why}.

    Set TAKINGS_HOME to a folder that is yours to write to.
    """


class SystemRefuses(Unavailable):
    """The system refuses: {why}.

    Look for full disks, and for limits of this process.
    """


class NotMigrated(Unavailable):
    """The database has not all the tables that this version needs.

    Run takings db migrate, as the role that owns them (TAKINGS_OWNER_URL).
    """


class NoAccess(Invalid):
    """The database refuses: {why}.

    Check TAKINGS_DATABASE_URL and TAKINGS_OWNER_URL: the roles, their passwords and their rights.
    """


def awaited(command: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """An async command as Typer wants it; errors of ours are told in one line, exit code 2."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            asyncio.run(_cancellable(command(*args, **kwargs)))
        except REFUSALS as error:
            output.refuse(in_our_words(error))
            raise typer.Exit(WRONG) from error
        except (KeyboardInterrupt, asyncio.CancelledError):
            raise typer.Exit(INTERRUPTED) from None

    return run


async def _cancellable(command: Awaitable[None]) -> None:
    """Whatever tells a command to end does so once: what it leaves behind is put away in peace."""
    task, told = asyncio.current_task(), asyncio.Event()

    def end() -> None:
        if task is not None and not told.is_set():
            told.set()
            task.cancel()

    _on_signals(end)
    try:
        await command
    except BaseExceptionGroup as group:  # tasks that failed together: one is enough to tell
        raise group.exceptions[0] from group


def _on_signals(told: Callable[[], None]) -> None:
    """Ctrl-C, SIGTERM and a terminal that is closed are all the same to us."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, told)


def in_our_words(error: Exception) -> TakingsError:
    """What PostgreSQL, the network or the settings refused, as an error that says where."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        why = first["msg"].removeprefix("Value error, ")
        return BadSettings(name=variable(str(first["loc"][0])), why=why)
    if isinstance(error, TakingsError):
        return error
    if (getattr(error, "sqlstate", None) or database.state(error)) == NO_TABLE:
        return NotMigrated()
    if isinstance(error, OSError):
        return _of_the_system(error)
    cause = getattr(error, "orig", None) or error
    return NoAccess(why=str(cause.__cause__ or cause).splitlines()[0])


def _of_the_system(error: OSError) -> TakingsError:
    """Whether it is a file, the way to the database, or something else that fails."""
    if error.filename is not None:
        return Unusable(path=error.filename, why=error.strerror)
    unreached = isinstance(error, ConnectionError | TimeoutError | socket.gaierror)
    if unreached or error.errno in UNREACHABLE:
        return database.DatabaseAway()
    return SystemRefuses(why=error.strerror)


@contextmanager
def naming(settings: Settings) -> Iterator[None]:
    """A database that does not answer inside is said with its address, unless it is our own."""
    try:
        yield
    except (database.DatabaseAway, OSError) as error:
        where = _places(settings)
        if where and isinstance(in_our_words(error), database.DatabaseAway):
            raise DatabaseAway(where=" or ".join(where)) from error
        raise


def _places(settings: Settings) -> list[str]:
    """Where the database should answer, if it is not the embedded one."""
    urls = [settings.database_url, settings.owner_url] if settings.database_url else []
    parts = [make_url(url) for url in urls if url]
    return list(dict.fromkeys(f"{url.host or 'localhost'}:{url.port or 5432}" for url in parts))


def stopping() -> asyncio.Event:
    """An event that Ctrl-C and SIGTERM set; the second one does not wait any more."""
    stop, task = asyncio.Event(), asyncio.current_task()

    def told() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
        stop.set()

    _on_signals(told)
    return stop


@asynccontextmanager
async def running(settings: Settings | None = None) -> AsyncIterator[Runtime]:
    """The runtime of a command.

    The embedded database is brought up to date by whoever comes; another one is migrated by
    ``takings db migrate`` alone, as its owner.
    """
    chosen = settings or current()
    migrated = chosen.database_url is None
    with naming(chosen):
        async with runtime.running(chosen, migrated=migrated) as found:
            yield found


def actor() -> str:
    """Who is at the terminal, as the system says."""
    return f"cli:{getpass.getuser()}"


async def noted(runtime: Runtime, operation: str, target: str) -> None:
    """Write down what was done from here, and by whom."""
    await acts.note(runtime.database, actor(), operation, target, now=runtime.now())


@asynccontextmanager
async def addresses(settings: Settings) -> AsyncIterator[Addresses]:
    """Where the database of a command is."""
    with naming(settings):
        async with runtime.addresses(settings) as found:
            yield found
