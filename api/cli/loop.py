"""How a command runs: an event loop around it, signals that end it cleanly, errors in words."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import ParamSpec

import asyncpg
import typer
from pydantic import ValidationError
from sqlalchemy.exc import ArgumentError, DBAPIError

from api import runtime
from api.cli import output
from api.runtime import Runtime
from api.settings import Settings, current
from takings.database import DatabaseAway, state
from takings.errors import Invalid, TakingsError, Unavailable

P = ParamSpec("P")

FAILED, WRONG, INTERRUPTED = 1, 2, 130
"""Exit codes: what was asked for does not hold, could not be done, was not waited for."""

NO_TABLE = "42P01"

REFUSALS = (DBAPIError, asyncpg.PostgresError, ArgumentError, ValidationError, OSError)
"""What PostgreSQL, the network and the settings raise, when it is none of our errors."""


class BadSettings(Invalid):
    """The setting {name} is wrong: {why}.

    Look at the environment and at .env.
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
        except TakingsError as error:
            output.refuse(error)
            raise typer.Exit(WRONG) from error
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
    """What PostgreSQL, the network or the settings refused, as an error of ours."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return BadSettings(name=".".join(map(str, first["loc"])), why=first["msg"])
    if isinstance(error, ArgumentError):
        return BadSettings(name="database_url", why="it is no address of a PostgreSQL")
    if (getattr(error, "sqlstate", None) or state(error)) == NO_TABLE:
        return NotMigrated()
    if isinstance(error, OSError):
        return DatabaseAway()
    cause = getattr(error, "orig", None) or error
    return NoAccess(why=str(cause.__cause__ or cause).splitlines()[0])


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
    async with runtime.running(chosen, migrated=chosen.database_url is None) as found:
        yield found
