"""What the API shows: lists by page, Spaces through their states, the books as they are."""

import time
from typing import Any

import httpx
import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.database import Database
from takings.ledger import balances
from tests import stories

pytestmark = pytest.mark.usefixtures("room")

HELD = "liabilities:host:host_ada:held"


async def get(client: httpx.AsyncClient, path: str, **asked: Any) -> Any:
    answer = await client.get(path, params=asked)
    assert answer.is_success, answer.text
    return answer.json()


async def every(client: httpx.AsyncClient, path: str, **asked: Any) -> list[str]:
    """All ids of a list, three at a time, each page following the last row of the one before."""
    found: list[str] = []
    while True:
        page = await get(client, path, limit=3, **asked)
        assert (page["object"], page["url"]) == ("list", path)
        found += [row["id"] for row in page["data"]]
        if not page["has_more"]:
            return found
        asked["starting_after"] = found[-1]


async def test_a_list_comes_in_pages_newest_first_without_gaps_or_repeats(
    client: httpx.AsyncClient,
) -> None:
    made = ["host_ada", "host_bob"]
    for n in range(9):
        answer = await client.post("/v1/hosts", json={"name": f"Host {n}"})
        made.append(answer.json()["id"])
    assert await every(client, "/v1/hosts") == made[::-1]
    first = await get(client, "/v1/hosts", limit=11)
    assert (len(first["data"]), first["has_more"]) == (11, False)


async def test_a_page_stays_where_it_is_while_rows_are_added(client: httpx.AsyncClient) -> None:
    before = await get(client, "/v1/hosts", limit=1)
    await client.post("/v1/hosts", json={"name": "Eve"})
    cursor = before["data"][0]["id"]
    after = await get(client, "/v1/hosts", limit=1, starting_after=cursor)
    assert [row["id"] for row in after["data"]] == ["host_ada"]


async def test_a_space_goes_through_its_states_and_not_back(client: httpx.AsyncClient) -> None:
    starts = int(time.time()) + 3600
    body = {"host": "host_bob", "title": "Evening", "starts_at": starts}
    space = (await client.post("/v1/spaces", json=body)).json()
    assert space["id"].startswith("spc_")
    assert (space["state"], space["starts_at"]) == ("scheduled", starts)
    path = f"/v1/spaces/{space['id']}"
    live = (await client.post(f"{path}/live")).json()
    assert (live["state"], live["live_at"] is not None) == ("live", True)
    assert (await client.post(f"{path}/live")).json() == live
    assert (await client.post(f"{path}/end")).json()["state"] == "ended"
    refused = await client.post(f"{path}/cancel")
    assert (refused.status_code, refused.json()["code"]) == (409, "space_cannot_move")
    assert await every(client, "/v1/spaces", state="ended") == [space["id"]]
    assert await every(client, "/v1/spaces", host="host_ada") == ["spc_one"]


async def test_shares_are_agreed_anew_in_versions_that_all_sign(client: httpx.AsyncClient) -> None:
    first = await get(client, "/v1/spaces/spc_one/shares")
    assert (first["version"], [share["weight"] for share in first["shares"]]) == (1, [6000, 4000])
    even = [{"host": "host_ada", "weight": 5000}, {"host": "host_bob", "weight": 5000}]
    for _ in range(2):  # saying it twice changes nothing
        answer = await client.put("/v1/spaces/spc_one/shares", json={"shares": even})
        assert answer.json()["version"] == 2
    assert await get(client, "/v1/spaces/spc_one/shares") == answer.json()
    assert answer.json()["waiting_for"] == ["host_ada", "host_bob"]
    assert (await get(client, "/v1/spaces/spc_one"))["agreement_version"] == 1
    path = "/v1/spaces/spc_one/agreements/2/sign"
    for host in ("host_ada", "host_bob"):
        signed = (await client.post(path, json={"host": host})).json()
    assert (signed["state"], signed["waiting_for"]) == ("in_force", [])
    assert (await get(client, "/v1/spaces/spc_one"))["agreement_version"] == 2
    told = (await get(client, "/v1/spaces/spc_one/agreements"))["data"]
    assert [(one["version"], one["state"]) for one in told] == [(2, "in_force"), (1, "superseded")]
    actors = {signature["actor"] for one in told for signature in one["signatures"]}
    assert actors == {(await get(client, "/v1/acts"))["data"][0]["actor"]}
    bad = await client.put("/v1/spaces/spc_one/shares", json={"shares": even[:1]})
    assert (bad.status_code, bad.json()["code"]) == (422, "shares_do_not_sum")


async def test_a_version_is_signed_by_its_payees_while_it_is_the_newest(
    client: httpx.AsyncClient,
) -> None:
    path = "/v1/spaces/spc_one/agreements"

    async def sign(version: object, host: str) -> tuple[int, str]:
        answer = await client.post(f"{path}/{version}/sign", json={"host": host})
        return answer.status_code, answer.json().get("code", "signed")

    await client.post("/v1/hosts", json={"id": "host_cleo", "name": "Cleo"})
    assert await sign(1, "host_cleo") == (422, "not_a_payee")
    assert await sign(2, "host_bob") == (404, "not_found")
    assert await sign(0, "host_bob") == (422, "invalid_request")
    for weight in (5000, 3000):
        shares = [
            {"host": "host_ada", "weight": weight},
            {"host": "host_cleo", "weight": 10_000 - weight},
        ]
        await client.put("/v1/spaces/spc_one/shares", json={"shares": shares})
    assert await sign(2, "host_cleo") == (409, "agreement_superseded")
    assert await sign(3, "host_cleo") == (200, "signed")
    assert await sign(1, "host_bob") == (200, "signed"), "a repetition is answered"


async def test_an_idempotency_key_makes_the_same_host_and_the_same_space(
    client: httpx.AsyncClient,
) -> None:
    for path, body in (
        ("/v1/hosts", {"name": "Eve"}),
        ("/v1/spaces", {"host": "host_ada", "title": "Again"}),
    ):
        answers = [
            (await client.post(path, json=body, headers={"Idempotency-Key": path})).json()
            for _ in range(2)
        ]
        assert answers[0] == answers[1]
        assert (await client.post(path, json=body)).json()["id"] != answers[0]["id"]


async def test_the_books_are_shown_as_they_are(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    sent = await stories.paid_tip(runtime, box, 500)
    about = {"subject": sent.payment.id, "kind": "earned"}
    [earned] = (await get(client, "/v1/entries", **about))["data"]
    assert earned["postings"][0] == {
        "account": "clearing:charges",
        "amount": 546,
        "currency": "eur",
        "line": None,
    }
    assert sum(posting["amount"] for posting in earned["postings"]) == 0
    assert await get(client, f"/v1/entries/{earned['id']}") == earned

    clearing = await get(client, "/v1/entries", account="clearing:charges")
    assert [entry["kind"] for entry in clearing["data"]] == ["cash", "earned"]
    assert await every(client, "/v1/entries", account=HELD) == [earned["id"]]
    assert await every(client, "/v1/entries", account="assets:bank") == []
    assert await every(client, "/v1/entries", kind="cash") == [clearing["data"][0]["id"]]

    trial = await get(client, "/v1/trial-balance")
    assert trial["totals"] == [{"currency": "eur", "debit": 546, "credit": 546}]
    assert {"account": HELD, "currency": "eur", "debit": 0, "credit": 300} in trial["lines"]


async def test_a_balance_is_now_or_as_of_an_instant_on_either_time(
    runtime: Runtime, box: Sandbox, database: Database, client: httpx.AsyncClient
) -> None:
    before = int(time.time()) - 60
    await stories.paid_tip(runtime, box, 500)
    later = "2100-01-01T00:00:00+01:00"
    asked = {"account": HELD, "currency": "eur"}
    assert (await get(client, "/v1/balances", **asked))["amount"] == -300
    for of in ("happened_at", "posted_at"):
        assert (await get(client, "/v1/balances", **asked, **{of: before}))["amount"] == 0
        assert (await get(client, "/v1/balances", **asked, **{of: later}))["amount"] == -300
    owed = await get(client, "/v1/hosts/host_ada/balance")
    money = (await database.run(balances.of_host, "host_ada"))["eur"]["held"]
    assert owed["balances"][0]["held"] == money.minor == 300


async def test_tips_and_payments_are_found_by_whose_they_are(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    paid = await stories.paid_tip(runtime, box, 500)
    waiting = await stories.tip(runtime, 700)
    ids = [waiting.tip.id, paid.tip.id]
    assert await every(client, "/v1/tips", space="spc_one") == ids
    assert await every(client, "/v1/tips", listener="lis_zoe", space="spc_one") == ids
    assert await every(client, "/v1/tips", listener="nobody") == []
    assert await every(client, "/v1/payments", state="paid") == [paid.payment.id]
    [one] = (await get(client, "/v1/payments", state="open"))["data"]
    assert one == await get(client, f"/v1/payments/{waiting.payment.id}")
    assert one["lines"][0]["shares"] == []
    assert one["payment_intent"] == waiting.payment.intent_id


async def test_an_event_is_shown_with_its_body_and_can_be_handled_again(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    sent = await stories.paid_tip(runtime, box, 500)
    before = await stories.told(runtime.database)
    [event] = (await get(client, "/v1/events", type="payment_intent.succeeded"))["data"]
    whole = await get(client, f"/v1/events/{event['id']}")
    assert whole["payload"]["data"]["object"]["id"] == sent.payment.intent_id
    assert {name: whole[name] for name in event} == event
    again = (await client.post(f"/v1/events/{event['id']}/replay")).json()
    assert again["status"] == "received"
    await stories.hear(runtime, box)
    assert (await get(client, f"/v1/events/{event['id']}"))["status"] == "done"
    assert await stories.told(runtime.database) == before


async def test_policies_are_shown_by_name_and_version(client: httpx.AsyncClient) -> None:
    listed = (await get(client, "/v1/policies"))["data"]
    one = await get(client, "/v1/policies/clubhouse-2021")
    assert one in listed
    assert one == await get(client, "/v1/policies/clubhouse-2021", version=1)
    assert one["rules"]["terms"]["eur"]["minimum"] == 50
