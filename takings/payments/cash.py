"""Cash: Stripe's balance transactions, each booked once, by its id, and only from there.

A business event posts an obligation against a clearing account; the balance transaction posts the
cash against the same one.  Where both happened and agree, clearing is zero for that subject.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database, fetch
from takings.ledger import accounts, journal
from takings.ledger.entries import Entry, Posting, moving
from takings.money import Money
from takings.payments import clawbacks, disputes, fees, returns
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
    """What a cash line is about: ours where we know it, else Stripe's object.

    ``money`` is what our side says it is worth, where Stripe may settle in another currency;
    ``passes_fee`` whether a host bears the fee of a charge, or of a part of it.
    """

    id: str
    payment: str | None = None
    money: Money | None = None
    passes_fee: bool = False


PAYMENTS = """
SELECT p.id, p.intent_id, p.minor, p.currency,
       EXISTS (SELECT FROM lines l JOIN policies r ON r.name = l.policy
                                                  AND r.version = l.policy_version
                WHERE l.payment_id = p.id AND r.rules ->> 'fee_bearer' = 'host') AS passes_fee
  FROM payments p
 WHERE p.id = ANY($1::text[]) OR p.intent_id = ANY($2::text[])
 ORDER BY p.id FOR NO KEY UPDATE
"""

WRITE = """
INSERT INTO cash (id, category, source, subject, payment_id, currency, minor, fee, net, created_at,
                  available_on, matured_at)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                     $7::bigint[], $8::bigint[], $9::bigint[], $10::timestamptz[],
                     $11::timestamptz[], $12::timestamptz[])
 ORDER BY 1
ON CONFLICT (id) DO NOTHING
RETURNING id
"""


async def book(
    session: AsyncSession, page: Sequence[CashLine], now: datetime, *, known: bool = True
) -> int:
    """Book the lines that are new to us; answer how many that were.

    Locks the payments that the page is about, in id order, so that a fee is passed on once.
    ``known=False`` books the bare cash under Stripe's own ids: it is a fact, whatever we make of
    it, and waits in clearing to be understood.
    """
    if not page:
        return 0
    bare = {line.id: Subject(line.source_id or line.id) for line in page}
    subjects = await _subjects(session, page, now) if known else bare
    rows = ((line, subjects[line.id], now if line.available else None) for line in page)
    new = {row.id for row in await fetch(session, WRITE, *columns(map(_row, rows)))}
    fresh = [line for line in page if line.id in new]
    entries = [e for line in fresh if (e := _entry(line, subjects[line.id])) is not None]
    charged = [subjects[line.id] for line in fresh if line.category in fees.OF_A_CHARGE]
    entries += await fees.passed(session, sorted({s.id for s in charged if s.passes_fee}))
    entries += await _dispute_fees(session, fresh, subjects)
    await clawbacks.post(session, entries, now)
    return len(fresh)


async def _dispute_fees(
    session: AsyncSession, fresh: Sequence[CashLine], subjects: Mapping[str, Subject]
) -> list[Entry]:
    """The entries that pass on what Stripe took for disputes, or gave back."""
    entries: list[Entry] = []
    for line in fresh:
        payment = subjects[line.id].payment
        if line.fee and payment and TARGETS.get(line.category) == accounts.DISPUTES:
            fee = Money(line.fee, line.currency)
            entries += await fees.of_dispute(session, payment, line.id, fee, line.created_at)
    return entries


def _row(found: tuple[CashLine, Subject, datetime | None]) -> tuple[object, ...]:
    line, subject, matured_at = found
    about = (line.id, line.category, line.source_id, subject.id, subject.payment)
    money = (line.currency, line.minor, line.fee, line.net)
    return (*about, *money, line.created_at, line.available_on, matured_at)


async def _subjects(
    session: AsyncSession, page: Sequence[CashLine], now: datetime
) -> dict[str, Subject]:
    """What each line is about; what it tells of a refund or a dispute is booked here."""
    ours = {line.id: _ours(line) for line in page}
    intents = {line.id: line.source.get("payment_intent") for line in page}
    wanted = [sorted({one for one in names.values() if one}) for names in (ours, intents)]
    rows = await fetch(session, PAYMENTS, *wanted)
    by_id = {row.id: row for row in rows} | {row.intent_id: row for row in rows if row.intent_id}
    found: dict[str, Subject] = {}
    for line in page:
        row = by_id.get(ours[line.id]) or by_id.get(intents[line.id])
        found[line.id] = await _subject(session, line, row, now)
    return found


async def _subject(
    session: AsyncSession, line: CashLine, row: Row[Any] | None, now: datetime
) -> Subject:
    """What one line is about, given the payment that it concerns."""
    target, source = TARGETS.get(line.category), line.source
    about = line.source_id or line.id
    if line.category == "transfer_reversal":
        return Subject(source.get("transfer") or about)
    if row is None or target not in (accounts.CHARGES, accounts.REFUNDS, accounts.DISPUTES):
        return Subject(about, row.id if row is not None else None)
    if target == accounts.CHARGES:
        if line.category == "charge_failure":
            await disputes.charge_failed(session, line, row.id, now)
        whole = Money(row.minor, row.currency) if line.category == "charge" else None
        return Subject(row.id, row.id, whole, row.passes_fee)
    if target == accounts.REFUNDS:
        about = await returns.heard(session, source, row.id, now)
    else:
        await disputes.heard(session, source, row.id, now)
    return Subject(about, row.id, Money(source["amount"], source["currency"]))


def _ours(line: CashLine) -> str | None:
    metadata = line.source.get("metadata") or {}
    ours: str | None = metadata.get("takings_payment")
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
    if subject.money is None or subject.money.currency == line.currency:
        return moving(account, -amount)
    ours = subject.money if line.minor > 0 else -subject.money
    return (
        *moving(accounts.EXCHANGE, -amount),
        Posting(accounts.EXCHANGE, ours),
        Posting(account, -ours),
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
