"""Disputes: the bank asks, takes the money, and may give it back."""

from sandbox import events, money
from sandbox.calls import Call, Operation, lister, retriever, update_metadata
from sandbox.errors import StripeError, wrong_state
from sandbox.forms import boolean, listing, metadata, request, shape, text
from sandbox.state import State
from sandbox.tables import Row

FEE = 1_500
DAYS_TO_ANSWER = 7
EVIDENCE = (
    "access_activity_log",
    "billing_address",
    "cancellation_policy",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_communication",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "customer_signature",
    "duplicate_charge_documentation",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "receipt",
    "refund_policy",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "service_documentation",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_documentation",
    "shipping_tracking_number",
    "uncategorized_file",
    "uncategorized_text",
)
FINAL = {"won", "lost", "warning_closed", "prevented"}


def start(
    state: State,
    charge: Row,
    *,
    amount: int | None = None,
    inquiry: bool = False,
    taken: bool = True,
    reason: str = "fraudulent",
) -> Row:
    """The cardholder's bank disputes a charge; an inquiry asks first and takes nothing.

    Without ``taken`` the money has not been withdrawn yet.
    """
    due_by = money.midnight(state.clock.now(), DAYS_TO_ANSWER)
    dispute = state.add(
        "dispute",
        amount=charge["amount"] - charge["amount_refunded"] if amount is None else amount,
        balance_transactions=[],
        charge=charge["id"],
        currency=charge["currency"],
        enhanced_eligibility_types=[],
        evidence={**dict.fromkeys(EVIDENCE), "enhanced_evidence": {}},
        evidence_details={
            "due_by": due_by,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        is_charge_refundable=inquiry,
        metadata={},
        payment_intent=charge["payment_intent"],
        payment_method_details={
            "card": {
                "brand": "visa",
                "case_type": "inquiry" if inquiry else "chargeback",
                "network": "visa",
                "network_reason_code": "10.4",
            },
            "type": "card",
        },
        reason=reason,
        status="warning_needs_response" if inquiry else "needs_response",
    )
    charge["disputed"] = True
    events.emit(state, "charge.dispute.created", dispute)
    if taken and not inquiry:
        withdraw(state, dispute)
    return dispute


def withdraw(state: State, dispute: Row) -> Row:
    """The bank takes the amount, and Stripe its fee; an inquiry becomes a dispute by it."""
    _refuse_final(dispute)
    if dispute["balance_transactions"]:
        raise wrong_state("The funds were withdrawn already.", "dispute_funds_withdrawn")
    dispute.update(status="needs_response", is_charge_refundable=False)
    _move(state, dispute, -dispute["amount"], FEE, "dispute")
    events.emit(state, "charge.dispute.funds_withdrawn", dispute)
    return dispute


def close(state: State, dispute: Row, status: str, *, fee_back: bool = False) -> Row:
    """The bank has decided; ``won`` brings the money back (``fee_back``: the fee as well)."""
    _refuse_final(dispute)
    if status not in FINAL:
        raise StripeError(f"A dispute ends as one of {', '.join(sorted(FINAL))}", param="status")
    dispute["status"] = status
    if status == "won" and dispute["balance_transactions"]:
        fee = -FEE if fee_back else 0
        _move(state, dispute, dispute["amount"], fee, "dispute_reversal")
        events.emit(state, "charge.dispute.funds_reinstated", dispute)
    events.emit(state, "charge.dispute.closed", dispute)
    return dispute


def _move(state: State, dispute: Row, amount: int, fee: int, category: str) -> None:
    line = money.record(
        state,
        amount=amount,
        currency=dispute["currency"],
        kind="adjustment",
        category=category,
        source=dispute["id"],
        fee=fee,
        fee_words="Dispute fee",
        description=f"Chargeback {category} for {dispute['charge']}",
    )
    dispute["balance_transactions"] = [*dispute["balance_transactions"], line]


def _refuse_final(dispute: Row) -> None:
    if dispute["status"] in FINAL:
        raise wrong_state("This dispute is already closed.", "dispute_already_closed")


def update(call: Call, id_: str) -> Row:
    """POST /v1/disputes/{id}: evidence, kept or submitted."""
    dispute, params = call.state.get("dispute", id_), call.params
    _refuse_final(dispute)
    update_metadata(dispute, params.get("metadata", {}))
    dispute["evidence"] = dispute["evidence"] | params.get("evidence", {})
    details = dict(dispute["evidence_details"])
    details["has_evidence"] = any(dispute["evidence"][name] for name in EVIDENCE)
    if params.get("submit", "evidence" in params):
        details["submission_count"] += 1
        details["submission_method"] = "manual"
        warning = dispute["status"].startswith("warning")
        dispute["status"] = "warning_under_review" if warning else "under_review"
    dispute["evidence_details"] = details
    events.emit(call.state, "charge.dispute.updated", dispute)
    return dispute


def give_up(call: Call, id_: str) -> Row:
    """POST /v1/disputes/{id}/close: the platform accepts the loss."""
    return close(call.state, call.state.get("dispute", id_), "lost")


OPERATIONS = [
    Operation(
        "GET",
        "/v1/disputes",
        listing(charge=text, payment_intent=text),
        lister("dispute", "/v1/disputes", "charge", "payment_intent"),
    ),
    Operation("GET", "/v1/disputes/{id}", request(), retriever("dispute")),
    Operation(
        "POST",
        "/v1/disputes/{id}",
        request(evidence=shape(**dict.fromkeys(EVIDENCE, text)), metadata=metadata, submit=boolean),
        update,
    ),
    Operation("POST", "/v1/disputes/{id}/close", request(), give_up),
]
