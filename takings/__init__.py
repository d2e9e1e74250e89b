"""Takings: tips, ticketed Spaces and fair splits, on books that check themselves.

What an application needs, it takes from here and from ``tipping``: values and errors by name, the
rest through its module (``journal.post``, ``spaces.schedule``).  These names stay; what is not
among them may change with any version.  docs/library.md shows how they are used.
"""

from takings import books, database, embedded, money, payments, policies, spaces
from takings.commission import FeeSchedule, Tier
from takings.database import Database
from takings.errors import (
    Conflict,
    Corrupt,
    Invalid,
    NotFound,
    Refused,
    TakingsError,
    Unavailable,
)
from takings.ledger import accounts, balances, checks, journal
from takings.ledger.entries import Entry, Posting
from takings.money import Money
from takings.payments import (
    cash,
    disputes,
    previews,
    receipts,
    refunds,
    releases,
    stripe,
    sweeps,
    webhooks,
)
from takings.payments.stripe import Stripe
from takings.payouts import batches, onboarding, plans
from takings.policies.presets import PRESETS
from takings.policies.rules import Policy, Terms
from takings.spaces import agreements, hosts, stages
from takings.spaces.agreements import Share

__all__ = [
    "PRESETS",
    "Conflict",
    "Corrupt",
    "Database",
    "Entry",
    "FeeSchedule",
    "Invalid",
    "Money",
    "NotFound",
    "Policy",
    "Posting",
    "Refused",
    "Share",
    "Stripe",
    "TakingsError",
    "Terms",
    "Tier",
    "Unavailable",
    "accounts",
    "agreements",
    "balances",
    "batches",
    "books",
    "cash",
    "checks",
    "database",
    "disputes",
    "embedded",
    "hosts",
    "journal",
    "money",
    "onboarding",
    "payments",
    "plans",
    "policies",
    "previews",
    "receipts",
    "refunds",
    "releases",
    "spaces",
    "stages",
    "stripe",
    "sweeps",
    "webhooks",
]
