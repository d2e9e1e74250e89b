"""The sandbox as a running server: a task of the caller's event loop, stopped cleanly."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import uvicorn

from sandbox.app import build
from sandbox.control import Sandbox
from sandbox.courier import AT_ONCE


class Server(uvicorn.Server):
    """uvicorn, which leaves the process's signals to whoever runs the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing is captured."""
        yield


@asynccontextmanager
async def running(port: int = 0, seed: int = 0, at_once: int = AT_ONCE) -> AsyncIterator[Sandbox]:
    """A sandbox that listens on loopback (port 0: any free one) and delivers its webhooks."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        box = Sandbox(seed, url, at_once)
        config = uvicorn.Config(
            build(box),
            access_log=False,
            lifespan="off",
            log_level="critical",  # a hangup on demand is no error
            timeout_graceful_shutdown=1,
        )
        server = Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        carrying = asyncio.create_task(box.courier.run())
        try:
            while not server.started:
                if serving.done():
                    await serving
                await asyncio.sleep(0.002)
            yield box
        finally:
            carrying.cancel()
            with suppress(asyncio.CancelledError):
                await carrying
            await box.courier.close()
            server.should_exit = True
            await serving
