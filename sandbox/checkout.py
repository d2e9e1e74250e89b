"""Hosted Checkout: a session with a pay page of its own."""

from functools import partial

from sandbox import currencies, events, intents, orders, payments
from sandbox.calls import Call, Operation, lister, page, retriever, update_metadata
from sandbox.errors import StripeError, wrong_state
from sandbox.forms import (
    array,
    boolean,
    choice,
    integer,
    listing,
    metadata,
    request,
    shape,
    text,
)
from sandbox.sessions import customer_details
from sandbox.state import State
from sandbox.tables import Row

OPEN_AT_LEAST = 30 * 60
OPEN_AT_MOST = 24 * 60 * 60


def create(call: Call) -> Row:
    """POST /v1/checkout/sessions: a page on which one order can be paid once."""
    state, params = call.state, call.params
    items = [orders.item(state, line, n) for n, line in enumerate(params["line_items"])]
    if len({item["currency"] for item in items}) != 1:
        raise StripeError("All line items must have one currency.", param="line_items")
    amount = sum(item["amount_total"] for item in items)
    currencies.check(amount, items[0]["currency"], "line_items")
    expires_at = _expiry(state, params.get("expires_at"))
    if "customer" in params:
        state.get("customer", params["customer"], param="customer")
    session = state.add("checkout.session", **_blank(params))
    session.update(
        amount_subtotal=amount,
        amount_total=amount,
        currency=items[0]["currency"],
        expires_at=expires_at,
        url=f"{state.url}/pay/{session['id']}",
    )
    state.line_items[session["id"]] = items
    state.wishes[session["id"]] = params.get("payment_intent_data", {})
    state.schedule(expires_at, partial(_expire_if_open, state, session))
    return session


def _expiry(state: State, wanted: int | None) -> int:
    now = state.clock.now()
    if wanted is None:
        return now + OPEN_AT_MOST
    if wanted < now + OPEN_AT_LEAST:
        raise StripeError(
            "The `expires_at` timestamp must be at least 30 minutes from Checkout Session "
            "creation.",
            param="expires_at",
        )
    if wanted > now + OPEN_AT_MOST:
        raise StripeError(
            "The `expires_at` timestamp must be less than 24 hours from Checkout Session creation.",
            param="expires_at",
        )
    return wanted


def _blank(params: Row) -> Row:
    given = {name: params.get(name) for name in OPTIONAL}
    return given | {
        "adaptive_pricing": params.get("adaptive_pricing", {"enabled": True}),
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "custom_fields": [],
        "custom_text": dict.fromkeys(TEXTS),
        "discounts": [],
        "metadata": params.get("metadata", {}),
        "mode": "payment",
        "payment_method_options": {},
        "payment_method_types": ["card", "sepa_debit"],
        "payment_status": "unpaid",
        "phone_number_collection": {"enabled": False},
        "shipping_options": [],
        "status": "open",
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
    }


OPTIONAL = (
    "after_expiration",
    "allow_promotion_codes",
    "billing_address_collection",
    "cancel_url",
    "client_reference_id",
    "client_secret",
    "collected_information",
    "consent",
    "consent_collection",
    "currency_conversion",
    "customer",
    "customer_account",
    "customer_creation",
    "customer_details",
    "customer_email",
    "invoice",
    "invoice_creation",
    "locale",
    "origin_context",
    "payment_intent",
    "payment_link",
    "payment_method_collection",
    "payment_method_configuration_details",
    "permissions",
    "recovered_from",
    "saved_payment_method_options",
    "setup_intent",
    "shipping_address_collection",
    "shipping_cost",
    "submit_type",
    "subscription",
    "success_url",
    "wallet_options",
)
TEXTS = ("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")


def pay(state: State, session: Row, method: str) -> Row:
    """The payer presses the button; a refused card leaves the session open."""
    if session["status"] != "open":
        raise wrong_state(
            f"This Checkout Session is {session['status']}.", "checkout_session_not_open"
        )
    session["customer_details"] = customer_details(session)
    payments.confirm(state, _intent(state, session), method)
    return session


def _intent(state: State, session: Row) -> Row:
    """The session's payment intent, which exists from the first attempt on."""
    if session["payment_intent"]:
        return state.get("payment_intent", session["payment_intent"])
    intent = intents.make(
        state,
        amount=session["amount_total"],
        currency=session["currency"],
        customer=session["customer"],
        **state.wishes[session["id"]],
    )
    state.table("checkout.session").move(session, "payment_intent", intent["id"])
    return intent


def _expire_if_open(state: State, session: Row) -> None:
    if session["status"] == "open":
        _expire(state, session)


def _expire(state: State, session: Row) -> None:
    session.update(status="expired", url=None)
    if session["payment_intent"]:
        intent = state.get("payment_intent", session["payment_intent"])
        if intent["status"] in payments.OPEN:
            payments.cancel(state, intent, "abandoned")
    events.emit(state, "checkout.session.expired", session)


def expire(call: Call, id_: str) -> Row:
    """POST /v1/checkout/sessions/{id}/expire."""
    session = call.state.get("checkout.session", id_)
    if session["status"] != "open":
        raise wrong_state(
            f'Only Checkout Sessions with a status in ["open"] can be expired. This one is '
            f"{session['status']}.",
            "checkout_session_not_open",
        )
    _expire(call.state, session)
    return session


def update(call: Call, id_: str) -> Row:
    """POST /v1/checkout/sessions/{id}."""
    session = call.state.get("checkout.session", id_)
    update_metadata(session, call.params.get("metadata", {}))
    return session


def line_items(call: Call, id_: str) -> Row:
    """GET /v1/checkout/sessions/{id}/line_items."""
    call.state.get("checkout.session", id_)
    return page(call.state.line_items[id_], f"/v1/checkout/sessions/{id_}/line_items")


INTENT = shape(
    capture_method=choice("automatic", "automatic_async", "manual"),
    description=text,
    metadata=metadata,
    receipt_email=text,
    setup_future_usage=choice("off_session", "on_session"),
    statement_descriptor=text,
    statement_descriptor_suffix=text,
    transfer_group=text,
)

OPERATIONS = [
    Operation(
        "POST",
        "/v1/checkout/sessions",
        request(
            "line_items",
            "mode",
            "success_url",
            adaptive_pricing=shape(enabled=boolean),
            billing_address_collection=choice("auto", "required"),
            cancel_url=text,
            client_reference_id=text,
            customer=text,
            customer_creation=choice("always", "if_required"),
            customer_email=text,
            expires_at=integer,
            line_items=array(orders.LINE),
            locale=text,
            metadata=metadata,
            mode=choice("payment"),
            payment_intent_data=INTENT,
            submit_type=choice("auto", "book", "donate", "pay"),
            success_url=text,
            ui_mode=choice("hosted_page"),
        ),
        create,
    ),
    Operation(
        "GET",
        "/v1/checkout/sessions",
        listing(customer=text, payment_intent=text, status=choice("complete", "expired", "open")),
        lister("checkout.session", "/v1/checkout/sessions", "customer", "payment_intent", "status"),
    ),
    Operation("GET", "/v1/checkout/sessions/{id}", request(), retriever("checkout.session")),
    Operation("POST", "/v1/checkout/sessions/{id}", request(metadata=metadata), update),
    Operation("POST", "/v1/checkout/sessions/{id}/expire", request(), expire),
    Operation("GET", "/v1/checkout/sessions/{id}/line_items", listing(), line_items),
]
