"""Balance transactions: Stripe's own ledger lines.  A balance is nothing but their sum."""

from sandbox import events
from sandbox.calls import Call, Operation, listed, retriever
from sandbox.errors import StripeError
from sandbox.forms import currency, listing, request, text
from sandbox.state import PLATFORM, Balance, State
from sandbox.tables import Row

DAY = 86_400


def record(
    state: State,
    *,
    amount: int,
    currency: str,
    kind: str,
    category: str,
    source: str,
    account: str = PLATFORM,
    fee: int = 0,
    fee_words: str = "Stripe processing fees",
    available_on: int | None = None,
    description: str | None = None,
) -> Row:
    """A new line in an account's ledger; its balance moves by the net, now or when available."""
    now = state.clock.now()
    available_on = now if available_on is None else max(available_on, now)
    details = [
        {
            "amount": fee,
            "application": None,
            "currency": currency,
            "description": fee_words,
            "type": "stripe_fee",
        }
    ]
    line = state.add(
        "balance_transaction",
        account,
        amount=amount,
        available_on=available_on,
        balance_type="payments",
        currency=currency,
        description=description,
        exchange_rate=None,
        fee=fee,
        fee_details=details if fee else [],
        net=amount - fee,
        reporting_category=category,
        source=source,
        status="available" if available_on <= now else "pending",
        type=kind,
    )
    del line["livemode"]  # the one object that does not say
    balance = state.balances[account][currency]
    if line["status"] == "available":
        balance.available += line["net"]
    else:
        balance.pending += line["net"]
        _mature_later(state, account, line)
    return line


def _mature_later(state: State, account: str, line: Row) -> None:
    """All of an account's lines that become available at one moment do so together."""
    key = (account, line["available_on"])
    if key not in state.maturing:
        state.maturing[key] = []
        state.schedule(line["available_on"], lambda: _mature(state, *key))
    state.maturing[key].append(line)


def _mature(state: State, account: str, moment: int) -> None:
    for line in state.maturing.pop((account, moment)):
        line["status"] = "available"
        balance = state.balances[account][line["currency"]]
        balance.pending -= line["net"]
        balance.available += line["net"]
    events.emit(state, "balance.available", of(state, account), account=account)


def midnight(moment: int, days: int) -> int:
    """The first midnight (UTC) after that many whole days: when Stripe makes money available."""
    return (moment // DAY + 1 + days) * DAY


def available(state: State, account: str, currency: str) -> int:
    """What the account may spend now."""
    return state.balances[account][currency].available


def total(state: State, account: str, currency: str) -> int:
    """What the account has, available or on its way."""
    balance = state.balances[account][currency]
    return balance.available + balance.pending


def of(state: State, account: str) -> Row:
    """The account's balance, in Stripe's shape."""
    balances = state.balances[account] or {"usd": Balance()}
    return {
        "object": "balance",
        "livemode": False,
        "available": [_part(code, b.available) for code, b in sorted(balances.items())],
        "pending": [_part(code, b.pending) for code, b in sorted(balances.items())],
    }


def _part(currency: str, amount: int) -> Row:
    return {"amount": amount, "currency": currency, "source_types": {"card": amount}}


def retrieve_balance(call: Call) -> Row:
    """GET /v1/balance."""
    return of(call.state, call.account)


def retrieve_settings(call: Call) -> Row:
    """GET /v1/balance_settings: above all, whether Stripe pays out by itself."""
    settings = call.state.settings
    interval = settings.payout_interval if call.account == PLATFORM else "daily"
    return {
        "object": "balance_settings",
        "payments": {
            "debit_negative_balances": False,
            "payouts": {
                "automatic_transfer_rules_by_currency": {},  # null breaks the SDK
                "minimum_balance_by_currency": None,
                "schedule": {"interval": interval},
                "statement_descriptor": None,
                "status": "enabled",
            },
            "settlement_timing": {"delay_days": settings.days_to_available},
        },
    }


def list_transactions(call: Call) -> Row:
    """GET /v1/balance_transactions; a manual payout cannot be itemised, as at Stripe."""
    if "payout" in call.params:
        payout = call.state.get("payout", call.params["payout"], call.account, param="payout")
        if not payout["automatic"]:
            raise StripeError(
                "Balance transaction history can only be filtered on automatic transfers, not "
                "manual.",
                param="payout",
            )
        call.params["source"] = payout["id"]  # the line that paid it out; its parts are not kept
    url = "/v1/balance_transactions"
    return listed(call, "balance_transaction", url, "source", "type", "currency")


OPERATIONS = [
    Operation("GET", "/v1/balance", request(), retrieve_balance),
    Operation("GET", "/v1/balance_settings", request(), retrieve_settings),
    Operation(
        "GET",
        "/v1/balance_transactions",
        listing(type=text, source=text, currency=currency, payout=text),
        list_transactions,
    ),
    Operation("GET", "/v1/balance_transactions/{id}", request(), retriever("balance_transaction")),
]
