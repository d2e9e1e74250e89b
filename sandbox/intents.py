"""The payment intents' part of the API."""

from sandbox import currencies, events, payments
from sandbox.calls import Call, Operation, lister, retriever, update_metadata
from sandbox.errors import StripeError
from sandbox.forms import (
    boolean,
    choice,
    currency,
    integer,
    listing,
    metadata,
    request,
    shape,
    text,
)
from sandbox.methods import resolve
from sandbox.state import State
from sandbox.tables import Row

NOTHING = (
    "application",
    "application_fee_amount",
    "canceled_at",
    "cancellation_reason",
    "client_secret",
    "customer",
    "customer_account",
    "description",
    "excluded_payment_method_types",
    "last_payment_error",
    "latest_charge",
    "next_action",
    "on_behalf_of",
    "payment_method",
    "payment_method_configuration_details",
    "processing",
    "receipt_email",
    "review",
    "setup_future_usage",
    "shipping",
    "source",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_data",
    "transfer_group",
)

AUTOMATIC = {"allow_redirects": "always", "enabled": True}


def make(
    state: State, *, amount: int, currency: str, param: str = "amount", **given: object
) -> Row:
    """A new intent that nobody has paid yet."""
    currencies.check(amount, currency, param)
    if "payment_method" in given:
        given["payment_method"] = resolve(state, str(given["payment_method"])).row["id"]
    fields: Row = dict.fromkeys(NOTHING)
    fields.update(
        amount=amount,
        amount_capturable=0,
        amount_details={"tip": {}},
        amount_received=0,
        automatic_payment_methods=AUTOMATIC,
        capture_method="automatic",
        confirmation_method="automatic",
        currency=currency,
        metadata={},
        payment_method_options={},
        payment_method_types=["card", "sepa_debit"],
        status="requires_confirmation" if "payment_method" in given else "requires_payment_method",
    )
    intent = state.add("payment_intent", **(fields | given))
    intent["client_secret"] = f"{intent['id']}_secret_{state.new_id('')}"
    events.emit(state, "payment_intent.created", intent)
    return intent


def create(call: Call) -> Row:
    """POST /v1/payment_intents."""
    given = dict(call.params)
    ways = {name: given.pop(name) for name in ON_CONFIRMATION if name in given}
    if "customer" in given:
        call.state.get("customer", given["customer"], param="customer")
    given["automatic_payment_methods"] = AUTOMATIC | given.get("automatic_payment_methods", {})
    if ways.get("confirm", False):
        _refuse_lost_payer(call, given)
    intent = make(call.state, **given)
    if ways.get("confirm", False):
        off_session = bool(ways.get("off_session", False))
        return payments.confirm(call.state, intent, off_session=off_session)
    return intent


def _refuse_lost_payer(call: Call, intent: Row) -> None:
    """A method that redirects must know where the payer comes back to."""
    redirects = intent["automatic_payment_methods"]["allow_redirects"] == "always"
    if redirects and "return_url" not in call.params and not call.older:
        raise StripeError(
            "This PaymentIntent is configured to accept payment methods enabled in your "
            "Dashboard. Because some of these payment methods might redirect your customer off of "
            "your page, you must provide a `return_url`. If you don't want to accept "
            "redirect-based payment methods, set `automatic_payment_methods[enabled]` to `true` "
            "and `automatic_payment_methods[allow_redirects]` to `never`."
        )


def confirm(call: Call, id_: str) -> Row:
    """POST /v1/payment_intents/{id}/confirm."""
    intent = call.state.get("payment_intent", id_)
    _refuse_lost_payer(call, intent)
    for name in ("capture_method", "receipt_email", "setup_future_usage"):
        if name in call.params:
            intent[name] = call.params[name]
    method = call.params.get("payment_method")
    off_session = bool(call.params.get("off_session", False))
    return payments.confirm(call.state, intent, method, off_session=off_session)


def capture(call: Call, id_: str) -> Row:
    """POST /v1/payment_intents/{id}/capture."""
    intent = call.state.get("payment_intent", id_)
    return payments.capture(call.state, intent, call.params.get("amount_to_capture"))


def cancel(call: Call, id_: str) -> Row:
    """POST /v1/payment_intents/{id}/cancel."""
    intent = call.state.get("payment_intent", id_)
    return payments.cancel(call.state, intent, call.params.get("cancellation_reason"))


def update(call: Call, id_: str) -> Row:
    """POST /v1/payment_intents/{id}."""
    intent = call.state.get("payment_intent", id_)
    changes = dict(call.params)
    if "payment_method" in changes:
        method = resolve(call.state, changes["payment_method"])
        changes.update(payment_method=method.row["id"], status="requires_confirmation")
    return change(intent, changes)


def change(intent: Row, changes: Row) -> Row:
    """Amount and the like, as long as nothing has been taken; words at any time."""
    if {"amount", "currency"} & changes.keys():
        payments.require(intent, payments.OPEN, "update")
    merged = dict(changes)
    update_metadata(intent, merged.pop("metadata", {}))
    intent.update(merged)
    currencies.check(intent["amount"], intent["currency"])
    return intent


ON_CONFIRMATION = (
    "confirm",
    "off_session",
    "return_url",
    "error_on_requires_action",
    "use_stripe_sdk",
)
WORDS = {
    "amount": integer,
    "currency": currency,
    "customer": text,
    "description": text,
    "metadata": metadata,
    "payment_method": text,
    "receipt_email": text,
    "setup_future_usage": choice("off_session", "on_session"),
    "statement_descriptor": text,
    "statement_descriptor_suffix": text,
    "transfer_group": text,
}
WAYS = {
    "capture_method": choice("automatic", "automatic_async", "manual"),
    "error_on_requires_action": boolean,
    "off_session": boolean,
    "return_url": text,
    "use_stripe_sdk": boolean,
}
SAVED = {
    "receipt_email": text,
    "setup_future_usage": WORDS["setup_future_usage"],
}

OPERATIONS = [
    Operation(
        "POST",
        "/v1/payment_intents",
        request(
            "amount",
            "currency",
            automatic_payment_methods=shape(
                "enabled", enabled=boolean, allow_redirects=choice("always", "never")
            ),
            confirm=boolean,
            confirmation_method=choice("automatic", "manual"),
            **WORDS,
            **WAYS,
        ),
        create,
    ),
    Operation(
        "GET",
        "/v1/payment_intents",
        listing(customer=text),
        lister("payment_intent", "/v1/payment_intents", "customer"),
    ),
    Operation("GET", "/v1/payment_intents/{id}", request(), retriever("payment_intent")),
    Operation("POST", "/v1/payment_intents/{id}", request(**WORDS), update),
    Operation(
        "POST",
        "/v1/payment_intents/{id}/confirm",
        request(payment_method=text, **SAVED, **WAYS),
        confirm,
    ),
    Operation(
        "POST", "/v1/payment_intents/{id}/capture", request(amount_to_capture=integer), capture
    ),
    Operation(
        "POST",
        "/v1/payment_intents/{id}/cancel",
        request(
            cancellation_reason=choice(
                "abandoned", "duplicate", "fraudulent", "requested_by_customer"
            )
        ),
        cancel,
    ),
]
