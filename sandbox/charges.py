"""Charges: one attempt to take money, its balance transaction, and what may happen to it later."""

from functools import partial

from sandbox import disputes, events, money
from sandbox.calls import Operation, lister, retriever, updater
from sandbox.forms import listing, metadata, request, text
from sandbox.methods import Method, billing_details, details_on_charge
from sandbox.state import Fee, State
from sandbox.tables import Row

SEPA_DAYS = 4  # a debit's money is available that much later than a card's
RETURNED_AFTER = money.DAY


def create(state: State, intent: Row, method: Method, *, status: str, captured: bool) -> Row:
    """A new attempt; the intent's metadata is copied now, once."""
    amount = intent["amount"]
    failed = status == "failed"
    charge = state.add(
        "charge",
        prefix="ch_3" if method.kind == "card" else "py_3",
        **blank(amount, intent["currency"]),
        calculated_statement_descriptor=intent["statement_descriptor"] or "SANDBOX",
        customer=intent["customer"],
        description=intent["description"],
        metadata=dict(intent["metadata"]),
        payment_intent=intent["id"],
        receipt_email=intent["receipt_email"],
        transfer_group=intent["transfer_group"],
    )
    charge.update(
        amount_captured=amount if captured else 0,
        captured=captured,
        outcome=_outcome(method.decline if failed else None),
        paid=status == "succeeded",
        payment_method=method.row["id"],
        payment_method_details=details_on_charge(method, amount),
        status=status,
    )
    if failed:
        charge.update(failure_code="card_declined", failure_message="Your card was declined.")
    intent["latest_charge"] = charge["id"]
    return charge


def blank(amount: int, currency: str) -> Row:
    """The fields that every charge has, before anything is known."""
    nothing = (
        "application",
        "application_fee",
        "application_fee_amount",
        "balance_transaction",
        "failure_balance_transaction",
        "failure_code",
        "failure_message",
        "on_behalf_of",
        "outcome",
        "payment_method",
        "payment_method_details",
        "receipt_number",
        "receipt_url",
        "review",
        "shipping",
        "source",
        "source_transfer",
        "statement_descriptor",
        "statement_descriptor_suffix",
        "transfer_data",
    )
    return {
        **dict.fromkeys(nothing),
        "amount": amount,
        "amount_captured": amount,
        "amount_refunded": 0,
        "billing_details": billing_details(),
        "captured": True,
        "currency": currency,
        "disputed": False,
        "fraud_details": {},
        "paid": True,
        "refunded": False,
        "status": "succeeded",
    }


def _outcome(decline: str | None) -> Row:
    declined = decline is not None
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "declined_by_network" if declined else "approved_by_network",
        "reason": decline,
        "risk_level": "normal",
        "seller_message": "The bank declined." if declined else "Payment complete.",
        "type": "issuer_declined" if declined else "authorized",
    }


def settle(state: State, charge: Row, method: Method, *, told: bool) -> None:
    """The charge gets its balance transaction; ``told`` by charge.updated or by nothing.

    Of an authorisation that was captured in part, Stripe books all, and what was not captured back.
    """
    currency, amount = charge["currency"], charge["amount"]
    schedule = state.settings.fees.get(currency, Fee())
    fee = state.settings.fee_of.get(charge["payment_intent"], schedule.of(amount))
    days = state.settings.days_to_available + (0 if method.kind == "card" else SEPA_DAYS)
    now = state.clock.now()
    at_once = method.outcome == "available_at_once"
    line = money.record(
        state,
        amount=amount,
        currency=currency,
        kind="charge" if method.kind == "card" else "payment",
        category="charge",
        source=charge["id"],
        fee=fee,
        available_on=now if at_once else money.midnight(now, days),
        description=charge["description"],
    )
    charge["balance_transaction"] = line["id"]
    if charge["amount_captured"] < amount:
        rest = state.table("refund").where("charge", charge["id"])[0]
        back = money.record(
            state,
            amount=-rest["amount"],
            currency=currency,
            kind="refund",
            category="partial_capture_reversal",
            source=rest["id"],
            fee=schedule.of(charge["amount_captured"]) - schedule.of(amount),
            available_on=line["available_on"],
        )
        rest["balance_transaction"] = back["id"]
    if told:
        events.emit(state, "charge.updated", charge, before={"balance_transaction": None})


def settle_in_time(state: State, charge: Row, method: Method) -> None:
    """The balance transaction comes when the settings say so; then the method's own surprise."""
    delay = state.settings.transaction_delay
    if charge["balance_transaction"] is None:
        if not delay:
            settle(state, charge, method, told=True)
        else:
            state.schedule(
                state.clock.now() + delay, partial(settle, state, charge, method, told=True)
            )
    surprise = {
        "disputed": partial(disputes.start, state, charge),
        "inquired": partial(disputes.start, state, charge, inquiry=True),
    }.get(method.outcome)
    if surprise:
        surprise()
    if method.outcome == "returned":
        moment = state.clock.now() + RETURNED_AFTER
        state.schedule(moment, partial(return_to_bank, state, charge))


def return_to_bank(state: State, charge: Row) -> None:
    """A charge that had succeeded fails after all: the bank takes the money back."""
    intent = state.get("payment_intent", charge["payment_intent"])
    line = money.record(
        state,
        amount=charge["amount_refunded"] - charge["amount"],
        currency=charge["currency"],
        kind="payment_failure_refund",
        category="charge_failure",
        source=charge["id"],
    )
    charge.update(
        failure_balance_transaction=line["id"],
        failure_code="payment_method_not_available",
        failure_message="The payment was returned by the bank.",
        paid=False,
        status="failed",
    )
    intent.update(status="requires_payment_method", amount_received=0)
    events.emit(state, "charge.failed", charge)
    events.emit(state, "payment_intent.payment_failed", intent)


OPERATIONS = [
    Operation(
        "GET",
        "/v1/charges",
        listing(customer=text, payment_intent=text, transfer_group=text),
        lister("charge", "/v1/charges", "customer", "payment_intent", "transfer_group"),
    ),
    Operation("GET", "/v1/charges/{id}", request(), retriever("charge")),
    Operation(
        "POST",
        "/v1/charges/{id}",
        request(
            customer=text,
            description=text,
            metadata=metadata,
            receipt_email=text,
            transfer_group=text,
        ),
        updater("charge", "description", "receipt_email"),
    ),
]
