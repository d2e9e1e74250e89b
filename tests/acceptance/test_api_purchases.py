"""Purchases over HTTP: where to pay, what became of it, whose they are; and comps."""

from typing import Any

import httpx
import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from tests import box_office, stories
from ticketing.wishes import TierWish

TIERS = (
    TierWish("Seat", "fixed", 1000, "tier_seat"),
    TierWish("As you like", "choice", 500, "tier_choice"),
    TierWish("Guests", "comp", 0, "tier_guests"),
)
PAGES = {"success_url": "https://example.com/done", "cancel_url": "https://example.com/back"}


@pytest.fixture
async def run(runtime: Runtime) -> str:
    """A run of ten tickets."""
    return await box_office.run(runtime.database, runtime.now(), tiers=TIERS)


async def hold(client: httpx.AsyncClient, name: str = "zoe", **named: Any) -> str:
    body = {"id": f"hold_{name}", "run": "run_one", "listener": f"lis_{name}", **named}
    answer = await client.post("/v1/holds", json=body)
    assert answer.is_success, answer.text
    return f"hold_{name}"


async def buy(client: httpx.AsyncClient, name: str = "zoe", **named: Any) -> httpx.Response:
    body = {"id": f"pur_{name}", "hold": f"hold_{name}", "listener": f"lis_{name}", **named}
    return await client.post("/v1/purchases", json=body)


async def test_a_purchase_says_where_to_pay_and_then_which_tickets_there_are(
    client: httpx.AsyncClient, run: str, runtime: Runtime, box: Sandbox
) -> None:
    await hold(client, quantity=2)
    opened = (await buy(client, holders=["Zoe", "Yan"], **PAGES)).json()
    assert opened["object"] == "purchase"
    assert (opened["state"], opened["run"], opened["charged"]) == ("open", run, 2091)
    assert opened["url"].startswith(box.url)
    assert opened["client_secret"] is None
    assert [one["number"] for one in opened["tickets"]] == [None, None]
    assert "secret" not in str(opened["tickets"])
    payment = (await client.get(f"/v1/payments/{opened['payment']}")).json()
    assert [line["kind"] for line in payment["lines"]] == ["ticket", "ticket"]
    box.pay(checkout_session=opened["url"].rpartition("/")[2])
    await stories.hear(runtime, box)
    asked = {"expand[]": "payment"}
    shown = (await client.get("/v1/purchases/pur_zoe", params=asked)).json()
    assert (shown["state"], shown["url"], shown["payment"]["state"]) == ("settled", None, "paid")
    told = [(one["number"], one["holder"], one["state"]) for one in shown["tickets"]]
    assert told == [(1, "Zoe", "valid"), (2, "Yan", "valid")]


async def test_purchases_are_listed_by_run_and_by_listener(
    client: httpx.AsyncClient, run: str
) -> None:
    for name in ("zoe", "ann", "bea"):
        await hold(client, name)
        assert (await buy(client, name, surface="intent")).is_success
    guests = {"tier": "tier_guests", "listener": "lis_zoe", "id": "pur_guest"}
    assert (await client.post(f"/v1/runs/{run}/comps", json=guests)).is_success
    every = (await client.get("/v1/purchases", params={"run": run})).json()
    assert [one["id"] for one in every["data"]] == ["pur_guest", "pur_bea", "pur_ann", "pur_zoe"]
    asked = {"listener": "lis_zoe", "expand[]": "data.payment"}
    mine = (await client.get("/v1/purchases", params=asked)).json()["data"]
    assert [one["id"] for one in mine] == ["pur_guest", "pur_zoe"]
    assert (mine[0]["payment"], mine[1]["payment"]["object"]) == (None, "payment")
    none = (await client.get("/v1/purchases", params={"run": "run_none"})).json()
    assert none["data"] == []


@pytest.mark.parametrize(
    ("named", "status", "code"),
    [
        ({"hold": "hold_none"}, 404, "not_found"),
        ({"listener": "lis_mallory"}, 403, "not_your_hold"),
        ({"amount": 1}, 409, "price_differs"),
        ({"amount": -1}, 409, "price_differs"),
        ({"holders": ["Zoe", "Yan"]}, 422, "holders_do_not_match"),
        ({"surface": "checkout"}, 422, "surface_needs"),
        ({"surface": "cash"}, 422, "invalid_request"),
        ({"amount": 5.5}, 422, "invalid_request"),
    ],
)
async def test_each_wrong_purchase_has_its_code(
    client: httpx.AsyncClient, run: str, named: dict[str, Any], status: int, code: str
) -> None:
    assert run
    await hold(client)
    answer = await buy(client, **{"surface": "intent", **named})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (await buy(client, surface="intent")).is_success  # nothing was lost


@pytest.mark.parametrize("amount", [0, -1, 499, 2**70])
async def test_less_than_the_floor_or_more_than_there_is_is_not_taken(
    client: httpx.AsyncClient, run: str, amount: int
) -> None:
    assert run
    await hold(client, tier="tier_choice")
    answer = await buy(client, surface="intent", amount=amount)
    code = "amount_too_large" if amount > 0 and amount > 10**6 else "below_minimum"
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_a_declined_card_is_said_and_the_hold_can_be_bought_with_another(
    client: httpx.AsyncClient, run: str, box: Sandbox
) -> None:
    assert run
    await hold(client)
    customer = box.state.add("customer", email=None, name=None, metadata={})["id"]
    saved = {"surface": "saved", "customer": customer}
    declined = await buy(client, **saved, payment_method="pm_card_visa_chargeDeclined")
    assert (declined.status_code, declined.json()["code"]) == (402, "card_declined")
    shown = (await client.get("/v1/purchases/pur_zoe")).json()
    assert (shown["state"], shown["url"], shown["client_secret"]) == ("cancelled", None, None)
    again = (await buy(client, id="pur_two", **saved, payment_method="pm_card_visa")).json()
    assert (again["state"], again["tickets"][0]["number"]) == ("settled", 1)


async def test_comps_are_given_over_http(client: httpx.AsyncClient, run: str) -> None:
    guests = {"tier": "tier_guests", "listener": "lis_ann", "quantity": 2}
    given = (await client.post(f"/v1/runs/{run}/comps", json=guests)).json()
    assert (given["state"], given["charged"], given["payment"]) == ("settled", 0, None)
    assert [one["number"] for one in given["tickets"]] == [1, 2]
    for wrong, status, code in (
        ({"tier": "tier_seat"}, 403, "not_a_comp"),
        ({"quantity": 0}, 422, "quantity_out_of_range"),
        ({"quantity": 9}, 409, "sold_out"),
    ):
        answer = await client.post(f"/v1/runs/{run}/comps", json={**guests, **wrong})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
