"""How listeners pay: on Stripe's page, in the platform's app, or with a card that is saved."""

from typing import Any

from api.cli.demo.calls import SaidNo
from api.cli.demo.stage import Stage
from takings.payments.orders import Surface

SURFACES: tuple[Surface, ...] = ("checkout", "intent", "saved")
CARDS = ("pm_card_visa", "pm_card_mastercard", "pm_card_bypassPending", "pm_card_bypassPending")
"""Half of the money is at Stripe's disposal at once, so that some of it is released tonight."""

DECLINED = "pm_card_chargeCustomerFail"


async def terms(stage: Stage, surface: Surface, card: str) -> dict[str, str]:
    """What the backend says of it when it asks for a payment."""
    told: dict[str, str] = {"surface": surface}
    if surface == "saved":
        told |= await _saved(stage, card)
    if surface == "checkout":
        told |= {"success_url": "https://example.com/thanks", "cancel_url": "https://example.com"}
    return told


async def _saved(stage: Stage, card: str) -> dict[str, str]:
    """A customer of the platform's at Stripe, with a saved card."""
    customer = (await stage.stripe.post("/v1/customers")).json()["id"]
    attached = await stage.stripe.post(
        f"/v1/payment_methods/{card}/attach", data={"customer": customer}
    )
    return {"customer": customer, "payment_method": attached.json()["id"]}


async def pay(stage: Stage, due: dict[str, Any], card: str) -> None:
    """The listener's part of it; raises SaidNo where Stripe takes no money for it any more."""
    if due["url"]:
        answer = await stage.stripe.post(due["url"], data={"payment_method": card})
    elif due["client_secret"]:
        intent = due["client_secret"].partition("_secret_")[0]
        told = {"payment_intent": intent, "payment_method": card}
        answer = await stage.stripe.post("/_sandbox/pay", json=told)
    else:
        return
    if answer.is_error:
        raise SaidNo(what="Stripe's page", no=answer.status_code, body=answer.text[:300])
