"""What an operation of the API is: a method, a path, its parameters, and what it does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.account_views import legacy
from sandbox.errors import StripeError
from sandbox.forms import Shape
from sandbox.state import PLATFORM, State
from sandbox.tables import Row

KIND_OF = {  # an id says what it is
    "acct": "account",
    "ch": "charge",
    "cs": "checkout.session",
    "cus": "customer",
    "dp": "dispute",
    "pi": "payment_intent",
    "pm": "payment_method",
    "po": "payout",
    "py": "charge",
    "pyr": "refund",
    "re": "refund",
    "tr": "transfer",
    "trr": "transfer_reversal",
    "txn": "balance_transaction",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One request on its way: the memory, whose account, and parameters already read."""

    state: State
    account: str
    params: Row
    older: bool = False  # no Stripe-Version: an account of before versions were sent


@dataclass(frozen=True, slots=True)
class Operation:
    """One of Stripe's operations; ``does`` gets the call and the ids in the path."""

    method: str
    path: str
    reads: Shape
    does: Callable[..., Row]


def listed(call: Call, kind: str, url: str, *filters: str) -> Row:
    """A page of the caller's objects of one kind, filtered by the fields named."""
    wanted = {name: call.params[name] for name in filters if name in call.params}
    rows, more = call.state.table(kind, call.account).page(call.params, wanted)
    return page(rows, url, more=more)


def page(rows: list[Row], url: str, *, more: bool = False) -> Row:
    """A list object."""
    return {"object": "list", "data": rows, "has_more": more, "url": url}


def retriever(kind: str) -> Callable[..., Row]:
    """The handler that answers with one object."""

    def retrieve(call: Call, id_: str) -> Row:
        return call.state.get(kind, id_, call.account)

    return retrieve


def lister(kind: str, url: str, *filters: str) -> Callable[[Call], Row]:
    """The handler that answers with a page."""

    def list_(call: Call) -> Row:
        return listed(call, kind, url, *filters)

    return list_


def update_metadata(row: Row, changes: Mapping[str, str]) -> None:
    """Merged key by key; an empty value removes its key."""
    merged = row["metadata"] | dict(changes)
    row["metadata"] = {key: value for key, value in merged.items() if value != ""}


def updater(kind: str, *plain: str) -> Callable[..., Row]:
    """The handler that changes metadata and a few plain fields."""

    def update(call: Call, id_: str) -> Row:
        row = call.state.get(kind, id_, call.account)
        update_metadata(row, call.params.get("metadata", {}))
        row.update({name: call.params[name] for name in plain if name in call.params})
        return row

    return update


def expand(call: Call, answer: Row, paths: list[str]) -> Row:
    """The answer with the ids at those paths replaced by their objects; stored rows untouched."""
    for path in paths:
        answer = _expanded(call, answer, path.split("."), path)
    return answer


def _expanded(call: Call, row: Row, steps: list[str], path: str) -> Row:
    name, rest = steps[0], steps[1:]
    value = row.get(name)
    if isinstance(value, str):
        value = _found(call, value, row.get("destination"))
    elif value is None:
        value = _included(call.state, row, name)
    if value is None:
        if name not in row:
            raise StripeError(f"This property cannot be expanded ({path}).", param="expand")
        return row
    if rest and isinstance(value, list):
        value = [_expanded(call, entry, rest, path) for entry in value]
    elif rest and isinstance(value, dict):
        value = _expanded(call, value, rest, path)
    return {**row, name: value}


def _found(call: Call, id_: str, other: Any) -> Any:
    """The object of that id: the caller's, the platform's, or the other account's."""
    kind = KIND_OF.get(id_.split("_", 1)[0], "")
    for account in (call.account, PLATFORM, other):
        table = call.state.tables.get((account, kind))
        found = table.get(id_) if table else None
        if found is not None:
            return legacy(found) if kind == "account" else found
    return id_


def _included(state: State, row: Row, name: str) -> Row | None:
    """Lists that Stripe leaves out until they are asked for."""
    if (row["object"], name) == ("charge", "refunds"):
        refunds = state.table("refund").where("charge", row["id"])
        return page(refunds[:-11:-1], f"/v1/charges/{row['id']}/refunds", more=len(refunds) > 10)
    if (row["object"], name) == ("checkout.session", "line_items"):
        items = state.line_items[row["id"]]
        return page(items, f"/v1/checkout/sessions/{row['id']}/line_items")
    return None
