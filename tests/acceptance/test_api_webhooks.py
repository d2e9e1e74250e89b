"""Forged webhooks do nothing: twelve shapes, twelve times 400, no row.

The control: with the verifier skipped, what it refuses gets in.
"""

import time
from collections.abc import Callable
from typing import Any

import httpx
import orjson
import pytest
from pydantic import SecretStr

from api import app, envelope, serving
from api.runtime import Runtime
from api.settings import Settings
from sandbox.control import Sandbox
from takings.database import Database, fetch
from takings.errors import TakingsError
from takings.payments import objects, signatures, stripe
from tests.conftest import CONNECT_SECRET, SECRET

ACCOUNT, CONNECT = "/webhooks/stripe", "/webhooks/stripe/connect"
Shape = tuple[bytes, str | None]


def event(**changed: Any) -> bytes:
    """An event as Stripe would send it: somebody claims to have paid."""
    plain = {
        "id": "evt_forged",
        "object": "event",
        "type": "payment_intent.succeeded",
        "api_version": stripe.API_VERSION,
        "created": int(time.time()),
        "livemode": False,
        "data": {"object": {"id": "pi_1", "object": "payment_intent", "metadata": {}}},
    }
    return orjson.dumps(plain | changed)


def signed(body: bytes, secret: str = SECRET, at: int = 0) -> str:
    return Sandbox.sign(body, secret, int(time.time()) + at)


def thin() -> bytes:
    return orjson.dumps(
        {
            "id": "evt_thin",
            "object": "v2.core.event",
            "type": "v2.core.account.updated",
            "created": "2026-01-01T00:00:00Z",
            "livemode": False,
        }
    )


def tampered() -> Shape:
    body = event()
    return body.replace(b"pi_1", b"pi_2"), signed(body)


def reserialised() -> Shape:
    body = event()
    return orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2), signed(body)


def without_v1() -> Shape:
    body = event()
    return body, signed(body).replace("v1=", "v0=")


def oversize() -> Shape:
    body = event(padding="x" * stripe.BODY_MAX)
    return body, signed(body)


def not_utf8() -> Shape:
    body = event().replace(b"pi_1", b"pi_\xff")
    return body, signed(body.decode("latin-1").encode())


SHAPES: dict[str, Callable[[], Shape]] = {
    "wrong secret": lambda: (event(), signed(event(), "whsec_guess")),
    "tampered byte": tampered,
    "re-serialised": reserialised,
    "no v1": without_v1,
    "old": lambda: (event(), signed(event(), at=-301)),
    "future": lambda: (event(), signed(event(), at=301)),
    "other endpoint's secret": lambda: (event(), signed(event(), CONNECT_SECRET)),
    "test on live": lambda: (event(livemode=True), signed(event(livemode=True))),
    "no signature at all": lambda: (event(), None),
    "a signature that cannot be compared": lambda: (event(), "t=1,v1=\xe9"),
    "an old one behind a new time": lambda: (
        event(),
        f"at={int(time.time())}," + signed(event(), at=-999),
    ),
    "two times": lambda: (event(), f"t={int(time.time())}," + signed(event(), at=-999)),
    "empty body": lambda: (b"", signed(b"")),
    "oversize": oversize,
    "non-UTF-8": not_utf8,
    "thin on the snapshot endpoint": lambda: (thin(), signed(thin())),
}


async def post(url: str, path: str, shape: Shape) -> httpx.Response:
    body, signature = shape
    headers = {} if signature is None else {"Stripe-Signature": signature.encode("latin-1")}
    async with httpx.AsyncClient(base_url=url) as client:
        return await client.post(path, content=body, headers=headers)


async def stored(database: Database) -> list[tuple[str, str]]:
    rows = await database.run(fetch, "SELECT id, endpoint FROM events ORDER BY id")
    return [(row.id, row.endpoint) for row in rows]


async def test_sixteen_forged_webhooks_are_400_and_nothing_is_stored(
    service: str, database: Database
) -> None:
    told = {}
    for name, shape in SHAPES.items():
        answer = await post(service, ACCOUNT, shape())
        told[name] = (answer.status_code, answer.json()["code"])
    assert told == dict.fromkeys(SHAPES, (400, "not_from_stripe")) | {
        "oversize": (400, "body_too_large")
    }
    assert len(told) == 16
    assert await stored(database) == []


BELIEVABLE = ("wrong secret", "tampered byte", "re-serialised", "no v1", "old", "future")


async def test_with_the_verifier_skipped_the_same_webhooks_get_in(
    service: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def believe(body: bytes, *_: Any, thin: bool, **__: Any) -> objects.Notice:
        return objects.notice(orjson.loads(body), body, thin=thin)

    monkeypatch.setattr(signatures, "verify", believe)
    for name in BELIEVABLE:
        assert (await post(service, ACCOUNT, SHAPES[name]())).status_code == 200
    assert await stored(database) == [("evt_forged", "account")]


async def test_a_true_webhook_is_stored_once_however_often_it_comes(
    service: str, database: Database
) -> None:
    body = event(id="evt_true")
    for _ in range(3):
        answer = await post(service, ACCOUNT, (body, signed(body)))
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["request-id"].startswith("req_")
    assert await stored(database) == [("evt_true", "account")]


async def test_an_event_of_stripes_may_be_larger_than_a_body_of_anybody_elses(
    service: str, database: Database
) -> None:
    body = event(id="evt_large", padding="x" * envelope.OURS_MAX)
    assert (await post(service, ACCOUNT, (body, signed(body)))).status_code == 200
    assert await stored(database) == [("evt_large", "account")]


async def test_the_connect_endpoint_takes_thin_notifications_and_has_its_own_secret(
    service: str, database: Database
) -> None:
    assert (await post(service, CONNECT, (thin(), signed(thin())))).status_code == 400
    accepted = await post(service, CONNECT, (thin(), signed(thin(), CONNECT_SECRET)))
    assert accepted.status_code == 200
    assert await stored(database) == [("evt_thin", "connect")]


async def test_while_one_secret_replaces_another_both_are_good(
    runtime: Runtime, database: Database
) -> None:
    both = [SecretStr("whsec_new"), SecretStr(SECRET)]
    settings = runtime.settings.model_copy(update={"stripe_webhook_secrets": both})
    rotating = Runtime(settings, runtime.database, runtime.stripe)
    async with serving.listening(rotating, "127.0.0.1", 0) as url:
        for name, secret in (("evt_a", SECRET), ("evt_b", "whsec_new")):
            body = event(id=name)
            assert (await post(url, ACCOUNT, (body, signed(body, secret)))).status_code == 200
    assert await stored(database) == [("evt_a", "account"), ("evt_b", "account")]


@pytest.mark.parametrize("secrets", [[], [""], ["whsec_good", "  "]])
@pytest.mark.parametrize("endpoint", ["stripe_webhook_secrets", "stripe_connect_secrets"])
def test_an_empty_webhook_secret_stops_the_service_at_its_start(
    runtime: Runtime, endpoint: str, secrets: list[str]
) -> None:
    update = {endpoint: [SecretStr(secret) for secret in secrets]}
    settings: Settings = runtime.settings.model_copy(update=update)
    with pytest.raises(TakingsError) as error:
        app.create(Runtime(settings, runtime.database, runtime.stripe))
    assert error.value.code == "secret_missing"


async def test_a_body_that_grows_without_end_is_refused_on_the_way(
    service: str, database: Database
) -> None:
    async def endless() -> Any:
        for _ in range(stripe.BODY_MAX // 1000 + 10):
            yield b"x" * 1000

    async with httpx.AsyncClient(base_url=service) as client:
        answer = await client.post(ACCOUNT, content=endless())
    assert (answer.status_code, answer.json()["code"]) == (400, "body_too_large")
    assert await stored(database) == []
