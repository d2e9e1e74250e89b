"""The gate lets through what Stripe would, and nothing else."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import orjson
import pytest
import stripe

import sandbox
from sandbox import Sandbox
from tests.contract import gate, official

Change = Callable[[dict[str, Any]], object]


def altered(box: Sandbox, change: Change) -> Sandbox:
    """The same log, with the last answer changed."""
    last = box.state.requests.pop()
    answer = orjson.loads(last.answer)
    change(answer)
    box.state.requests.append(replace(last, answer=orjson.dumps(answer)))
    return box


@pytest.fixture
async def watched() -> Any:
    """A sandbox whose log is bad on purpose: its fixture does not check it."""
    async with sandbox.running(seed=1) as box:
        http = stripe.HTTPXClient()
        client = stripe.StripeClient("sk_test_x", base_addresses={"api": box.url}, http_client=http)
        await client.v1.payment_intents.create_async(
            {
                "amount": 1_000,
                "currency": "eur",
                "confirm": True,
                "payment_method": "pm_card_visa",
                "return_url": "https://example.com/back",
            }
        )
        await client.v1.charges.list_async({"expand": ["data.balance_transaction"]})
        gate.check(box)
        yield box
        await http.close_async()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda page: page["data"][0].pop("amount"), '"amount" is a required property'),
        (lambda page: page["data"][0].update(amount="10.00"), "amount"),
        (lambda page: page["data"][0].update(status="fine"), '"fine" is not one of'),
        (lambda page: page["data"][0].update(colour="red"), "'colour' was unexpected"),
        (lambda page: page["data"][0]["balance_transaction"].pop("net"), "net"),
        (lambda page: page.pop("has_more"), "has_more"),
    ],
)
async def test_a_wrong_answer_fails_the_gate(
    watched: Sandbox, change: Change, complaint: str
) -> None:
    with pytest.raises(gate.ContractBrokenError, match="answer 200") as broken:
        gate.check(altered(watched, change))
    assert complaint in str(broken.value)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"amount=1000", '"currency" is a required property'),
        (b"amount=ten&currency=eur", "amount"),
        (b"amount=1000&currency=eur&payment_method_types[0]=card", "payment_method_types"),
        (b"amount=1000&currency=eur&automatic_payment_methods[on]=true", "automatic_payment"),
        (b"amount=1000&currency=eur&capture_method=later", "capture_method"),
    ],
)
async def test_a_wrong_request_fails_the_gate(
    watched: Sandbox, body: bytes, complaint: str
) -> None:
    first = watched.state.requests[0]
    watched.state.requests.append(replace(first, body=body))
    with pytest.raises(gate.ContractBrokenError, match="request") as broken:
        gate.check(watched)
    assert complaint in str(broken.value)


async def test_a_request_whose_answer_was_lost_is_looked_at_too(watched: Sandbox) -> None:
    lost = replace(watched.state.requests[0], body=b"amount=1000", status=None, answer=b"")
    watched.state.requests.append(lost)
    with pytest.raises(gate.ContractBrokenError, match="currency"):
        gate.check(watched)


async def test_a_wrong_event_fails_the_gate(watched: Sandbox) -> None:
    row = watched.state.table("event").rows[-1]
    body = orjson.loads(row["body"])
    for change, complaint in [
        ({"type": "charge.invented"}, "charge.invented"),
        ({"data": {"object": {**body["data"]["object"], "paid": "yes"}}}, "data.object.paid"),
        ({"created": None}, "created"),
    ]:
        row["body"] = orjson.dumps(copy.deepcopy(body) | change)
        with pytest.raises(gate.ContractBrokenError, match="event") as broken:
            gate.check(watched)
        assert complaint in str(broken.value)


async def test_an_older_accounts_request_is_outside_the_gate(box: Sandbox) -> None:
    form = {"amount": "2000", "currency": "usd", "payment_method_types[0]": "card"}
    async with httpx.AsyncClient() as browser:
        answer = await browser.post(
            f"{box.url}/v1/payment_intents",
            data=form,
            headers={"Authorization": "Bearer sk_test_cli"},
        )
    assert answer.status_code == 200
    gate.check(box)


@pytest.mark.skipif(
    not official.readable(), reason="Stripe's official document has not been fetched (build/data)"
)
async def test_the_official_document_is_a_gate_too(watched: Sandbox) -> None:
    names = [contract.name for contract in gate.contracts()]
    assert names == ["sdk", "official"]
    with pytest.raises(gate.ContractBrokenError, match="official: GET /v1/charges answer 200"):
        gate.check(altered(watched, lambda page: page["data"][0].pop("amount")))


def test_every_waiver_says_why() -> None:
    assert all(len(reason) > 20 for _, _, reason in gate.WAIVERS)
