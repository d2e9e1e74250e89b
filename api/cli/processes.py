"""What runs until it is told to stop: the service, its worker, the sandbox."""

from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import typer

from api import serving
from api import worker as work
from api.cli import loop
from api.runtime import Runtime
from sandbox import __main__ as stand_in

Host = Annotated[str | None, typer.Option(help="where to listen, else TAKINGS_HOST")]
Port = Annotated[int | None, typer.Option(help="the port, else TAKINGS_PORT; 0: any free one")]


@asynccontextmanager
async def _serving(host: str | None, port: int | None) -> AsyncIterator[Runtime]:
    """The service, listening for as long as the caller is inside; it says where."""
    async with loop.running() as runtime:
        settings = runtime.settings
        where = (host or settings.host, settings.port if port is None else port)
        async with serving.listening(runtime, *where) as url:
            typer.echo(f"takings listening on {url}")
            yield runtime


@loop.awaited
async def up(*, host: Host = None, port: Port = None) -> None:
    """The service and its worker together, with a database of their own if none is set."""
    stop = loop.stopping()
    async with _serving(host, port) as runtime:
        await work.work(runtime, stop)


@loop.awaited
async def serve(*, host: Host = None, port: Port = None) -> None:
    """The HTTP API and Stripe's webhook endpoints."""
    stop = loop.stopping()
    async with _serving(host, port):
        await stop.wait()


@loop.awaited
async def worker() -> None:
    """What happens in the background: events, sweeps, releases; run as many as you like."""
    stop = loop.stopping()
    async with loop.running() as runtime:
        await work.work(runtime, stop)


@loop.awaited
async def sandbox(
    *,
    port: Annotated[int, typer.Option(help="0: any free one")] = 12111,
    seed: Annotated[int, typer.Option(help="the same seed, the same ids and faults")] = 0,
    webhook: Annotated[str | None, typer.Option(help="where the platform's events go")] = None,
    secret: Annotated[str, typer.Option(help="signs them")] = "whsec_sandbox",  # noqa: S107
    connect_webhook: Annotated[
        str | None, typer.Option(help="where connected accounts' events go")
    ] = None,
    connect_secret: Annotated[str, typer.Option(help="signs them")] = "whsec_sandbox_connect",  # noqa: S107
) -> None:
    """A stand-in for Stripe: the unchanged SDK talks to it, and it makes trouble on demand."""
    await stand_in.serve(
        Namespace(
            port=port,
            seed=seed,
            webhook=webhook,
            secret=secret,
            connect_webhook=connect_webhook,
            connect_secret=connect_secret,
        )
    )
