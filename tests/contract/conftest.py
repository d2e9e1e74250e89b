"""A sandbox, the unchanged Stripe SDK in front of it, and an endpoint that hears its webhooks."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
import stripe
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import sandbox
from sandbox.serving import Server, loopback
from tests.contract import gate

RECIPIENT = {
    "configuration": {
        "recipient": {"capabilities": {"stripe_balance": {"stripe_transfers": {"requested": True}}}}
    },
    "contact_email": "ada@example.com",
    "dashboard": "express",
    "defaults": {
        "currency": "eur",
        "responsibilities": {"fees_collector": "application", "losses_collector": "application"},
    },
    "display_name": "Ada",
    "identity": {"country": "de"},
    "include": ["configuration.recipient", "requirements"],
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The SDK hands its form to httpx in a way that httpx has deprecated."""
    for item in items:
        if "contract" in item.path.parts:
            item.add_marker(
                pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")
            )


@pytest.fixture
async def box() -> AsyncIterator[sandbox.Sandbox]:
    async with sandbox.running(seed=1) as running:
        yield running
    gate.check(running)


@asynccontextmanager
async def client_of(box: sandbox.Sandbox, **options: Any) -> AsyncIterator[stripe.StripeClient]:
    http = stripe.HTTPXClient(timeout=5)
    yield stripe.StripeClient(
        "sk_test_sandbox", base_addresses={"api": box.url}, http_client=http, **options
    )
    await http.close_async()


@pytest.fixture
async def client(box: sandbox.Sandbox) -> AsyncIterator[stripe.StripeClient]:
    async with client_of(box, max_network_retries=0) as made:
        yield made


@dataclass
class Ear:
    """An endpoint that keeps what it hears and answers as it is told."""

    url: str
    secret: str = "whsec_test"
    heard: list[tuple[bytes, str]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)  # then 200 for ever

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [orjson.loads(payload) for payload, _ in self.heard]

    @property
    def types(self) -> list[str]:
        return [body["type"] for body in self.bodies]

    async def hear(self, request: Request) -> Response:
        self.heard.append((await request.body(), request.headers["stripe-signature"]))
        return Response(status_code=self.answers.pop(0) if self.answers else 200)


@pytest.fixture
async def ear() -> AsyncIterator[Ear]:
    with loopback() as listener:
        made = Ear(f"http://127.0.0.1:{listener.getsockname()[1]}/webhooks")
        app = Starlette(routes=[Route("/webhooks", made.hear, methods=["POST"])])
        server = Server(app)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await server.listening.wait()
        yield made
        server.stop()
        await serving


Pay = Callable[..., Awaitable[stripe.PaymentIntent]]


@pytest.fixture
def pay(client: stripe.StripeClient) -> Pay:
    """A paid intent in one call, its charge expanded."""

    async def paid(
        amount: int = 10_000, currency: str = "eur", method: str = "pm_card_visa", **more: Any
    ) -> stripe.PaymentIntent:
        return await client.v1.payment_intents.create_async(
            {
                "amount": amount,
                "currency": currency,
                "payment_method": method,
                "confirm": True,
                "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
                "expand": ["latest_charge.balance_transaction"],
                **more,
            }
        )

    return paid


@pytest.fixture
async def host(box: sandbox.Sandbox, client: stripe.StripeClient) -> str:
    """A connected account that may be sent money."""
    account = await client.v2.core.accounts.create_async(RECIPIENT)
    box.capability(account.id)
    return account.id
