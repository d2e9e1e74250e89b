"""Bad input is told what is wrong, under a stable code, and writes nothing.

The control: the same requests without their one mistake are taken.
"""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api import app, envelope, errors, keys, serving
from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.database import Database, fetch
from takings.errors import Invalid, Refused, TakingsError, Unavailable
from tests import stories
from tests.conftest import Fresh

PROBLEM = "application/problem+json"
JSON = {"Content-Type": "application/json"}
TIP: dict[str, Any] = {
    "space": "spc_one",
    "listener": "lis_zoe",
    "amount": 500,
    "currency": "eur",
    "surface": "intent",
}
SPACE: dict[str, Any] = {"host": "host_ada", "title": "Another room"}
ADA, BOB = "host_ada", "host_bob"


def shares(*pairs: tuple[str, Any]) -> dict[str, Any]:
    return {"shares": [{"host": host, "weight": weight} for host, weight in pairs]}


def tip(**changed: Any) -> tuple[str, Any]:
    return "/v1/tips", TIP | changed


def space(**changed: Any) -> tuple[str, Any]:
    return "/v1/spaces", SPACE | changed


BAD: Mapping[str, tuple[tuple[str, Any], int, str, str | None]] = {
    # what is wrong: (path, body), status, code, param
    "unknown currency": (tip(currency="xxx"), 422, "unknown_currency", "currency"),
    "capital currency": (tip(currency="EUR"), 422, "unknown_currency", "currency"),
    "not offered": (tip(currency="isk"), 403, "currency_not_offered", "currency"),
    "negative": (tip(amount=-500), 422, "below_minimum", "amount"),
    "nothing": (tip(amount=0), 422, "below_minimum", "amount"),
    "too small": (tip(amount=49), 422, "below_minimum", "amount"),
    "too large": (tip(amount=50_001), 422, "above_maximum", "amount"),
    "beyond a bigint": (tip(amount=2**63), 422, "amount_too_large", "amount"),
    "a fraction": (tip(amount=5.5), 422, "invalid_request", "amount"),
    "a float": (tip(amount=500.0), 422, "invalid_request", "amount"),
    "text for a number": (tip(amount="500"), 422, "invalid_request", "amount"),
    "true for a number": (tip(amount=True), 422, "invalid_request", "amount"),
    "unknown Space": (tip(space="spc_none"), 404, "not_found", None),
    "unknown surface": (tip(surface="cash"), 422, "invalid_request", "surface"),
    "surface needs": (tip(surface="checkout"), 422, "surface_needs", "surface"),
    "no web address": (tip(success_url="javascript:1"), 422, "invalid_request", "success_url"),
    "long message": (tip(message="x" * 501), 422, "message_too_long", "message"),
    "NUL": (tip(message="a\0b"), 422, "invalid_request", "message"),
    "half a character": (tip(message="\ud800"), 422, "invalid_request", "message"),
    "bad id": (tip(id="tip:1"), 422, "bad_id", "id"),
    "extra field": (tip(settled_at=1), 422, "invalid_request", "settled_at"),
    "extra field with a slash": (tip(**{"a/b": 1}), 422, "invalid_request", "a/b"),
    "half a field": (tip(**{"\ud800": 1}), 422, "invalid_request", None),
    "missing field": (("/v1/tips", {"amount": 500}), 422, "invalid_request", "space"),
    "a list for an object": (("/v1/tips", []), 422, "invalid_request", None),
    "unknown host": (space(host="host_none"), 404, "not_found", None),
    "unknown policy": (space(policy="none"), 404, "not_found", None),
    "shares of 9999": (
        space(**shares((ADA, 6000), (BOB, 3999))),
        422,
        "shares_do_not_sum",
        "shares",
    ),
    "a negative share": (
        space(**shares((ADA, 10_001), (BOB, -1))),
        422,
        "share_too_small",
        "shares",
    ),
    "a payee twice": (space(**shares((ADA, 5000), (ADA, 5000))), 422, "payee_twice", "shares"),
    "a stranger's share": (
        space(**shares((ADA, 5000), ("host_none", 5000))),
        404,
        "not_found",
        None,
    ),
    "nobody's share": (space(shares=[]), 422, "invalid_request", "shares"),
    "half a share": (space(**shares((ADA, 0.5))), 422, "invalid_request", "shares"),
    "another Ada": (("/v1/hosts", {"id": ADA, "name": "Eve"}), 409, "host_differs", "id"),
    "nameless": (("/v1/hosts", {"name": ""}), 422, "invalid_request", "name"),
    "not live any more": (("/v1/spaces/spc_two/end", None), 409, "space_cannot_move", None),
    "a tip before it is live": (tip(space="spc_two"), 403, "space_not_live", "space"),
    "a refund of nothing known": (("/v1/payments/pay_none/refunds", {}), 404, "not_found", None),
    "half a sum": (
        ("/v1/payments/pay_none/refunds", {"amount": 1}),
        422,
        "invalid_request",
        None,
    ),
    "an event that never was": (("/v1/events/evt_none/replay", None), 404, "not_found", None),
}


@pytest.mark.usefixtures("room")
async def test_bad_input_is_a_clear_problem_and_nothing_is_written(
    database: Database, box: Sandbox, client: httpx.AsyncClient
) -> None:
    await client.post("/v1/spaces", json=SPACE | {"id": "spc_two"})
    before = await rows(database)
    told = {}
    for what, ((path, body), *_) in BAD.items():
        content = None if body is None else json.dumps(body)  # as a careless client writes it
        answer = await client.post(path, content=content, headers=JSON)
        told[what] = (answer.status_code, answer.json()["code"], answer.json().get("param"))
        checked(answer)
    assert told == {what: tuple(expected) for what, (_, *expected) in BAD.items()}
    assert await rows(database) == before
    assert box.requests == []


@pytest.mark.usefixtures("room")
async def test_the_same_requests_without_their_mistake_are_taken(
    database: Database, client: httpx.AsyncClient
) -> None:
    before = await rows(database)
    good = [tip(), space(**shares((ADA, 6000), (BOB, 4000))), ("/v1/hosts", {"name": "Eve"})]
    for path, body in good:
        assert (await client.post(path, json=body)).is_success
    assert await rows(database) != before


QUESTIONS: Mapping[str, tuple[int, str]] = {
    "/v1/hosts/host_none": (404, "not_found"),
    "/v1/hosts/host_none/balance": (404, "not_found"),
    "/v1/hosts/%00": (422, "invalid_request"),
    "/v1/hosts?limit=0": (422, "invalid_request"),
    "/v1/hosts?limit=101": (422, "invalid_request"),
    "/v1/hosts?limit=ten": (422, "invalid_request"),
    "/v1/hosts?colour=red": (422, "invalid_request"),
    "/v1/hosts?starting_after=host_none": (404, "not_found"),
    "/v1/tips/tip_none": (404, "not_found"),
    "/v1/spaces/spc_none/shares": (404, "not_found"),
    "/v1/payments/pay_none": (404, "not_found"),
    "/v1/payments?state=lost": (422, "invalid_request"),
    "/v1/refunds/ref_none": (404, "not_found"),
    "/v1/entries/je_none": (404, "not_found"),
    "/v1/entries?starting_after=je_none": (404, "not_found"),
    "/v1/events/evt_none": (404, "not_found"),
    "/v1/policies/none": (404, "not_found"),
    "/v1/policies/clubhouse-2021?version=99": (404, "not_found"),
    "/v1/policies/clubhouse-2021?version=99999": (422, "invalid_request"),
    "/v1/balances?account=assets:bank": (422, "invalid_request"),
    "/v1/balances?account=assets:bank&currency=xxx": (422, "unknown_currency"),
    "/v1/balances?account=a&currency=eur&happened_at=noon": (422, "invalid_request"),
    "/v1/balances?account=a&currency=eur&happened_at=1&posted_at=1": (422, "invalid_request"),
    "/v1/nothing": (404, "no_such_route"),
    "/nothing": (404, "no_such_route"),
}


async def test_bad_questions_are_clear_problems(client: httpx.AsyncClient) -> None:
    told = {}
    for question in QUESTIONS:
        answer = await client.get(question)
        told[question] = (answer.status_code, answer.json()["code"])
        checked(answer)
    assert told == QUESTIONS


UNREADABLE: Mapping[bytes, tuple[int, str]] = {
    b"{": (400, "malformed_json"),
    b"{'a': 1}": (400, "malformed_json"),
    b'{"amount": NaN': (400, "malformed_json"),
    b"\xff": (400, "malformed_request"),
    b"[" * 100_000: (400, "malformed_request"),
    b"9" * 10_000: (400, "malformed_request"),
    b"": (422, "invalid_request"),
}


async def test_what_cannot_be_read_is_400_and_a_missing_body_is_said_so(
    client: httpx.AsyncClient,
) -> None:
    for body, expected in UNREADABLE.items():
        answer = await client.post("/v1/tips", content=body, headers=JSON)
        assert (answer.status_code, answer.json()["code"]) == expected, body[:20]
        checked(answer)


async def test_a_fault_is_pointed_at_and_what_was_sent_is_not_repeated(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.post("/v1/tips", json=TIP | {"amount": "sk_live_secret", "a/b": 1})
    pointers = {fault["pointer"] for fault in answer.json()["errors"]}
    assert pointers == {"#/amount", "#/a~1b"}
    assert "sk_live" not in answer.text
    asked = await client.get("/v1/hosts", params={"limit": 0})
    assert [fault["parameter"] for fault in asked.json()["errors"]] == ["limit"]


async def test_another_method_is_405_and_names_those_that_are_allowed(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.delete("/v1/hosts/host_ada")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET"
    assert (await client.delete("/v1/spaces/spc_one/shares")).headers["allow"] == "GET, PUT"
    checked(answer)


STRANGERS: Mapping[str | None, str] = {
    None: "missing_key",
    "Basic dGs6": "missing_key",
    "Bearer": "missing_key",
    "Bearer tk_test_guess": "unknown_key",
    "Bearer \u00e9": "unknown_key",
}


async def test_without_a_good_key_nothing_is_said_but_401(service: str) -> None:
    async with httpx.AsyncClient(base_url=service) as stranger:
        for header, code in STRANGERS.items():
            headers = {} if header is None else {"Authorization": header.encode()}
            for method, path in (("GET", "/v1/hosts"), ("POST", "/v1/tips"), ("GET", "/v1/tips/x")):
                body = json.dumps(TIP) if method == "POST" else None
                answer = await stranger.request(method, path, headers=headers, content=body)
                assert (answer.status_code, answer.json()["code"]) == (401, code)
                assert answer.headers["www-authenticate"] == "Bearer"
                checked(answer)


async def test_a_key_is_shown_once_and_stored_as_its_hash(runtime: Runtime) -> None:
    key, secret = await keys.issue(runtime.database, "backend", now=runtime.now())
    assert secret.startswith("tk_test_")
    assert (await keys.issue(runtime.database, "live", live=True, now=runtime.now()))[1].startswith(
        "tk_live_"
    )
    stored = await runtime.database.run(fetch, "SELECT * FROM api_keys WHERE id = $1", key.id)
    assert secret not in str(stored)
    assert key.hint.endswith(secret[-4:])
    assert {found.name for found in await runtime.database.run(keys.all)} == {"backend", "live"}


async def test_every_answer_carries_its_own_request_id(client: httpx.AsyncClient) -> None:
    paths = ("/healthz", "/v1/hosts", "/nothing", "/v1/hosts/none")
    names = [(await client.get(path)).headers["request-id"] for path in paths]
    assert len(set(names)) == len(paths)
    assert all(name.startswith("req_") for name in names)


async def test_a_large_body_is_refused_before_it_is_read(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/tips", content=b"x" * (envelope.OURS_MAX + 1))
    assert (answer.status_code, answer.json()["code"]) == (400, "body_too_large")

    fits = await client.post("/v1/tips", content=b"x" * envelope.OURS_MAX)
    assert fits.json()["code"] != "body_too_large"

    async def growing() -> Any:
        for _ in range(envelope.OURS_MAX // 10_000 + 2):
            yield b"x" * 10_000

    answer = await client.post("/v1/tips", content=growing())
    assert (answer.status_code, answer.json()["code"]) == (400, "body_too_large")


async def test_what_nobody_foresaw_is_500_and_leaks_nothing(
    runtime: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(_: Request) -> Response:
        raise RuntimeError("the password is hunter2")

    made = app.create(runtime)
    made.router.routes.insert(0, Route("/broken", broken))
    transport = httpx.ASGITransport(made)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/broken")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "hunter2" not in answer.text
    checked(answer)
    assert answer.headers["request-id"] in capsys.readouterr().out


async def test_health_says_alive_and_readiness_says_able(fresh: Fresh, service: str) -> None:
    async with httpx.AsyncClient(base_url=service) as anyone:
        assert (await anyone.get("/healthz")).json() == {"status": "ok"}
        assert (await anyone.get("/readyz")).json() == {"status": "ok"}
        async with Database(fresh.owner, connections=1) as owner:
            await owner.run(fetch, "UPDATE alembic_version SET version_num = '0001'")
        answer = await anyone.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
        assert "0001" in answer.json()["detail"]
        assert answer.headers["retry-after"] == "1"
        assert (await anyone.get("/healthz")).is_success


async def test_while_the_database_is_away_the_answer_is_503(runtime: Runtime, key: str) -> None:
    nowhere = runtime.database.engine.url.set(port=1).render_as_string(hide_password=False)
    async with Database(nowhere, connections=1) as away:
        alone = Runtime(runtime.settings, away, runtime.stripe)
        async with serving.listening(alone, "127.0.0.1", 0) as url:
            headers = {"Authorization": f"Bearer {key}"}
            async with httpx.AsyncClient(base_url=url, headers=headers) as client:
                for path in ("/v1/hosts", "/readyz"):
                    answer = await client.get(path)
                    assert (answer.status_code, answer.json()["retryable"]) == (503, True)
                    checked(answer)
                assert (await client.get("/healthz")).is_success


async def test_a_stopping_service_finishes_what_is_in_flight(
    runtime: Runtime, box: Sandbox, key: str
) -> None:
    await stories.room(runtime.database, runtime.now())
    box.faults.call("latency", "/v1/payment_intents", latency=0.5)
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "one"}
    async with httpx.AsyncClient(headers=headers) as client:
        async with serving.listening(runtime, "127.0.0.1", 0) as url:
            sending = asyncio.create_task(client.post(f"{url}/v1/tips", json=TIP))
            while not await runtime.database.run(fetch, "SELECT key FROM asks"):
                await asyncio.sleep(0.01)
            assert not sending.done()
        assert (await sending).json()["state"] == "pending"
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{url}/healthz")


def leaves(kind: type[TakingsError]) -> Iterator[type[TakingsError]]:
    """Every error under this one that belongs to the service."""
    for below in kind.__subclasses__():
        if below.__module__.startswith(("takings", "tipping", "ticketing", "api.")):
            yield below
            yield from leaves(below)


def test_every_error_has_a_code_of_its_own_and_a_status() -> None:
    found = list(leaves(TakingsError))
    codes = [error.code for error in found if not error.__module__.startswith("api.cli")]
    assert len(codes) == len(set(codes)) > 50
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", code) for code in codes)
    told = {error: errors.status_of(error) for error in found}
    assert {told[error] for error in found if issubclass(error, Invalid)} == {400, 415, 422}
    assert {told[error] for error in found if issubclass(error, Refused)} == {401, 402, 403}
    assert {told[error] for error in found if issubclass(error, Unavailable)} == {409, 429, 503}


async def test_a_port_that_is_taken_is_said_so(runtime: Runtime, service: str) -> None:
    port = int(service.rpartition(":")[2])
    with pytest.raises(serving.PortTaken, match=str(port)):
        async with serving.listening(runtime, "127.0.0.1", port):
            pass


def checked(answer: httpx.Response) -> None:
    """The answer is a problem, as RFC 9457 and our conventions want it."""
    assert answer.headers["content-type"] == PROBLEM
    told = answer.json()
    assert told["status"] == answer.status_code
    assert told["type"] == f"/problems/{told['code']}"
    assert told["request_id"] == answer.headers["request-id"]
    assert told["code"].replace("_", "").isalpha()
    assert told["code"].islower()
    assert told["title"]
    assert told["detail"]
    assert told["instance"] == answer.request.url.path
    assert isinstance(told["retryable"], bool)


async def rows(database: Database) -> dict[str, int]:
    """How many rows there are of everything that the API can write."""
    counted = {}
    for table in ("hosts", "spaces", "agreements", "shares", "tips", "payments", "asks", "refunds"):
        found = await database.run(fetch, f"SELECT count(*) AS n FROM {table}")
        counted[table] = found[0].n
    return counted
