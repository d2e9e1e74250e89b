"""The service as a running server: a task of the caller's event loop, stopped gracefully."""

import asyncio
import errno
import gc
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import structlog
import uvicorn
from fastapi import FastAPI

from api import app
from api.runtime import Runtime
from takings.errors import Conflict, Invalid, TakingsError

log = structlog.get_logger()

GRACE_S = 10
"""How long requests in flight may take to end when the service stops."""

STARTING_S = 0.005


class PortTaken(Conflict):
    """Something else listens on {host}:{port}.

    Stop it, or choose another port with --port; 0 takes any free one.
    """


class UnknownHost(Invalid):
    """Nothing is known of a host {host}.

    Set TAKINGS_HOST or --host to a name or an address of this machine, such as 127.0.0.1.
    """


class CannotListen(Invalid):
    """Nobody can listen on {host}:{port}: {why}.

    Choose another address of this machine with --host, or another port with --port.
    """


class Server(uvicorn.Server):
    """uvicorn, which leaves the process's signals to whoever runs the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing is captured."""
        yield


@asynccontextmanager
async def listening(runtime: Runtime, host: str, port: int) -> AsyncIterator[str]:
    """The service, reachable at the address that is yielded, for as long as the caller is inside.

    Port 0 is any free one.  Afterwards nothing new is accepted, and what is in flight is finished.
    """
    with bound(host, port) as listener:
        service = app.create(runtime)
        server = Server(configured(service))
        gc.collect()
        gc.freeze()  # what is made at the start stays: the collector need not look at it again
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            while not server.started and not task.done():  # noqa: ASYNC110 - it rings no bell
                await asyncio.sleep(STARTING_S)
            name, number = listener.getsockname()[:2]
            yield f"http://{name}:{number}"
        finally:
            server.should_exit = True
            for live in (service.state.feed, service.state.board):
                live.audience.close()  # what never ends by itself is not waited for
            await task


def configured(service: FastAPI) -> uvicorn.Config:
    """How uvicorn serves the service: its own logs are silent, ours carry the requests' names."""
    return uvicorn.Config(
        service,
        access_log=False,
        lifespan="on",
        ws="none",
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )


async def serve(runtime: Runtime, host: str, port: int, stop: asyncio.Event) -> None:
    """Serve until told to stop, then finish what is in flight."""
    async with listening(runtime, host, port) as url:
        log.info("serving", url=url)
        await stop.wait()
    log.info("served")


@contextmanager
def bound(host: str, port: int) -> Iterator[socket.socket]:
    """A socket bound to the address, or why it cannot be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except (socket.gaierror, UnicodeError) as error:
            raise UnknownHost(host=host) from error
        except OSError as error:
            raise refused(error, host, port) from error
        yield listener


def refused(error: OSError, host: str, port: int) -> TakingsError:
    """Why the system does not let us listen, as an error of ours."""
    if error.errno == errno.EADDRINUSE:
        return PortTaken(host=host, port=port)
    return CannotListen(host=host, port=port, why=error.strerror)
