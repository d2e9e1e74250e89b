"""Refunds: never more than was captured, however they are cut and repeated."""

from sandbox import events, money
from sandbox.calls import Call, Operation, lister, retriever, updater
from sandbox.errors import ParameterError, StripeError, wrong_state
from sandbox.forms import choice, integer, listing, metadata, request, text
from sandbox.state import State
from sandbox.tables import Row


def create(call: Call) -> Row:
    """POST /v1/refunds: by charge or by payment intent."""
    charge = _charge(call)
    left = charge["amount"] - charge["amount_refunded"]
    amount = call.params.get("amount", left)
    if not charge["captured"] or charge["status"] != "succeeded":
        raise wrong_state(f"Charge {charge['id']} has not been captured.", "charge_not_refundable")
    if left == 0:
        raise wrong_state(
            f"Charge {charge['id']} has already been refunded.", "charge_already_refunded"
        )
    if _taken_by_bank(call.state, charge):
        raise wrong_state(f"Charge {charge['id']} has been charged back.", "charge_disputed")
    if amount < 1:
        raise StripeError("Invalid positive integer", param="amount")
    if amount > left:
        raise StripeError(
            f"Refund amount ({_major(amount)}) is greater than unrefunded amount on charge "
            f"({_major(left)})",
            param="amount",
        )
    return give_back(
        call.state, charge, amount, call.params.get("reason"), call.params.get("metadata", {})
    )


def _charge(call: Call) -> Row:
    params, state = call.params, call.state
    if "charge" in params:
        return state.get("charge", params["charge"], param="charge")
    if "payment_intent" not in params:
        raise ParameterError("One of the following params should be provided for this request: "
                     "payment_intent or charge.")  # fmt: skip
    intent = state.get("payment_intent", params["payment_intent"], param="payment_intent")
    if intent["latest_charge"] is None:
        message = (
            f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund."
        )
        raise wrong_state(message, "payment_intent_unexpected_state")
    return state.get("charge", intent["latest_charge"])


def _major(amount: int) -> str:
    return f"{amount // 100}.{amount % 100:02d}"


def _taken_by_bank(state: State, charge: Row) -> bool:
    disputes = state.table("dispute").where("charge", charge["id"])
    return any(not dispute["is_charge_refundable"] for dispute in disputes)


def give_back(
    state: State, charge: Row, amount: int, reason: str | None, metadata: dict[str, str]
) -> Row:
    """The money leaves; while the charge's own money is pending, so is the refund's line."""
    refund = _add(state, charge, amount, reason, metadata)
    source = state.table("balance_transaction").get(charge["balance_transaction"] or "")
    line = money.record(
        state,
        amount=-amount,
        currency=charge["currency"],
        kind="refund" if charge["id"].startswith("ch_") else "payment_refund",
        category="refund",
        source=refund["id"],
        available_on=source["available_on"] if source else None,
        description=f"REFUND FOR CHARGE ({charge['description'] or charge['id']})",
    )
    refund["balance_transaction"] = line["id"]
    tell(state, charge, refund)
    return refund


def uncaptured(state: State, charge: Row) -> Row | None:
    """What was authorised and not captured: Stripe calls it a refund, and gives its fee back."""
    rest = charge["amount"] - charge["amount_captured"]
    return _add(state, charge, rest, None, {}) if rest else None


def release(state: State, charge: Row, reason: str | None = None) -> Row:
    """An authorisation is let go: Stripe calls that a refund too, but no money moves."""
    refund = _add(state, charge, charge["amount"], reason, {})
    tell(state, charge, refund)
    return refund


def _add(
    state: State, charge: Row, amount: int, reason: str | None, metadata: dict[str, str]
) -> Row:
    refund = state.add(
        "refund",
        amount=amount,
        balance_transaction=None,
        charge=charge["id"],
        currency=charge["currency"],
        destination_details={"card": {"type": "refund"}, "type": "card"},
        metadata=metadata,
        payment_intent=charge["payment_intent"],
        payment_method=charge["payment_method"],
        reason=reason,
        receipt_number=None,
        source_transfer_reversal=None,
        status="succeeded",
        transfer_reversal=None,
    )
    del refund["livemode"]
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    return refund


def tell(state: State, charge: Row, refund: Row) -> None:
    """The events of a refund that was made."""
    events.emit(state, "refund.created", refund)
    events.emit(state, "charge.refunded", charge)


def fail(state: State, refund: Row, reason: str = "lost_or_stolen_card") -> Row:
    """The bank sends a refund back: the money returns to the balance."""
    _take_back(state, refund, "refund_failure", "failed")
    refund["failure_reason"] = reason
    events.emit(state, "refund.updated", refund)
    events.emit(state, "refund.failed", refund)
    return refund


def cancel(call: Call, id_: str) -> Row:
    """POST /v1/refunds/{id}/cancel: only while it waits for the customer."""
    refund = call.state.get("refund", id_)
    if refund["status"] != "requires_action":
        raise wrong_state(
            f"Refund {id_} has a status of {refund['status']} and cannot be canceled.",
            "refund_not_cancelable",
        )
    _take_back(call.state, refund, "refund", "canceled")
    events.emit(call.state, "refund.updated", refund)
    return refund


def wait_for_customer(state: State, refund: Row) -> Row:
    """The refund needs an answer of the customer, as bank transfers do; it can be canceled."""
    refund["status"] = "requires_action"
    events.emit(state, "refund.updated", refund)
    return refund


def _take_back(state: State, refund: Row, category: str, status: str) -> None:
    if refund["status"] in {"failed", "canceled"}:
        raise wrong_state(f"Refund {refund['id']} is over.", "refund_not_open")
    line = money.record(
        state,
        amount=refund["amount"],
        currency=refund["currency"],
        kind="refund_failure" if category == "refund_failure" else "refund",
        category=category,
        source=refund["id"],
    )
    refund.update(status=status, failure_balance_transaction=line["id"])
    charge = state.get("charge", refund["charge"])
    charge["amount_refunded"] -= refund["amount"]
    charge["refunded"] = False


OPERATIONS = [
    Operation(
        "POST",
        "/v1/refunds",
        request(
            amount=integer,
            charge=text,
            metadata=metadata,
            payment_intent=text,
            reason=choice("duplicate", "fraudulent", "requested_by_customer"),
        ),
        create,
    ),
    Operation(
        "GET",
        "/v1/refunds",
        listing(charge=text, payment_intent=text),
        lister("refund", "/v1/refunds", "charge", "payment_intent"),
    ),
    Operation("GET", "/v1/refunds/{id}", request(), retriever("refund")),
    Operation("POST", "/v1/refunds/{id}", request(metadata=metadata), updater("refund")),
    Operation("POST", "/v1/refunds/{id}/cancel", request(), cancel),
]
