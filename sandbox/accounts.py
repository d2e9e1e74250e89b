"""Connected accounts (v2 recipients): who may be sent money, and how far their papers are."""

from urllib.parse import urlencode

from sandbox import events
from sandbox.account_views import legacy, shown
from sandbox.calls import Call, Operation, update_metadata
from sandbox.errors import StripeError, no_access
from sandbox.forms import (
    Reader,
    array,
    boolean,
    choice,
    currency,
    integer,
    metadata,
    shape,
    text,
)
from sandbox.state import State, iso
from sandbox.tables import Row

STATUSES = ("active", "pending", "rejected", "restricted", "unsupported")
CAPABILITY_CHANGED = "v2.core.account[configuration.recipient].capability_status_updated"
LINK_LIVES = 5 * 60
APPLICATION = "ca_SandboxPlatform"


def create(call: Call) -> Row:
    """POST /v2/core/accounts: a recipient starts restricted, until its papers are in."""
    params, state = call.params, call.state
    if "recipient" in params.get("configuration", {}) and "contact_email" not in params:
        raise StripeError("A recipient needs a contact_email.", param="contact_email")
    account = state.add(
        "account",
        applied_configurations=["recipient"],
        closed=False,
        deauthorized=False,
        contact_email=params.get("contact_email"),
        contact_phone=params.get("contact_phone"),
        country=params.get("identity", {}).get("country", "us"),
        currency=params.get("defaults", {}).get("currency", "usd"),
        dashboard=params.get("dashboard"),
        display_name=params.get("display_name"),
        metadata=params.get("metadata", {}),
        status="restricted" if _requested(params) else None,
    )
    events.notify(state, "v2.core.account.created", account["id"])
    return shown(account, params.get("include", []))


def _requested(params: Row) -> bool:
    recipient = params.get("configuration", {}).get("recipient", {})
    balance = recipient.get("capabilities", {}).get("stripe_balance", {})
    return bool(balance.get("stripe_transfers", {}).get("requested"))


def transfers_status(account: Row) -> str | None:
    """The stripe_transfers capability: only an active one can be sent money."""
    return None if account["closed"] or account["deauthorized"] else account["status"]


def set_capability(state: State, account: Row, status: str) -> Row:
    """Stripe has decided about the account's papers; the platform is notified both ways."""
    if status not in STATUSES:
        raise StripeError(f"A capability is one of {', '.join(STATUSES)}", param="status")
    account["status"] = status
    data = {"updated_capability": "stripe_balance.stripe_transfers"}
    events.notify(state, CAPABILITY_CHANGED, account["id"], data)
    events.notify(state, "v2.core.account[requirements].updated", account["id"])
    events.emit(state, "account.updated", legacy(account), account=account["id"])
    return account


def retrieve(call: Call, id_: str) -> Row:
    """GET /v2/core/accounts/{id}."""
    account = call.state.get("account", id_)
    if account["deauthorized"]:
        raise no_access()
    return shown(account, call.params.get("include", []))


def list_accounts(call: Call) -> Row:
    """GET /v2/core/accounts: pages are followed by their url."""
    limit, start = call.params.get("limit", 20), call.params.get("page", 0)
    closed = call.params.get("closed", False)
    table = call.state.table("account")
    mine = [row for row in reversed(table.rows) if not row["deauthorized"]]
    rows = [row for row in mine if row["closed"] == closed]
    found = rows[start : start + limit]
    query = urlencode({"limit": limit, "page": start + limit})
    more = len(rows) > start + limit
    return {
        "data": [shown(row, []) for row in found],
        "next_page_url": f"/v2/core/accounts?{query}" if more else None,
        "previous_page_url": None,
    }


def update(call: Call, id_: str) -> Row:
    """POST /v2/core/accounts/{id}."""
    account, params = call.state.get("account", id_), call.params
    update_metadata(account, params.get("metadata", {}))
    for name in ("contact_email", "contact_phone", "dashboard", "display_name"):
        account[name] = params.get(name, account[name])
    if _requested(params) and account["status"] is None:
        account["status"] = "restricted"
    events.notify(call.state, "v2.core.account.updated", id_)
    return shown(account, params.get("include", []))


def close(call: Call, id_: str) -> Row:
    """POST /v2/core/accounts/{id}/close: no money goes there any more."""
    return shown(shut(call.state, call.state.get("account", id_)), [])


def shut(state: State, account: Row) -> Row:
    """The account is closed, by the platform, by its owner or by Stripe."""
    account["closed"] = True
    events.notify(state, "v2.core.account.closed", account["id"])
    return account


def deauthorize(state: State, account: Row) -> Row:
    """The account's owner leaves the platform, which is told and has no access any more."""
    account["deauthorized"] = True
    application = {"id": APPLICATION, "object": "application", "name": "The platform"}
    events.emit(state, "account.application.deauthorized", application, account=account["id"])
    return account


def retrieve_legacy(call: Call, id_: str) -> Row:
    """GET /v1/accounts/{id}."""
    return legacy(call.state.get("account", id_))


def link(call: Call) -> Row:
    """POST /v2/core/account_links: a page where the host hands in the papers."""
    state, params = call.state, call.params
    account = state.get("account", params["account"], param="account")
    if account["closed"] or account["deauthorized"]:
        raise StripeError(f"The account {account['id']} cannot be operated on.", param="account")
    use = params["use_case"]
    onward = use.get(use["type"], {}).get("return_url", "")
    return {
        "object": "v2.core.account_link",
        "account": account["id"],
        "created": iso(state.clock.now()),
        "expires_at": iso(state.clock.now() + LINK_LIVES),
        "livemode": False,
        "url": f"{state.url}/onboard/{account['id']}?{urlencode({'return_url': onward})}",
        "use_case": use,
    }


TRANSFERS = shape(stripe_transfers=shape("requested", requested=boolean))
RECIPIENT = shape(capabilities=shape(stripe_balance=TRANSFERS))
RESPONSIBILITIES = shape(
    fees_collector=choice("application"), losses_collector=choice("application")
)
WORDS: dict[str, Reader] = {
    "configuration": shape(recipient=RECIPIENT),
    "contact_email": text,
    "contact_phone": text,
    "dashboard": choice("express", "full", "none"),
    "defaults": shape(currency=currency, responsibilities=RESPONSIBILITIES),
    "display_name": text,
    "identity": shape(country=text, entity_type=text),
    "include": array(text),
    "metadata": metadata,
}
USE = shape(
    "refresh_url",
    refresh_url=text,
    return_url=text,
    collection_options=shape(fields=text, future_requirements=text),
)
LINK = shape(
    "account",
    "use_case",
    account=text,
    use_case=shape(
        "type",
        type=choice("account_onboarding", "account_update"),
        account_onboarding=USE,
        account_update=USE,
    ),
)

OPERATIONS = [
    Operation("POST", "/v2/core/accounts", shape(**WORDS), create),
    Operation(
        "GET",
        "/v2/core/accounts",
        shape(applied_configurations=array(text), closed=boolean, limit=integer, page=integer),
        list_accounts,
    ),
    Operation("GET", "/v2/core/accounts/{id}", shape(include=array(text)), retrieve),
    Operation("POST", "/v2/core/accounts/{id}", shape(**WORDS), update),
    Operation(
        "POST",
        "/v2/core/accounts/{id}/close",
        shape(applied_configurations=array(text)),
        close,
    ),
    Operation("POST", "/v2/core/account_links", LINK, link),
    Operation("GET", "/v1/accounts/{id}", shape(expand=array(text)), retrieve_legacy),
]
