"""The sandbox as a running server: a task of the caller's event loop, stopped cleanly."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import uvicorn
from starlette.types import ASGIApp

from sandbox.app import build
from sandbox.control import Sandbox
from sandbox.courier import AT_ONCE

LOOPBACK = "127.0.0.1"


class ListenError(OSError):
    """The system does not let the sandbox have its port."""


class Server(uvicorn.Server):
    """uvicorn without its second a tick: it says when it listens, and stops when it is told."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                access_log=False,
                date_header=False,
                lifespan="off",
                log_level="critical",  # a hangup on demand is no error
                timeout_graceful_shutdown=1,
            )
        )
        self.listening = asyncio.Event()
        self._stopping = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are left to whoever runs the process."""
        yield

    async def main_loop(self) -> None:
        """Listen until stopped."""
        self.listening.set()
        await self._stopping.wait()

    def stop(self) -> None:
        """No new connection; those that wait are closed."""
        self._stopping.set()


def loopback(port: int = 0) -> socket.socket:
    """A socket bound to loopback; port 0 is any free one."""
    # Named TCP, or asyncio leaves Nagle's algorithm on and every answer waits 40 ms.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((LOOPBACK, port))
    except OSError as error:
        bound.close()
        raise ListenError(error.errno, error.strerror) from error
    return bound


@asynccontextmanager
async def running(port: int = 0, seed: int = 0, at_once: int = AT_ONCE) -> AsyncIterator[Sandbox]:
    """A sandbox that listens on loopback (port 0: any free one) and delivers its webhooks."""
    with loopback(port) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        box = Sandbox(seed, url, at_once)
        server = Server(build(box))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        carrying = asyncio.create_task(box.courier.run())
        try:
            await server.listening.wait()
            yield box
        finally:
            carrying.cancel()
            with suppress(asyncio.CancelledError):
                await carrying
            await box.courier.close()
            server.stop()
            await serving
