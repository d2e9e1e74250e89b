"""Stripe's test payment methods: what a card number is for a person, a token is for a test."""

from dataclasses import dataclass
from typing import Any

from sandbox.calls import Call, Operation, listed, retriever
from sandbox.errors import StripeError, missing
from sandbox.forms import array, listing, metadata, request, text
from sandbox.state import State
from sandbox.tables import Row

DECLINES = {
    "pm_card_visa_chargeDeclined": "generic_decline",
    "pm_card_chargeDeclined": "generic_decline",
    "pm_card_visa_chargeDeclinedInsufficientFunds": "insufficient_funds",
    "pm_card_chargeDeclinedInsufficientFunds": "insufficient_funds",
    "pm_card_chargeDeclinedExpiredCard": "expired_card",
    "pm_card_chargeDeclinedProcessingError": "processing_error",
    "pm_card_chargeCustomerFail": "generic_decline",
}
PLAIN_CARDS = (
    "pm_card_visa",
    "pm_card_visa_debit",
    "pm_card_mastercard",
    "pm_card_amex",
    "pm_card_us",
    "pm_card_jp",
    "pm_card_de",
)
OUTCOMES = {
    **dict.fromkeys(PLAIN_CARDS, "succeeds"),
    **dict.fromkeys(DECLINES, "declined"),
    "pm_card_bypassPending": "available_at_once",
    "pm_card_createDispute": "disputed",
    "pm_card_createDisputeInquiry": "inquired",
    "pm_card_authenticationRequired": "needs_action",
    "pm_card_threeDSecure2Required": "needs_action",
    "pm_success_sepaDebit": "succeeds_later",
    "pm_successDelayed_sepaDebit": "succeeds_later",
    "pm_failed_sepaDebit": "fails_later",
    "pm_failedDelayed_sepaDebit": "fails_later",
    "pm_sandbox_failsAfterSuccess": "returned",  # ours: Stripe has no token for it
}


@dataclass(frozen=True, slots=True)
class Method:
    """A payment method and what will happen when it is charged."""

    row: Row
    outcome: str
    decline: str

    @property
    def kind(self) -> str:
        """Its type: card or sepa_debit."""
        return str(self.row["type"])


def resolve(state: State, id_: str) -> Method:
    """The payment method of that id; a test token becomes a new one, as at Stripe."""
    if id_ in OUTCOMES:
        row = _from_token(state, id_)
    else:
        found = state.table("payment_method").get(id_)
        if found is None:
            raise missing("PaymentMethod", id_, param="payment_method", status=400)
        row = found
    token = state.token_of[row["id"]]
    return Method(row, OUTCOMES[token], DECLINES.get(token, "generic_decline"))


def _from_token(state: State, token: str) -> Row:
    kind = "sepa_debit" if token.endswith("_sepaDebit") else "card"
    details: Row = {
        "card": {
            "brand": "visa",
            "checks": {
                "address_line1_check": None,
                "address_postal_code_check": None,
                "cvc_check": "pass",
            },
            "country": "US",
            "display_brand": "visa",
            "exp_month": 8,
            "exp_year": 2030,
            "fingerprint": "SandboxFingerprint",
            "funding": "credit",
            "generated_from": None,
            "last4": "4242",
            "networks": {"available": ["visa"], "preferred": None},
            "regulated_status": None,
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        "sepa_debit": {
            "bank_code": "37040044",
            "branch_code": "",
            "country": "DE",
            "fingerprint": "SandboxFingerprint",
            "generated_from": {"charge": None, "setup_attempt": None},
            "last4": "3000",
        },
    }
    row = state.add(
        "payment_method",
        allow_redisplay="unspecified",
        billing_details=billing_details(),
        customer=None,
        customer_account=None,
        metadata={},
        type=kind,
    )
    row[kind] = details[kind]
    state.token_of[row["id"]] = token
    return row


def billing_details() -> Row:
    """Nothing is known about the payer."""
    parts = ("city", "country", "line1", "line2", "postal_code", "state")
    return {
        "address": dict.fromkeys(parts),
        "email": None,
        "name": None,
        "phone": None,
        "tax_id": None,
    }


def details_on_charge(method: Method, amount: int) -> Row:
    """``payment_method_details`` of a charge."""
    if method.kind == "sepa_debit":
        known = ("bank_code", "branch_code", "country", "fingerprint", "last4")
        bank = {name: method.row["sepa_debit"][name] for name in known}
        return {"type": "sepa_debit", "sepa_debit": {**bank, "mandate": None}}
    shown = ("brand", "checks", "country", "exp_month", "exp_year", "fingerprint", "funding")
    card = {name: method.row["card"][name] for name in shown}
    more = {
        "amount_authorized": amount,
        "authorization_code": None,
        "installments": None,
        "last4": method.row["card"]["last4"],
        "mandate": None,
        "network": "visa",
        "network_transaction_id": None,
        "regulated_status": None,
        "three_d_secure": None,
        "transaction_link_id": None,
        "wallet": None,
    }
    return {"type": "card", "card": card | more}


def attach(call: Call, id_: str) -> Row:
    """POST /v1/payment_methods/{id}/attach: saved for a customer."""
    customer = call.state.get("customer", call.params["customer"], param="customer")
    method = resolve(call.state, id_)
    call.state.table("payment_method").move(method.row, "customer", customer["id"])
    return method.row


def create_customer(call: Call) -> Row:
    """POST /v1/customers."""
    plain = ("description", "email", "name", "phone")
    given: Row = {name: call.params.get(name) for name in plain}
    return call.state.add(
        "customer",
        address=None,
        balance=0,
        currency=None,
        default_source=None,
        delinquent=False,
        discount=None,
        invoice_settings={
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        metadata=call.params.get("metadata", {}),
        preferred_locales=call.params.get("preferred_locales", []),
        shipping=None,
        tax_exempt="none",
        test_clock=None,
        **given,
    )


def list_of_customer(call: Call, customer: str) -> Row:
    """GET /v1/customers/{customer}/payment_methods."""
    call.state.get("customer", customer)
    call.params["customer"] = customer
    url = f"/v1/customers/{customer}/payment_methods"
    return listed(call, "payment_method", url, "customer", "type")


def refuse_card(decline: str, **more: Any) -> StripeError:
    """402: the bank said no."""
    expired = decline in {"expired_card", "processing_error"}
    return StripeError(
        "Your card was declined.",
        status=402,
        kind="card_error",
        code=decline if expired else "card_declined",
        decline_code=decline,
        **more,
    )


OPERATIONS = [
    Operation(
        "POST",
        "/v1/customers",
        request(
            description=text,
            email=text,
            metadata=metadata,
            name=text,
            phone=text,
            preferred_locales=array(text),
        ),
        create_customer,
    ),
    Operation("GET", "/v1/customers/{id}", request(), retriever("customer")),
    Operation(
        "GET",
        "/v1/customers/{id}/payment_methods",
        listing(type=text),
        list_of_customer,
    ),
    Operation("GET", "/v1/payment_methods/{id}", request(), retriever("payment_method")),
    Operation(
        "POST", "/v1/payment_methods/{id}/attach", request("customer", customer=text), attach
    ),
]
