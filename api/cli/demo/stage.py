"""The stage: PostgreSQL, sandbox, service and worker as in production, in a home of its own."""

import asyncio
import ctypes
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE

import httpx

from api import keys, logs
from api import runtime as runtimes
from api.cli import output
from api.cli.demo.calls import post
from api.cli.doctor import DEMO_HOME, forget
from api.runtime import Addresses, Runtime
from api.settings import environment, sealed
from takings.errors import Unavailable

STRIPE_KEY = "sk_test_demo"
SECRET, CONNECT_SECRET = "whsec_demo", "whsec_demo_connect"
APPROVAL = "usd:20000"
"""Payouts above this wait for the treasurer."""

PATIENCE_S = 5.0
KEPT_S = 2.0
"""How long a connection is kept for the next call: less long than the other side does."""

LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1


class WouldNotStart(Unavailable):
    """{name} would not start: {log}.

    The lines above are the last of its log.
    """


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs, and how one talks to it: as a platform's backend, and as Stripe's payers."""

    home: Path
    where: Addresses
    runtime: Runtime
    url: str
    key: str
    api: httpx.AsyncClient
    treasurer: httpx.AsyncClient
    stripe: httpx.AsyncClient


@asynccontextmanager
async def staged(seed: int) -> AsyncIterator[Stage]:
    """Everything runs; afterwards nothing is left, whatever happened in between."""
    home = _fresh_home()
    try:
        async with AsyncExitStack() as stack:
            logs.configure(stack.enter_context(_log(home, "demo").open("w")))
            with output.console.status("Starting PostgreSQL, sandbox, service and worker …"):
                stage = await _built(stack, home, seed)
            output.console.print("PostgreSQL, sandbox, service and worker run.")
            yield stage
    finally:
        forget(home)


def _fresh_home() -> Path:
    home = Path(tempfile.mkdtemp(prefix=DEMO_HOME))
    home.chmod(0o711)  # PostgreSQL may run as another user, who has to pass through
    return home


async def _built(stack: AsyncExitStack, home: Path, seed: int) -> Stage:
    box = await stack.enter_async_context(
        _process(home, "sandbox", "--port", "0", "--seed", str(seed), env=environment())
    )
    where = await stack.enter_async_context(runtimes.addresses(sealed(home=home)))
    await runtimes.migrate(where)
    clock = home / "clock"
    clock.write_text("0")
    told = {
        "database_url": where.app,
        "owner_url": where.owner,
        "stripe_api_key": STRIPE_KEY,
        "stripe_api_base": await _address(box, home, "sandbox"),
        "stripe_webhook_secrets": SECRET,
        "stripe_connect_secrets": CONNECT_SECRET,
        "payout_approval": APPROVAL,
        "test_clock": str(clock),
    }
    env = environment(home=str(home), **told)
    service = await stack.enter_async_context(_process(home, "serve", "--port", "0", env=env))
    await stack.enter_async_context(_process(home, "worker", env=env))
    settings = sealed(home=home, **told)
    runtime = await stack.enter_async_context(runtimes.running(settings, migrated=False))
    url, now = await _address(service, home, "serve"), runtime.now()
    _, key = await keys.issue(runtime.database, "demo", now=now)
    scopes = ("payouts.read", "payouts.approve")
    _, other = await keys.issue(runtime.database, "the treasurer", scopes=scopes, now=now)
    api = await stack.enter_async_context(_client(url, key))
    treasurer = await stack.enter_async_context(_client(url, other))
    stripe = await stack.enter_async_context(_client(told["stripe_api_base"], STRIPE_KEY))
    await _hook(stripe, f"{url}/webhooks/stripe")
    return Stage(home, where, runtime, url, key, api, treasurer, stripe)


async def _hook(stripe: httpx.AsyncClient, url: str) -> None:
    """Stripe tells us of the platform's own events, of its hosts', and of their accounts."""
    connect = {"url": f"{url}/connect", "secret": CONNECT_SECRET, "connect": True}
    for hook in ({"url": url, "secret": SECRET}, connect, connect | {"thin": True}):
        await post(stripe, "/_sandbox/webhook_endpoints", hook)


def _client(url: str, key: str) -> httpx.AsyncClient:
    bearer = {"Authorization": f"Bearer {key}"}
    return httpx.AsyncClient(
        base_url=url,
        headers=bearer,
        timeout=30,
        trust_env=False,
        limits=httpx.Limits(keepalive_expiry=KEPT_S),
    )


@asynccontextmanager
async def _process(
    home: Path, command: str, *arguments: str, env: dict[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """One of our commands as a process of its own, stopped gently at the end."""
    with _log(home, command).open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "api.cli", command, *arguments),
            cwd=home,  # where no .env of yours is read
            env=env,
            preexec_fn=_end_with_parent,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=log,
            start_new_session=True,  # a Ctrl-C in the terminal is ours to answer, in order
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), PATIENCE_S)
            except TimeoutError:
                process.kill()
                await process.wait()


def _end_with_parent() -> None:
    """Linux ends the process with the one that started it, even if that was killed."""
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _log(home: Path, command: str) -> Path:
    return home / f"{command}.log"


async def _address(process: asyncio.subprocess.Process, home: Path, command: str) -> str:
    """Where it listens, as it says itself."""
    line = await process.stdout.readline() if process.stdout else b""
    if not line:
        log = _log(home, command).read_text(errors="replace").splitlines()
        raise WouldNotStart(name=command, log="\n".join(log[-10:]))
    return line.decode().split()[-1]
