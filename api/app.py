"""The HTTP service: one app around one runtime."""

from fastapi import APIRouter, Depends, FastAPI
from starlette.middleware import Middleware

from api import (
    auth,
    balances,
    entries,
    errors,
    events,
    health,
    hosts,
    payments,
    policies,
    refunds,
    spaces,
    tips,
    webhooks,
)
from api.envelope import Envelope
from api.runtime import Runtime
from api.schemas.problems import Problem

RESOURCES = (hosts, spaces, tips, payments, refunds, balances, entries, events, policies)

PROBLEM = {
    "description": "A problem (RFC 9457)",
    "content": {errors.MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
}


def create(runtime: Runtime) -> FastAPI:
    """The service; raises SecretMissing where a webhook's signing secret is empty."""
    app = FastAPI(
        title="Takings",
        summary="Tips and fair splits for live-audio platforms.",
        version="1",
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: f"{route.tags[0]}.{route.name}",
        middleware=[Middleware(Envelope)],
    )
    app.state.runtime = runtime
    app.router.routes.extend(webhooks.routes(runtime))  # first: they are asked most
    errors.install(app)
    everything = APIRouter(prefix="/v1", dependencies=[Depends(auth.caller)])
    for resource in RESOURCES:
        everything.include_router(resource.router)
    app.include_router(everything, responses={"default": PROBLEM})
    app.include_router(health.router)
    return app
