"""Payouts over HTTP: asked for by one, approved by another, explained line by line."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from api import app, keys
from api.acts import HEADER
from api.operations import REPLAYED
from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.money import Money
from takings.payments import refunds
from tests import paying, stories
from tests.acceptance.world import calling

ADA = "host_ada"
PLAN = f"/v1/hosts/{ADA}/payout_plan"
ASKED = {"id": "po_1", "host": ADA, "currency": "eur"}


def with_limit(runtime: Runtime, **most: int) -> Runtime:
    """A service where payouts above these wait for another person."""
    return replace(runtime, settings=runtime.settings.model_copy(update={"payout_approval": most}))


async def hand(runtime: Runtime, *scopes: str) -> httpx.AsyncClient:
    """Somebody with a key of their own for these scopes, where all above 5.00 EUR waits."""
    _, secret = await keys.issue(runtime.database, "one", scopes=scopes, now=runtime.now())
    made = app.create(with_limit(runtime, eur=500))
    return calling(made, {"Authorization": f"Bearer {secret}"})


@pytest.fixture
async def finance(runtime: Runtime) -> AsyncIterator[httpx.AsyncClient]:
    """Who asks for payouts."""
    async with await hand(runtime, "finance", "payouts.approve") as found:
        yield found


@pytest.fixture
async def second(runtime: Runtime) -> AsyncIterator[httpx.AsyncClient]:
    """Who approves them."""
    async with await hand(runtime, "payouts.approve") as found:
        yield found


async def post(client: httpx.AsyncClient, path: str, body: Any = None, key: str = "k") -> Any:
    """What a post is answered; the key is one of this path and body."""
    headers = {HEADER: f"{key} {path} {body}"}
    return await client.post(path, json=body, headers=headers)


def code(answer: httpx.Response) -> tuple[int, str]:
    """What is wrong."""
    return answer.status_code, answer.json()["code"]


async def walked(client: httpx.AsyncClient, payout: str, limit: int) -> list[dict[str, Any]]:
    """Every line of a payout, page by page."""
    found: list[dict[str, Any]] = []
    asked: dict[str, Any] = {"limit": limit}
    while True:
        page = (await client.get(f"/v1/payouts/{payout}/lines", params=asked)).json()
        found += page["data"]
        if not page["has_more"]:
            return found
        asked["starting_after"] = page["data"][-1]["id"]


async def test_a_payout_is_explained_by_its_kinds_and_line_by_line(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    policy = await paying.world(runtime, box)
    paid = await paying.evening(runtime, box, 50_050, 30_025, currency="huf", policy=policy)
    account = await paying.payee(runtime, box)
    first = await client.post("/v1/payouts", json=ASKED | {"currency": "huf"})
    assert (first.json()["state"], first.json()["amount"]) == ("sent", 80_000)
    back = Money(20_000, "huf")
    await refunds.refund(
        runtime.database, runtime.stripe, "ref_1", paid[0], back, now=runtime.now()
    )
    await paying.evening(runtime, box, 60_000, currency="huf", policy=policy)
    asked = {"id": "po_2", "host": ADA, "currency": "huf"}
    assert (await client.post("/v1/payouts", json=asked)).json()["amount"] == 40_000

    found = (await client.get("/v1/payouts/po_2", params={"expand[]": "host"})).json()
    assert found["waterfall"] == [
        {"kind": "brought", "amount": 75},
        {"kind": "refund", "amount": -20_000},
        {"kind": "earning", "amount": 60_000},
        {"kind": "carried", "amount": -75},
    ]
    assert sum(part["amount"] for part in found["waterfall"]) == found["amount"]
    assert (found["brought"], found["carried"], found["host"]["id"]) == (75, 75, ADA)
    assert found["destination"] == account
    [transfer] = found["transfers"]
    assert (transfer["amount"], transfer["state"], transfer["reversed"]) == (40_000, "sent", 0)
    assert transfer["stripe_transfer"].startswith("tr_")

    whole = await walked(client, "po_2", 100)
    for limit in (1, 2, 3, 4, 5):
        assert await walked(client, "po_2", limit) == whole
    assert [(line["kind"], line["amount"]) for line in whole] == [
        (part["kind"], part["amount"]) for part in found["waterfall"]
    ]
    refund, earning = whole[1], whole[2]
    assert (refund["source"], refund["payment"], refund["of"]) == ("ref_1", paid[0], "tip")
    assert {earning["currency"], earning["about"][:4], earning["space"][:4]} == {
        *("huf", "tip_", "spc_")
    }
    entry = (await client.get(f"/v1/entries/{earning['entry']}")).json()
    assert entry["kind"] == "released"
    assert await paying.paid(runtime, "po_2") == [(one["kind"], one["amount"]) for one in whole]


async def test_a_cursor_that_is_no_line_of_this_payout_is_refused(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    await paying.evening(runtime, box, 500, 300)
    await paying.payee(runtime, box)
    await client.post("/v1/payouts", json=ASKED)
    await paying.evening(runtime, box, 700)
    await client.post("/v1/payouts", json=ASKED | {"id": "po_2"})
    mine, others = [(await walked(client, name, 9))[0]["id"] for name in ("po_2", "po_1")]
    path = "/v1/payouts/po_2/lines"
    last = await client.get(path, params={"starting_after": mine})
    assert (last.json()["data"], last.json()["has_more"]) == ([], False)
    for wrong in (others, "none", mine.partition(".")[0], f"{mine}9", f"{mine}9999999", "je_1.²"):
        answer = await client.get(path, params={"starting_after": wrong})
        assert code(answer) == (404, "not_found"), wrong
    answer = await client.get(path, params={"ending_before": mine})
    assert code(answer) == (422, "invalid_request")
    assert code(await client.get("/v1/payouts/po_none/lines")) == (404, "not_found")


async def test_above_the_threshold_another_actor_approves_and_a_rotated_key_is_nobody_else(
    runtime: Runtime, box: Sandbox, finance: httpx.AsyncClient, second: httpx.AsyncClient
) -> None:
    await paying.evening(runtime, box, 501)
    await paying.payee(runtime, box)
    waits = (await post(finance, "/v1/payouts", ASKED)).json()
    assert (waits["state"], waits["transfers"], waits["approved_by"]) == ("waiting", [], None)
    approve = "/v1/payouts/po_1/approve"
    assert code(await post(finance, approve)) == (403, "same_person")
    _, rotated = await keys.rotate(runtime.database, waits["requested_by"], now=runtime.now())
    async with calling(app.create(runtime), {"Authorization": f"Bearer {rotated}"}) as again:
        assert code(await post(again, approve)) == (403, "same_person")
    assert code(await post(second, "/v1/payouts", ASKED)) == (403, "scope_missing")
    assert code(await second.post(approve)) == (400, "idempotency_key_missing")
    for key, replayed in (("one", None), ("one", "true"), ("other", None)):
        answer = await post(second, approve, key=key)
        assert (answer.json()["state"], answer.headers.get(REPLAYED)) == ("sent", replayed)
    assert answer.json()["approved_by"] not in {None, waits["requested_by"]}
    assert len(box.calls("POST", "/v1/transfers")) == 1
    assert code(await post(finance, approve, key="late")) == (409, "not_waiting")
    refuse = "/v1/payouts/po_1/refuse"
    assert code(await post(second, refuse, {"why": "late"})) == (409, "not_waiting")
    for path in (approve, refuse):
        missing = path.replace("po_1", "po_none")
        assert code(await post(second, missing, {"why": "none"})) == (404, "not_found")
    await paying.hear(runtime, box)
    assert await stories.guilty(runtime.database) == {}


async def test_what_is_refused_is_the_hosts_again_and_says_why(
    runtime: Runtime, box: Sandbox, finance: httpx.AsyncClient, second: httpx.AsyncClient
) -> None:
    await paying.evening(runtime, box, 900)
    await paying.payee(runtime, box)
    await post(finance, "/v1/payouts", ASKED)
    other = ASKED | {"id": "po_2"}
    assert code(await post(finance, "/v1/payouts", other)) == (409, "payout_under_way")
    waiting = (await finance.get("/v1/payouts", params={"state": "waiting"})).json()["data"]
    assert [one["id"] for one in waiting] == ["po_1"]
    for key in ("one", "two"):
        told = await post(second, "/v1/payouts/po_1/refuse", {"why": "not yet"}, key)
        assert (told.json()["state"], told.json()["error"]) == ("refused", "not yet")
    assert await paying.available(runtime.database) == 900
    assert (await post(finance, "/v1/payouts", other, "anew")).json()["state"] == "waiting"
    for by, names in {
        "host": {"po_2", "po_1"},
        "state": {"po_2"},
        "currency": {"po_2", "po_1"},
        "batch": set(),
    }.items():
        wanted = {"host": ADA, "state": "waiting", "currency": "eur", "batch": "pob_none"}[by]
        page = (await finance.get("/v1/payouts", params={by: wanted})).json()
        assert {one["id"] for one in page["data"]} == names, by


async def test_what_cannot_be_paid_says_why(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    async def asked(**changed: str) -> tuple[int, str]:
        return code(await client.post("/v1/payouts", json=ASKED | changed))

    assert await asked() == (404, "not_found")
    await paying.evening(runtime, box, 500)
    assert await asked() == (403, "host_not_payable")
    await paying.payee(runtime, box)
    assert await asked(currency="usd") == (403, "nothing_to_pay")
    assert await asked(currency="xxx") == (422, "unknown_currency")
    assert await asked(id="po:1") == (422, "bad_id")
    await client.post(f"{PLAN}/pause", json={"why": "a review"})
    assert await asked() == (409, "host_paused")
    await client.post(f"{PLAN}/resume")
    await client.put(PLAN, json={"schedule": "manual", "minimums": {"eur": 501}})
    assert await asked() == (403, "below_payout_minimum")
    await client.put(PLAN, json={"schedule": "manual", "minimums": {"eur": 500}})
    box.faults.call("balance_insufficient", "/v1/transfers$")
    assert await asked() == (402, "stripe_refused")
    refused = (await client.get("/v1/payouts/po_1")).json()
    assert (refused["state"], refused["transfers"][0]["state"]) == ("refused", "refused")
    assert "nsufficient" in refused["error"]
    answer = await client.post("/v1/payouts", json=ASKED | {"id": "po_2"})
    assert answer.json()["state"] == "sent"
    assert await asked(id="po_2", currency="usd") == (409, "payout_differs")


async def test_asking_twice_under_one_key_or_one_id_pays_once(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    await paying.evening(runtime, box, 500)
    await paying.payee(runtime, box)
    bare = httpx.AsyncClient(base_url=client.base_url, headers=client.headers)
    async with bare:
        assert code(await bare.post("/v1/payouts", json=ASKED)) == (400, "idempotency_key_missing")
    body = {"host": ADA, "currency": "eur"}
    box.faults.call("timeout_with_effect", "/v1/transfers$", times=3)
    one, two = [await post(client, "/v1/payouts", body) for _ in range(2)]
    assert (one.json()["state"], one.content, two.headers[REPLAYED]) == (
        *("sending", two.content, "true"),
    )
    name = one.json()["id"]
    again = await post(client, "/v1/payouts", body | {"id": name}, "another")
    assert again.json()["state"] == "sending"
    await stories.hear(runtime, box, now=stories.later(minutes=2))
    assert (await client.get(f"/v1/payouts/{name}")).json()["state"] == "sent"
    assert len(box.state.table("transfer").rows) == 1
    assert await stories.guilty(runtime.database) == {}


async def test_money_that_comes_back_is_counted_on_the_transfer_that_it_came_by(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    [payment] = await paying.evening(runtime, box, 500)
    await paying.payee(runtime, box)
    await client.post("/v1/payouts", json=ASKED)
    back = Money(200, "eur")
    await refunds.refund(
        runtime.database, runtime.stripe, "ref_1", payment, back, now=runtime.now()
    )
    await paying.hear(runtime, box)
    await paying.paying(runtime)
    [transfer] = (await client.get("/v1/payouts/po_1")).json()["transfers"]
    assert (transfer["amount"], transfer["reversed"], transfer["reversing"]) == (500, 200, 0)
