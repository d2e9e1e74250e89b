"""Payouts: money on its way to a bank, expected to arrive, and sometimes coming back."""

from functools import partial

from sandbox import events, money
from sandbox.calls import Call, Operation, lister, retriever, updater
from sandbox.errors import StripeError, insufficient, wrong_state
from sandbox.forms import choice, currency, integer, listing, metadata, request, text
from sandbox.state import PLATFORM, State
from sandbox.tables import Row

DAYS_TO_BANK = 1


def create(call: Call) -> Row:
    """POST /v1/payouts: manual, from available funds only."""
    params = call.params
    if params["amount"] < 1:
        raise StripeError("Invalid positive integer", param="amount")
    return send(call.state, call.account, params["amount"], params["currency"], given=params)


def send(
    state: State,
    account: str,
    amount: int,
    code: str,
    *,
    automatic: bool = False,
    given: Row | None = None,
) -> Row:
    """The money leaves the balance now and should be at the bank a working day later."""
    if amount > money.available(state, account, code):
        raise insufficient("You have insufficient funds in your Stripe account for this payout.")
    given = given or {}
    now = state.clock.now()
    arrival = money.midnight(now, DAYS_TO_BANK)
    payout = state.add(
        "payout",
        account,
        amount=amount,
        application_fee=None,
        application_fee_amount=None,
        arrival_date=arrival,
        automatic=automatic,
        balance_transaction=None,
        currency=code,
        description=given.get("description"),
        destination=state.new_id("ba_1"),
        failure_balance_transaction=None,
        failure_code=None,
        failure_message=None,
        metadata=given.get("metadata", {}),
        method=given.get("method", "standard"),
        original_payout=None,
        payout_method=None,
        reconciliation_status="in_progress" if automatic else "not_applicable",
        reversed_by=None,
        source_type="card",
        statement_descriptor=given.get("statement_descriptor"),
        status="pending",
        trace_id={"status": "pending", "value": None},
        type="bank_account",
    )
    line = _record(state, account, payout, amount=-amount, kind="payout", category="payout")
    payout["balance_transaction"] = line["id"]
    events.emit(state, "payout.created", payout, account=account)
    state.schedule(money.midnight(now, 0), partial(_leave, state, account, payout))
    state.schedule(arrival, partial(_arrive, state, account, payout))
    return payout


def _record(
    state: State, account: str, payout: Row, *, amount: int, kind: str, category: str
) -> Row:
    return money.record(
        state,
        account=account,
        amount=amount,
        currency=payout["currency"],
        kind=kind,
        category=category,
        source=payout["id"],
        description=payout["description"] or "STRIPE PAYOUT",
    )


def _back(state: State, account: str, payout: Row, kind: str) -> Row:
    amount = payout["amount"]
    return _record(state, account, payout, amount=amount, kind=kind, category="payout_reversal")


def _leave(state: State, account: str, payout: Row) -> None:
    if payout["status"] == "pending":
        payout["status"] = "in_transit"
        events.emit(state, "payout.updated", payout, account=account)


def _arrive(state: State, account: str, payout: Row) -> None:
    """``paid`` means expected: a failure can still follow."""
    if payout["status"] not in {"pending", "in_transit"}:
        return
    payout["status"] = "paid"
    events.emit(state, "payout.paid", payout, account=account)
    if payout["automatic"]:
        payout["reconciliation_status"] = "completed"
        events.emit(state, "payout.reconciliation_completed", payout, account=account)


def fail(state: State, account: str, payout: Row, code: str = "account_closed") -> Row:
    """The bank sends the money back, even after ``paid``."""
    if payout["status"] in {"failed", "canceled"}:
        raise wrong_state(f"Payout {payout['id']} is over.", "payout_not_open")
    line = _back(state, account, payout, "payout_failure")
    payout.update(
        failure_balance_transaction=line["id"],
        failure_code=code,
        failure_message="The bank account has been closed.",
        status="failed",
    )
    events.emit(state, "payout.failed", payout, account=account)
    return payout


def cancel(call: Call, id_: str) -> Row:
    """POST /v1/payouts/{id}/cancel: only before it has left."""
    state, account = call.state, call.account
    payout = state.get("payout", id_, account)
    if payout["status"] != "pending":
        raise wrong_state(
            f"Payouts can only be canceled while pending; this one is {payout['status']}.",
            "payout_not_cancelable",
        )
    line = _back(state, account, payout, "payout_cancel")
    payout.update(failure_balance_transaction=line["id"], status="canceled")
    events.emit(state, "payout.canceled", payout, account=account)
    return payout


def send_home(state: State, account: str, code: str) -> Row:
    """A host's automatic payout: all that is available goes to the host's own bank."""
    if account == PLATFORM:
        raise StripeError("The platform's payouts are manual.", param="account")
    amount = money.available(state, account, code)
    if amount < 1:
        raise insufficient("Nothing is available.")
    return send(state, account, amount, code, automatic=True)


OPERATIONS = [
    Operation(
        "POST",
        "/v1/payouts",
        request(
            "amount",
            "currency",
            amount=integer,
            currency=currency,
            description=text,
            metadata=metadata,
            method=choice("standard"),
            statement_descriptor=text,
        ),
        create,
    ),
    Operation(
        "GET", "/v1/payouts", listing(status=text), lister("payout", "/v1/payouts", "status")
    ),
    Operation("GET", "/v1/payouts/{id}", request(), retriever("payout")),
    Operation("POST", "/v1/payouts/{id}", request(metadata=metadata), updater("payout")),
    Operation("POST", "/v1/payouts/{id}/cancel", request(), cancel),
]
