"""Payouts to banks, as Stripe tells of them: the platform's own are booked, a host's only shown.

    asked ──► pending ──► in_transit ──► paid      which means: expected to arrive
      │          │             │           │
      ▼          ▼             └─────┬─────┘
    refused   canceled            failed           the money is back at Stripe

A payout goes back and forth: it is fetched, never believed from an event.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database, fetch
from takings.errors import NotFound
from takings.ledger import accounts, journal
from takings.ledger.checks import Check
from takings.ledger.entries import Entry, Posting
from takings.money import Money
from takings.payments import asks
from takings.payments.facts import Overtaken, Reader, Readers, Told
from takings.payments.objects import Object, moment
from takings.payments.stripe import Stripe

NAMED: Final = "takings_bank_payout"
"""Under which of a payout's metadata our id of it stands."""

BACK: Final = frozenset({"failed", "canceled"})
"""What Stripe calls a payout whose money has come back."""


@dataclass(frozen=True, slots=True)
class View:
    """A payout as Stripe showed it, and which version of its row that is to replace."""

    payout: Object
    host: str | None
    replaces: str | None
    at: datetime


HOST = "SELECT id FROM hosts WHERE stripe_account = $1"

# The version is PostgreSQL's own: it changes with every update of the row, and with nothing else.
KNOWN = "SELECT xmin::text AS version FROM bank_payouts WHERE stripe_id = $1"


async def learn(database: Database, door: Stripe, told: Told) -> View:
    """Fetch the payout that an event is about."""
    host = None
    if told.account is not None:
        rows = await database.fetch(HOST, told.account)
        if not rows:
            raise NotFound(kind="host with the account", id=told.account)
        host = rows[0].id
    payout = told.object["id"]
    known = await database.fetch(KNOWN, payout)
    found = await door.fetch("payouts", payout, account=told.account)
    return View(found, host, known[0].version if known else None, told.at)


LOCK = """
SELECT id, stripe_id, xmin::text AS version FROM bank_payouts
 WHERE stripe_id = $1 OR (id = $2 AND stripe_id IS NULL) FOR NO KEY UPDATE
"""

INSERT = """
INSERT INTO bank_payouts (id, stripe_id, host_id, minor, currency, status, failure, arrives_on,
                          created_at, updated_at)
VALUES ($1, $1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING RETURNING id
"""

UPDATE = """
UPDATE bank_payouts
   SET stripe_id = $2, status = $3, failure = $4, arrives_on = $5, updated_at = $6 WHERE id = $1
"""


async def book(session: AsyncSession, view: View, now: datetime) -> None:
    """Note how a payout is, and book it where it is the platform's own; raises Overtaken."""
    found = view.payout
    ours = (found["metadata"] or {}).get(NAMED) if view.host is None else None
    rows = await fetch(session, LOCK, found["id"], ours)
    shown = (found["status"], found["failure_code"], moment(found["arrival_date"]).date())
    if not rows:
        created = moment(found["created"])
        new = (found["id"], view.host, found["amount"], found["currency"], *shown, created, now)
        if not await fetch(session, INSERT, *new):
            raise Overtaken(id=found["id"])
    else:
        row = rows[0]
        if row.stripe_id is not None and row.version != view.replaces:
            raise Overtaken(id=found["id"])
        await fetch(session, UPDATE, row.id, found["id"], *shown, now)
        await asks.answered(session, f"platform_payout:{row.id}", now)
    if view.host is None:
        await journal.post(session, _entries(found, view.at))


def _entries(payout: Object, at: datetime) -> Iterator[Entry]:
    """What the platform's own payout does to the books: it leaves Stripe, and may come back."""
    minor, currency = payout["amount"], payout["currency"]
    ends = [("created", minor, moment(payout["created"]))]
    if payout["status"] in BACK:
        ends.append(("failed", -minor, at))
    for end, moved, happened_at in ends:
        yield Entry(
            key=f"platform_payout:{payout['id']}:{end}",
            kind=f"platform_payout_{end}",
            subject=payout["id"],
            happened_at=happened_at,
            postings=(
                Posting(accounts.IN_TRANSIT, Money(moved, currency)),
                Posting(accounts.PAYOUTS, Money(-moved, currency)),
            ),
            source=payout["id"],
        )


TYPES: Final = ("created", "updated", "paid", "failed", "canceled", "reconciliation_completed")
READERS: Readers = {f"payout.{kind}": Reader(learn, book) for kind in TYPES}

BOOKED = """
SELECT coalesce(b.stripe_id, k.payout) AS guilty,
       CASE WHEN b.id IS NULL THEN 'booked, but not known' WHEN k.payout IS NULL THEN 'not booked'
            ELSE format('it is %s, and %s', b.status,
                        CASE WHEN k.failed THEN 'booked as failed'
                             ELSE 'not booked as failed' END) END AS why
  FROM (SELECT * FROM bank_payouts WHERE host_id IS NULL AND stripe_id IS NOT NULL) b
  FULL JOIN (SELECT split_part(key, ':', 2) AS payout, bool_or(key LIKE '%:failed') AS failed
               FROM entry_keys WHERE key LIKE 'platform_payout:%' GROUP BY 1) k
    ON k.payout = b.stripe_id
 WHERE b.id IS NULL OR k.payout IS NULL OR k.failed <> (b.status IN ('failed', 'canceled'))
"""

CHECKS = (Check("platform payouts", "The platform's own payouts are booked as they are.", BOOKED),)
