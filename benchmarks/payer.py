"""The sandbox in a process of its own, where listeners pay at once whatever they are told to.

``python -m benchmarks.payer`` says its address on the first line of standard output.  Then every
line of standard input names payments with what they cost, and is answered by the events that tell
of them having succeeded; until standard input is closed.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import orjson

import sandbox
from sandbox import intents
from sandbox.control import Sandbox

LINE_MAX = 2**27

Pay = Callable[[Sequence[tuple[str, int]]], Awaitable[list[bytes]]]
"""Pays payments of ours, each (id, minor), in euro; answers with the bodies of their events."""


async def main() -> None:
    """Serve until standard input is closed."""
    async with sandbox.running(seed=os.getpid()) as box:  # ids that no other one gives
        print(box.url, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            bodies = [body.decode() for body in paid(box, orjson.loads(line))]
            print(orjson.dumps(bodies).decode(), flush=True)


def paid(box: Sandbox, payments: Sequence[tuple[str, int]]) -> list[bytes]:
    """The events of these payments, which have just been paid by card."""
    for payment, minor in payments:
        metadata = {"takings_payment": payment}
        made = intents.make(box.state, amount=minor, currency="eur", metadata=metadata)
        box.pay(made["id"])
    told = box.state.table("event").where("type", "payment_intent.succeeded")
    return [row["body"] for row in told[-len(payments) :]]


@asynccontextmanager
async def running() -> AsyncIterator[tuple[str, Pay]]:
    """The process, for as long as somebody pays: its address, and how to pay."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_MAX,
    )
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None  # noqa: S101 - both are pipes
    assert stdout is not None  # noqa: S101

    async def pay(payments: Sequence[tuple[str, int]]) -> list[bytes]:
        stdin.write(orjson.dumps(payments) + b"\n")
        await stdin.drain()
        return [body.encode() for body in orjson.loads(await stdout.readline())]

    try:
        yield (await stdout.readline()).decode().strip(), pay
    finally:
        stdin.close()
        await process.wait()


if __name__ == "__main__":
    asyncio.run(main())
