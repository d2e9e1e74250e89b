"""The sandbox in a process of its own, with hosts' accounts and money enough to pay them.

``python -m benchmarks.bank COUNT`` says its address on the first line of standard output and the
accounts' ids on the second, and serves until standard input is closed.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson

import sandbox
from sandbox import accounts, intents
from sandbox.calls import Call
from sandbox.control import Sandbox
from sandbox.state import PLATFORM

PLENTY = 99_999_999  # the most that one charge can be
RECIPIENT = {"capabilities": {"stripe_balance": {"stripe_transfers": {"requested": True}}}}


async def main(count: int) -> None:
    """Serve until standard input is closed."""
    async with sandbox.running(seed=os.getpid()) as box:
        made = intents.make(box.state, amount=PLENTY, currency="eur", metadata={})
        box.pay(made["id"], payment_method="pm_card_bypassPending")
        print(box.url, flush=True)
        print(orjson.dumps([account(box) for _ in range(count)]).decode(), flush=True)
        await asyncio.to_thread(sys.stdin.readline)


def account(box: Sandbox) -> str:
    """An account that can be sent money; its id."""
    about = {"contact_email": "host@example.com", "dashboard": "express"}
    params = {"configuration": {"recipient": RECIPIENT}, **about}
    made = accounts.create(Call(state=box.state, account=PLATFORM, params=params))
    box.state.get("account", made["id"])["status"] = "active"
    return str(made["id"])


@asynccontextmanager
async def running(count: int) -> AsyncIterator[tuple[str, list[str]]]:
    """The process, for as long as somebody is paid: its address, and the accounts."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, str(count)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None  # noqa: S101 - both are pipes
    assert stdout is not None  # noqa: S101
    try:
        url = (await stdout.readline()).decode().strip()
        yield url, orjson.loads(await stdout.readline())
    finally:
        stdin.close()
        await process.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
