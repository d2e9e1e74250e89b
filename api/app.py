"""The HTTP service: one app around one runtime."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware import Middleware

from api import (
    access,
    admissions,
    agreements,
    balances,
    batches,
    calendars,
    codes,
    disputes,
    doors,
    entries,
    errors,
    events,
    feed,
    gauges,
    health,
    history,
    holds,
    hosts,
    keys,
    operations,
    passes,
    payments,
    payouts,
    plans,
    platform_payouts,
    policies,
    presets,
    previews,
    purchases,
    quotas,
    reference,
    refunds,
    runs,
    seals,
    spaces,
    stages,
    tabs,
    tickets,
    tips,
    versions,
    waiting,
    webhooks,
)
from api.desk import Desk
from api.document import App
from api.envelope import Envelope
from api.feed import Feed
from api.operations import Door
from api.quotas import Board
from api.runtime import Runtime

RESOURCES = (
    *(holds, quotas),  # first: they are asked most
    *(hosts, spaces, agreements, stages, presets, tips, tabs, feed, payments, refunds, disputes),
    *(
        runs,
        codes,
        waiting,
        purchases,
        tickets,
    ),
    *(passes, admissions, doors, calendars),
    *(payouts, plans, batches),
    *(balances, platform_payouts, entries, seals, events, policies, previews, history, access),
)


def create(runtime: Runtime) -> FastAPI:
    """The service; raises SecretMissing where a webhook's signing secret is empty."""
    door, live = Door(runtime), Feed(runtime.database)

    @asynccontextmanager
    async def alive(_: FastAPI) -> AsyncIterator[None]:
        rings = {keys.CHANNEL: lambda _: door.keyring.forget(), feed.CHANNEL: live.ring}
        async with runtime.database.listening(rings):
            yield

    app = App(
        title="Takings",
        summary="Tips, ticketed Spaces and fair splits for live-audio platforms.",
        version=versions.NEWEST,
        openapi_url="/v1/openapi.json",
        redirect_slashes=False,  # an address is the one that the document names
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=operations.named,
        middleware=[Middleware(Envelope)],
        lifespan=alive,
    )
    app.state.runtime, app.state.door, app.state.feed = runtime, door, live
    app.state.desk, app.state.board = Desk(runtime.database), Board(runtime)
    app.router.routes.extend(webhooks.routes(runtime))  # first: they are asked most
    errors.install(app)
    for resource in RESOURCES:
        if resource.router.prefix != "/v1":
            raise AssertionError(f"{resource.__name__}: make it with operations.router(tag)")
    for resource in (*RESOURCES, gauges, health, reference):
        app.router.routes.extend(resource.router.routes)
    return app
