"""The chart of accounts: every name that the books use, made in one place.

An account is a name and a currency; it is opened by the first posting on it.
"""

from typing import Literal

CHARGES = "clearing:charges"
REFUNDS = "clearing:refunds"
DISPUTES = "clearing:disputes"
TRANSFERS = "clearing:transfers"
PAYOUTS = "clearing:payouts"
EXCHANGE = "clearing:exchange"

PENDING = "assets:stripe:pending"
AVAILABLE = "assets:stripe:available"
RESERVED = "assets:stripe:reserved"
IN_TRANSIT = "assets:stripe:in_transit"
BANK = "assets:bank"
INPUT_TAX = "assets:tax:input"

PARKED = "liabilities:parked"  # one account for each payee below it
DEFERRED_TICKETS = "liabilities:deferred:tickets"

TIP_COMMISSION = "income:commission:tips"
TICKET_COMMISSION = "income:commission:tickets"
FEES_COVERED = "income:fees_covered"

STRIPE_FEES = "expenses:stripe_fees"
DISPUTE_FEES = "expenses:dispute_fees"
LOSSES = "expenses:losses"

SUSPENSE = "suspense"

Drawer = Literal["held", "available", "reserved", "rolling", "in_transit"]
DRAWERS: tuple[Drawer, ...] = ("held", "available", "reserved", "rolling", "in_transit")
OWING: Drawer = "available"  # the only drawer in which a host may owe us

SLOTS = 16
"""How many rows share a hot account's balance, so that postings do not queue behind each other."""


def of_host(host_id: str, drawer: Drawer) -> str:
    """The account of one drawer of a host's money."""
    return f"liabilities:host:{host_id}:{drawer}"


def parked(payee: str) -> str:
    """The account of what waits for a payee who cannot be paid yet."""
    return f"{PARKED}:{payee}"


def is_parked(name: str) -> bool:
    """Whether an account holds what waits for a payee."""
    return name.startswith(f"{PARKED}:")


def of_one(name: str) -> bool:
    """Whether an account is one payee's: a single row says what it holds."""
    return name.startswith("liabilities:host:") or is_parked(name)


def collected_tax(country: str) -> str:
    """The account of the VAT collected for a country."""
    return f"liabilities:tax:{country}"


def slots(name: str) -> int:
    """How many rows hold this account's balance: one for a host's, many for everybody's."""
    return 1 if of_one(name) else SLOTS


def may_owe(name: str) -> bool:
    """Whether it is the one drawer of a host's in which the host may owe us."""
    return name.startswith("liabilities:host:") and name.endswith(f":{OWING}")


def host_of(name: str) -> str:
    """Whose drawer it is."""
    return name.split(":")[2]


def owes_only(name: str) -> bool:
    """Whether the database must refuse to let this account become a debit (a payee owing us)."""
    return of_one(name) and not may_owe(name)
