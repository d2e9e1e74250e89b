"""Transfers: from the platform's balance to a connected account's, and back again."""

from sandbox import accounts, events, money
from sandbox.calls import Call, Operation, lister, page, updater
from sandbox.charges import blank
from sandbox.errors import StripeError, insufficient, missing, wrong_state
from sandbox.forms import currency, integer, listing, metadata, request, text
from sandbox.state import PLATFORM, State
from sandbox.tables import Row


def create(call: Call) -> Row:
    """POST /v1/transfers: from available funds, or tied to a charge whose funds may be pending."""
    state, params = call.state, call.params
    amount, code, destination = params.get("amount", 0), params["currency"], params["destination"]
    account = state.table("account").get(destination)
    if account is None:
        raise missing("destination", destination, param="destination", status=400)
    if accounts.transfers_status(account) != "active":
        raise StripeError(
            "Your destination account needs to have at least one of the following capabilities "
            "enabled: transfers, crypto_transfers, legacy_payments",
            code="insufficient_capabilities_for_transfer",
        )
    if amount < 1:
        raise StripeError("Invalid positive integer", param="amount")
    charge = _source(state, params)
    available_on = _covered(state, amount, code, charge)
    transfer = state.add(
        "transfer",
        amount=amount,
        amount_reversed=0,
        balance_transaction=None,
        currency=code,
        description=params.get("description"),
        destination=destination,
        destination_payment=None,
        metadata=params.get("metadata", {}),
        reversals=None,
        reversed=False,
        source_transaction=charge["id"] if charge else None,
        source_type="card",
        transfer_group=params.get("transfer_group") or _group(charge),
    )
    transfer["reversals"] = page([], f"/v1/transfers/{transfer['id']}/reversals")
    _book(state, transfer, available_on)
    events.emit(state, "transfer.created", transfer)
    return transfer


def _source(state: State, params: Row) -> Row | None:
    if "source_transaction" not in params:
        return None
    charge = state.get("charge", params["source_transaction"], param="source_transaction")
    if charge["balance_transaction"] is None:
        raise wrong_state(f"Charge {charge['id']} has no funds yet.", "charge_not_settled")
    if charge["currency"] != params["currency"]:
        raise StripeError(
            f"The currency of source_transaction's balance transaction ({charge['currency']}) "
            f"must be the same as the transfer currency ({params['currency']})",
            param="currency",
        )
    return charge


def _covered(state: State, amount: int, code: str, charge: Row | None) -> int:
    """When the money may move, if there is enough of it."""
    if charge is None:
        if amount > money.available(state, PLATFORM, code):
            raise insufficient("You have insufficient available funds in your Stripe account.")
        return state.clock.now()
    used = state.sent_from[charge["id"]]
    if used + amount > charge["amount_captured"]:
        raise StripeError(
            "Transfers using this transaction as a source must not exceed the source amount of "
            f"{charge['amount_captured']}. (Remaining: {charge['amount_captured'] - used})",
            param="amount",
        )
    state.sent_from[charge["id"]] += amount
    line = state.get("balance_transaction", charge["balance_transaction"])
    return int(line["available_on"])


def _group(charge: Row | None) -> str | None:
    if charge is None:
        return None
    return charge["transfer_group"] or f"group_{charge['payment_intent']}"


def _book(state: State, transfer: Row, available_on: int) -> None:
    """One line here, and there a payment with a line of its own."""
    amount, code, account = transfer["amount"], transfer["currency"], transfer["destination"]
    line = money.record(
        state,
        amount=-amount,
        currency=code,
        kind="transfer",
        category="transfer",
        source=transfer["id"],
        available_on=available_on,
        description=transfer["description"],
    )
    payment = state.add(
        "charge",
        account,
        "py_1",
        **blank(amount, code),
        calculated_statement_descriptor=None,
        customer=None,
        description=transfer["description"],
        metadata={},
        payment_intent=None,
        receipt_email=None,
        transfer_group=None,
    )
    theirs = money.record(
        state,
        account=account,
        amount=amount,
        currency=code,
        kind="payment",
        category="charge",
        source=payment["id"],
        available_on=available_on,
    )
    payment.update(balance_transaction=theirs["id"], source_transfer=transfer["id"])
    transfer.update(balance_transaction=line["id"], destination_payment=payment["id"])


def update(call: Call, id_: str) -> Row:
    """POST /v1/transfers/{id}, told by transfer.updated."""
    transfer = updater("transfer", "description")(call, id_)
    events.emit(call.state, "transfer.updated", transfer, before={})
    return transfer


def retrieve(call: Call, id_: str) -> Row:
    """GET /v1/transfers/{id}."""
    return call.state.get("transfer", id_)


OPERATIONS = [
    Operation(
        "POST",
        "/v1/transfers",
        request(
            "currency",
            "destination",
            amount=integer,
            currency=currency,
            description=text,
            destination=text,
            metadata=metadata,
            source_transaction=text,
            transfer_group=text,
        ),
        create,
    ),
    Operation(
        "GET",
        "/v1/transfers",
        listing(destination=text, transfer_group=text),
        lister("transfer", "/v1/transfers", "destination", "transfer_group"),
    ),
    Operation("GET", "/v1/transfers/{id}", request(), retrieve),
    Operation("POST", "/v1/transfers/{id}", request(description=text, metadata=metadata), update),
]
