"""The sandbox comes to the same numbers as Stripe did in calls recorded in February 2026.

The recording is of an older API version: amounts, fees, currencies and statuses are compared, not
shapes.  Fees are input: a sandbox does not know what Stripe charges.
"""

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
import stripe

from sandbox import Sandbox

RECORDED = Path(__file__).parents[3] / "shared/stripe/liberapay.json"

pytestmark = pytest.mark.skipif(
    not RECORDED.exists(), reason="the recorded Stripe calls are not on this machine"
)


def recording() -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = json.loads(RECORDED.read_text())
    for call in calls:
        if isinstance(call["response"], str):
            call["response"] = json.loads(call["response"])
        call["form"] = dict(parse_qsl(call["form"] or ""))
    return calls


def answers(kind: str) -> list[dict[str, Any]]:
    found = [call["response"] for call in recording()]
    return [answer for answer in found if answer.get("object") == kind]


def fees() -> dict[str, int]:
    return {line["source"]: line["fee"] for line in answers("balance_transaction")}


def figures(row: Any, *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names}


async def paid_as_recorded(
    client: stripe.StripeClient, box: Sandbox, charge: str, intent: dict[str, Any]
) -> stripe.PaymentIntent:
    """The intent as it was recorded, with its recorded fee."""
    delayed = charge.startswith("py_")
    made = await client.v1.payment_intents.create_async(
        {
            "amount": intent["amount"],
            "currency": intent["currency"],
            "capture_method": intent["capture_method"],
        }
    )
    box.fee(payment_intent=made.id, amount=fees()[charge])
    box.pay(made.id, payment_method="pm_success_sepaDebit" if delayed else "pm_card_visa")
    after = await client.v1.payment_intents.retrieve_async(made.id)
    assert after.status == intent["status"]
    if after.status == "requires_capture":
        await client.v1.payment_intents.capture_async(made.id)
    else:
        box.advance(180)
    return await client.v1.payment_intents.retrieve_async(
        made.id, {"expand": ["latest_charge.balance_transaction"]}
    )


def recorded_intents() -> list[tuple[str, dict[str, Any]]]:
    """Every recorded intent whose balance transaction was recorded too, by its charge."""
    intents = {}
    for call in recording():
        if call["path"] == "/v1/payment_intents":
            charge = call["response"]["latest_charge"]
            if charge in fees():
                intents[charge] = call["response"]
    return list(intents.items())


async def test_charges_settle_to_the_recorded_numbers(
    client: stripe.StripeClient, box: Sandbox
) -> None:
    lines = {line["source"]: line for line in answers("balance_transaction")}
    names = ("amount", "fee", "net", "currency", "status", "type")
    recorded = recorded_intents()
    assert len(recorded) >= 7
    for charge, intent in recorded:
        paid = await paid_as_recorded(client, box, charge, intent)
        line = paid.latest_charge.balance_transaction
        assert figures(line, *names) == figures(lines[charge], *names)
        assert paid.latest_charge.status == "succeeded"


async def test_transfers_a_reversal_and_a_refund_repeat_the_recording(
    client: stripe.StripeClient, box: Sandbox, host: str
) -> None:
    charges = {
        charge: await paid_as_recorded(client, box, charge, intent)
        for charge, intent in recorded_intents()
    }
    names = ("amount", "amount_reversed", "currency", "reversed")
    made: dict[str, stripe.Transfer] = {}
    for answer in {t["id"]: t for t in answers("transfer")}.values():
        wish = {
            "amount": answer["amount"],
            "currency": answer["currency"].upper(),  # as it was recorded
            "destination": host,
            "source_transaction": charges[answer["source_transaction"]].latest_charge.id,
        }
        made[answer["id"]] = await client.v1.transfers.create_async(wish)
        assert figures(made[answer["id"]], *names) == figures(answer, *names)
    for answer in answers("transfer_reversal"):
        reversal = await client.v1.transfers.reversals.create_async(
            made[answer["transfer"]].id, {"amount": answer["amount"]}
        )
        assert figures(reversal, "amount", "currency") == figures(answer, "amount", "currency")
    (refund,) = answers("refund")
    mine = await client.v1.refunds.create_async(
        {"charge": charges[refund["charge"]].latest_charge.id, "amount": refund["amount"]}
    )
    assert figures(mine, "amount", "currency", "status") == figures(
        refund, "amount", "currency", "status"
    )


async def test_ten_thousand_less_the_fee_is_two_hosts_halves(
    client: stripe.StripeClient, box: Sandbox, host: str
) -> None:
    intent = await client.v1.payment_intents.create_async({"amount": 10_000, "currency": "eur"})
    box.fee(payment_intent=intent.id, amount=350)
    box.pay(intent.id)
    charge = box.events[-1]["data"]["object"]
    line = await client.v1.balance_transactions.retrieve_async(charge["balance_transaction"])
    assert line.net == 9_650
    for _ in range(2):
        await client.v1.transfers.create_async(
            {
                "amount": 4_825,
                "currency": "eur",
                "destination": host,
                "source_transaction": charge["id"],
            }
        )
    assert box.balance("eur") == {"available": 0, "pending": 0}
    assert box.balance("eur", host) == {"available": 0, "pending": 9_650}
