"""Cash: Stripe's balance transactions, each booked once, by its id, and only from there.

A business event posts an obligation against a clearing account; the balance transaction posts the
cash against the same one.  Where both happened and agree, clearing is zero for that subject.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database, fetch
from takings.ledger import accounts, journal
from takings.ledger.entries import Entry, Posting, moving
from takings.money import Money
from takings.payments import fees, refunds
from takings.payments.allotments import columns
from takings.payments.objects import CashLine

TARGETS: Mapping[str, str] = {
    "charge": accounts.CHARGES,
    "charge_failure": accounts.CHARGES,
    "partial_capture_reversal": accounts.CHARGES,
    "refund": accounts.REFUNDS,
    "refund_failure": accounts.REFUNDS,
    "dispute": accounts.DISPUTES,
    "dispute_reversal": accounts.DISPUTES,
    "transfer": accounts.TRANSFERS,
    "transfer_reversal": accounts.TRANSFERS,
    "payout": accounts.PAYOUTS,
    "payout_reversal": accounts.PAYOUTS,
    "fee": accounts.STRIPE_FEES,
    "network_cost": accounts.STRIPE_FEES,
    "tax": accounts.INPUT_TAX,
    "connect_reserved_funds": accounts.RESERVED,
    "risk_reserved_funds": accounts.RESERVED,
    "payment_network_reserve_hold": accounts.RESERVED,
    "payment_network_reserve_release": accounts.RESERVED,
    "payout_minimum_balance_hold": accounts.RESERVED,
    "payout_minimum_balance_release": accounts.RESERVED,
}
"""By Stripe's reporting category; whatever is not here goes to suspense, and nobody guesses."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a cash line is about: ours where we know it, else Stripe's object."""

    id: str
    charged: Money | None = None


PAYMENTS = """
SELECT p.id, p.intent_id, p.minor, p.currency FROM payments p
 WHERE p.id = ANY($1::text[]) OR p.intent_id = ANY($2::text[])
 ORDER BY p.id FOR NO KEY UPDATE
"""

WRITE = """
INSERT INTO cash (id, category, source, subject, currency, minor, fee, net, created_at,
                  available_on, matured_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[],
                     $7::bigint[], $8::bigint[], $9::timestamptz[], $10::timestamptz[],
                     $11::timestamptz[])
 ORDER BY 1
ON CONFLICT (id) DO NOTHING
RETURNING id
"""


async def book(session: AsyncSession, page: Sequence[CashLine], now: datetime) -> int:
    """Book the lines that are new to us; answer how many that were.

    Locks the payments that the page is about, in id order, so that a fee is passed on once.
    """
    subjects = await _subjects(session, page, now)
    rows = (
        (
            line.id,
            line.category,
            line.source_id,
            subjects[line.id].id,
            line.currency,
            line.minor,
            line.fee,
            line.net,
            line.created_at,
            line.available_on,
            now if line.available else None,
        )
        for line in page
    )
    new = {row.id for row in await fetch(session, WRITE, *columns(rows))} if page else set()
    fresh = [line for line in page if line.id in new]
    entries = [e for line in fresh if (e := _entry(line, subjects[line.id])) is not None]
    charged = sorted({subjects[line.id].id for line in fresh if line.category == "charge"})
    entries += await fees.passed(session, charged)
    await journal.post(session, entries)
    return len(fresh)


async def _subjects(
    session: AsyncSession, page: Sequence[CashLine], now: datetime
) -> dict[str, Subject]:
    """What each line is about; a refund made at Stripe without us gets its row here."""
    ours = [_ours(line, "takings_payment") for line in page]
    intents = [line.source.get("payment_intent") for line in page]
    known = await fetch(
        session, PAYMENTS, sorted({o for o in ours if o}), sorted({i for i in intents if i})
    )
    by_id = {row.id: row for row in known} | {row.intent_id: row for row in known}
    found: dict[str, Subject] = {}
    for line, payment, intent in zip(page, ours, intents, strict=True):
        row = by_id.get(payment) or by_id.get(intent)
        target = TARGETS.get(line.category)
        subject = line.source_id or line.id
        if target == accounts.REFUNDS and row is not None:
            subject = await refunds.known(session, line.source, row.id, now)
        elif target == accounts.CHARGES and row is not None:
            found[line.id] = Subject(row.id, Money(row.minor, row.currency))
            continue
        elif line.category == "transfer_reversal":
            subject = line.source.get("transfer") or subject
        found[line.id] = Subject(subject)
    return found


def _ours(line: CashLine, name: str) -> str | None:
    metadata = line.source.get("metadata") or {}
    ours: str | None = metadata.get(name)
    return ours


def _entry(line: CashLine, subject: Subject) -> Entry | None:
    """A line's entry, with Stripe's own signs; None where nothing moved."""
    where = accounts.AVAILABLE if line.available else accounts.PENDING
    disputed = TARGETS.get(line.category) == accounts.DISPUTES
    fee_account = accounts.DISPUTE_FEES if disputed else accounts.STRIPE_FEES
    postings = (
        *moving(where, Money(line.net, line.currency)),
        *moving(fee_account, Money(line.fee, line.currency)),
        *_target(line, subject),
    )
    if not postings:
        return None
    return Entry(
        key=f"txn:{line.id}",
        kind="cash",
        subject=subject.id,
        happened_at=line.created_at,
        postings=postings,
        source=line.source_id,
        metadata={"category": line.category},
    )


def _target(line: CashLine, subject: Subject) -> tuple[Posting, ...]:
    """The other side: clearing, through the exchange where Stripe settled in another currency."""
    account = TARGETS.get(line.category, accounts.SUSPENSE)
    amount = Money(line.minor, line.currency)
    if subject.charged is None or subject.charged.currency == line.currency:
        return moving(account, -amount)
    return (
        *moving(accounts.EXCHANGE, -amount),
        Posting(accounts.EXCHANGE, subject.charged),
        Posting(account, -subject.charged),
    )


RIPE = """
SELECT id, subject, currency, net, available_on FROM cash
 WHERE matured_at IS NULL AND available_on <= $1
 ORDER BY available_on, id LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED
"""

MATURED = "UPDATE cash SET matured_at = $2 WHERE id = ANY($1::text[])"


async def mature(database: Database, *, now: datetime, batch: int = 500) -> int:
    """Move what Stripe has made available by now from pending to available; answer how many."""

    async def step(session: AsyncSession) -> int:
        rows = await fetch(session, RIPE, now, batch)
        entries = [
            Entry(
                key=f"txn:{row.id}:available",
                kind="available",
                subject=row.subject,
                happened_at=row.available_on,
                postings=(
                    Posting(accounts.AVAILABLE, Money(row.net, row.currency)),
                    Posting(accounts.PENDING, Money(-row.net, row.currency)),
                ),
                source=row.id,
            )
            for row in rows
            if row.net
        ]
        await journal.post(session, entries)
        await fetch(session, MATURED, [row.id for row in rows], now)
        return len(rows)

    done = 0
    while moved := await database.run(step):
        done += moved
    return done
