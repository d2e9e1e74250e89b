"""What runs until it is told to stop: the service, its worker, the sandbox."""

import asyncio
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import structlog
import typer

from api import serving
from api import worker as work
from api.cli import loop
from api.runtime import Runtime, secrets
from api.settings import HIGHEST_PORT, Settings, current, variable
from sandbox import __main__ as stand_in
from sandbox.serving import LOOPBACK, ListenError
from takings.errors import Invalid, TakingsError
from takings.payments import stripe
from takings.payouts import platform

log = structlog.get_logger()

PATIENCE_S = 5.0

Host = Annotated[str | None, typer.Option(help="where to listen, else TAKINGS_HOST")]
Port = Annotated[
    int | None,
    typer.Option(min=0, max=HIGHEST_PORT, help="the port, else TAKINGS_PORT; 0: any free one"),
]

SECRETS = {"account": "stripe_webhook_secrets", "connect": "stripe_connect_secrets"}
"""The setting that holds the signing secrets of each webhook endpoint."""


class StripeKeyMissing(Invalid):
    """TAKINGS_STRIPE_API_KEY is empty, and without it no money can be moved.

    Set it to the secret key of your account at Stripe, or to any sk_test_… beside the sandbox.
    """


class SecretMissing(Invalid):
    """{name} holds no signing secret, or an empty one.

    Set it before you start: without it anyone could tell us that they have paid.
    """


@asynccontextmanager
async def _keyed(*endpoints: str) -> AsyncIterator[Runtime]:
    """A runtime that can ask Stripe, and can tell who writes to the webhook endpoints."""
    settings = current()
    if not settings.stripe_api_key.get_secret_value().strip():
        raise StripeKeyMissing
    for endpoint in endpoints:
        signed(settings, endpoint)
    async with loop.running(settings) as runtime:
        await _hosts_money_stays(runtime)
        yield runtime


async def _hosts_money_stays(runtime: Runtime) -> None:
    """Raise PaidOutBySchedule where Stripe says so; if it does not answer soon, we start."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            await platform.check_schedule(runtime.stripe)
    except platform.PaidOutBySchedule:
        raise
    except (TakingsError, TimeoutError) as error:
        log.warning("payout_schedule_not_known", why=str(error))


def signed(settings: Settings, endpoint: str) -> None:
    """Raise SecretMissing, with the name of the setting, where an endpoint has no secret."""
    try:
        secrets(settings, endpoint)
    except stripe.SecretMissing as error:
        raise SecretMissing(name=variable(SECRETS[endpoint])) from error


@asynccontextmanager
async def _serving(host: str | None, port: int | None) -> AsyncIterator[Runtime]:
    """The service, listening for as long as the caller is inside; it says where."""
    async with _keyed(*SECRETS) as runtime:
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
    async with _keyed() as runtime:
        await work.work(runtime, stop)


@loop.awaited
async def sandbox(
    *,
    port: Annotated[int, typer.Option(min=0, max=HIGHEST_PORT, help="0: any free one")] = 12111,
    seed: Annotated[int, typer.Option(help="the same seed, the same ids and faults")] = 0,
    webhook: Annotated[str | None, typer.Option(help="where the platform's events go")] = None,
    secret: Annotated[str, typer.Option(help="signs them")] = "whsec_sandbox",  # noqa: S107
    connect_webhook: Annotated[
        str | None, typer.Option(help="where connected accounts' events go")
    ] = None,
    connect_secret: Annotated[str, typer.Option(help="signs them")] = "whsec_sandbox_connect",  # noqa: S107
) -> None:
    """A stand-in for Stripe: the unchanged SDK talks to it, and it makes trouble on demand."""
    options = Namespace(
        port=port,
        seed=seed,
        webhook=webhook,
        secret=secret,
        connect_webhook=connect_webhook,
        connect_secret=connect_secret,
    )
    try:
        await stand_in.serve(options)
    except ListenError as error:
        raise serving.refused(error, LOOPBACK, port) from error
