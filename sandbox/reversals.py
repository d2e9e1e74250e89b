"""Transfer reversals: money asked back from a connected account, which may no longer have it."""

from sandbox import events, money
from sandbox.calls import Call, Operation, page
from sandbox.errors import StripeError, insufficient, missing
from sandbox.forms import boolean, integer, listing, metadata, request, text
from sandbox.state import State
from sandbox.tables import Row


def reverse(call: Call, id_: str) -> Row:
    """POST /v1/transfers/{id}/reversals: refused when the account no longer has the money."""
    state = call.state
    transfer = state.get("transfer", id_)
    left = transfer["amount"] - transfer["amount_reversed"]
    amount = call.params.get("amount", left)
    if left == 0 or not 1 <= amount <= left:
        raise StripeError(
            f"Transfer amount ({amount}) is greater than the unreversed amount ({left}).",
            param="amount",
        )
    account, code = transfer["destination"], transfer["currency"]
    if amount > money.total(state, account, code):
        raise insufficient("The connected account has insufficient funds for this reversal.")
    reversal = state.add(
        "transfer_reversal",
        amount=amount,
        balance_transaction=None,
        currency=code,
        destination_payment_refund=None,
        metadata=call.params.get("metadata", {}),
        source_refund=None,
        transfer=id_,
    )
    del reversal["livemode"]
    _book_reversal(state, transfer, reversal)
    reversals = state.table("transfer_reversal").where("transfer", id_)
    transfer["amount_reversed"] += amount
    transfer["reversed"] = transfer["amount_reversed"] == transfer["amount"]
    newest, more = reversals[:-11:-1], len(reversals) > 10
    transfer["reversals"] = page(newest, transfer["reversals"]["url"], more=more)
    events.emit(state, "transfer.reversed", transfer)
    return reversal


def _book_reversal(state: State, transfer: Row, reversal: Row) -> None:
    """The opposite lines, as available as the transfer's own are by now."""
    amount, code, account = reversal["amount"], reversal["currency"], transfer["destination"]
    sent = state.get("balance_transaction", transfer["balance_transaction"])
    line = money.record(
        state,
        amount=amount,
        currency=code,
        kind="transfer_refund",
        category="transfer_reversal",
        source=reversal["id"],
        available_on=sent["available_on"],
    )
    refund = state.add(
        "refund",
        account,
        "pyr_1",
        amount=amount,
        charge=transfer["destination_payment"],
        currency=code,
        metadata={},
        payment_intent=None,
        reason=None,
        receipt_number=None,
        source_transfer_reversal=reversal["id"],
        status="succeeded",
        transfer_reversal=None,
    )
    del refund["livemode"]
    theirs = money.record(
        state,
        account=account,
        amount=-amount,
        currency=code,
        kind="payment_refund",
        category="refund",
        source=refund["id"],
        available_on=sent["available_on"],
    )
    refund["balance_transaction"] = theirs["id"]
    payment = state.get("charge", transfer["destination_payment"], account)
    payment["amount_refunded"] += amount
    payment["refunded"] = payment["amount_refunded"] == payment["amount"]
    reversal.update(balance_transaction=line["id"], destination_payment_refund=refund["id"])


def list_reversals(call: Call, id_: str) -> Row:
    """GET /v1/transfers/{id}/reversals."""
    call.state.get("transfer", id_)
    rows, more = call.state.table("transfer_reversal").page(call.params, {"transfer": id_})
    return page(rows, f"/v1/transfers/{id_}/reversals", more=more)


def retrieve_reversal(call: Call, id_: str, reversal: str) -> Row:
    """GET /v1/transfers/{id}/reversals/{reversal}."""
    row = call.state.get("transfer_reversal", reversal)
    if row["transfer"] != id_:
        raise missing("transfer_reversal", reversal)
    return row


OPERATIONS = [
    Operation(
        "POST",
        "/v1/transfers/{id}/reversals",
        request(
            amount=integer, description=text, metadata=metadata, refund_application_fee=boolean
        ),
        reverse,
    ),
    Operation("GET", "/v1/transfers/{id}/reversals", listing(), list_reversals),
    Operation("GET", "/v1/transfers/{id}/reversals/{reversal}", request(), retrieve_reversal),
]
