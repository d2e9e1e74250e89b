"""Disputes: money that the bank asks back, or takes, and may give back.

    inquiry ──► open ──► closed        warning_* asks first, and takes nothing
                 │  ▲
                 ▼  │  the bank takes the money, or gives it back: Stripe's own lines say which

A dispute is a state: computed anew from each view of it that Stripe gives, in the order in which
its lines happened, whatever the order of the events.  While it is open and no inquiry, what it may
yet take is frozen.  An older view than the one that was last booked is left alone.

A charge that fails after it succeeded is money that the bank takes back as well.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import fetch
from takings.errors import NotFound
from takings.ledger import accounts
from takings.ledger.entries import Entry, moving
from takings.money import Money
from takings.payments import clawbacks, objects, returns
from takings.payments.dispute_tables import Dispute
from takings.payments.objects import CashLine, Object

FINAL: Final = frozenset({"won", "lost", "warning_closed", "prevented"})
"""Stripe's states of a dispute that is over; whatever is not here, is not."""

INQUIRY, OPEN, OVER = 1, 2, 3
"""How far a dispute is; with the number of Stripe's lines of it, views can be put in order."""

CLEARING: Mapping[str, str] = {
    "dispute": accounts.DISPUTES,
    "charge_failure": accounts.CHARGES,
}


@dataclass(frozen=True, slots=True)
class Step:
    """What a dispute is after something has happened to it."""

    what: str
    taken: int
    frozen: int
    at: datetime
    source: str | None = None


def stage(found: Object) -> int:
    """How far Stripe says that it is."""
    if found["status"] in FINAL:
        return OVER
    return INQUIRY if found["status"].startswith("warning_") else OPEN


def history(found: Object, known: Dispute, now: datetime) -> list[Step]:
    """What has happened to a dispute since it was last booked, step by step."""
    steps: list[Step] = []
    taken, frozen = known.taken, known.frozen
    inquiry = found["status"].startswith("warning_")
    if known.stage < OPEN and not inquiry:
        frozen = known.minor - taken
        steps.append(Step("opened", taken, frozen, objects.moment(found["created"]), found["id"]))
    # Within a second they come in any order: money is taken before it is given back.
    lines = sorted(found["balance_transactions"], key=lambda one: (one["created"], one["amount"]))
    for n, line in enumerate(lines[known.moves :], known.moves):
        taken = min(known.minor, max(0, taken - _amount(line, known)))
        back = line["amount"] > 0
        frozen = 0 if back else known.minor - taken
        nth = sum((one["amount"] > 0) == back for one in lines[:n]) + 1
        what = ("reinstated" if back else "withdrawn") + (f":{nth}" if nth > 1 else "")
        steps.append(Step(what, taken, frozen, objects.moment(line["created"]), line["id"]))
    if stage(found) == OVER and frozen:
        steps.append(Step("closed", taken, 0, now, found["id"]))
    return steps


def _amount(line: Object, known: Dispute) -> int:
    """A line's amount in the dispute's currency, where Stripe may settle in another."""
    if line["currency"] == known.currency:
        return int(line["amount"])
    return known.minor if line["amount"] > 0 else -known.minor


INSERT = """
INSERT INTO disputes (id, payment_id, kind, status, reason, minor, currency, taken, frozen, stage,
                      moves, due_by, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, 0, 0, $8, $9) ON CONFLICT (id) DO NOTHING
"""

AMOUNT = "UPDATE disputes SET minor = greatest($2, taken + frozen) WHERE id = $1"

SEEN = """
UPDATE disputes SET status = $2, stage = $3, moves = $4, due_by = $5,
                    closed_at = CASE WHEN $6 THEN coalesce(closed_at, $7) END
 WHERE id = $1
"""


async def heard(session: AsyncSession, found: Object, payment_id: str, now: datetime) -> None:
    """Book what has happened to a dispute, as Stripe shows it now; an older view changes nothing.

    The payment is paid; the first view makes the dispute's row, under Stripe's id.
    """
    returns.check_paid(await returns.lock(session, payment_id))
    made = objects.moment(found["created"])
    due = found["evidence_details"].get("due_by")
    due_by = objects.moment(due) if due else None
    about = (found["status"], found["reason"], found["amount"], found["currency"])
    await fetch(session, INSERT, found["id"], payment_id, "dispute", *about, due_by, made)
    known = await session.get_one(Dispute, found["id"], populate_existing=True)
    moves, far = len(found["balance_transactions"]), stage(found)
    if (moves, far) < (known.moves, known.stage):
        return
    if found["amount"] != known.minor:  # an inquiry about a part may become a dispute of all
        await fetch(session, AMOUNT, found["id"], found["amount"])
        await session.refresh(known)
    for step in history(found, known, now):
        await _book(session, known, step)
    seen = (found["status"], far, moves, due_by, far == OVER, now)
    await fetch(session, SEEN, known.id, *seen)


async def charge_failed(
    session: AsyncSession, line: CashLine, payment_id: str, now: datetime
) -> None:
    """Book that the bank took back a charge which had succeeded; Stripe's line tells it."""
    returns.check_paid(await returns.lock(session, payment_id))
    reason = line.source.get("failure_code") or "the charge failed"
    about = ("lost", reason, -line.minor, line.currency, None, line.created_at)
    await fetch(session, INSERT, line.id, payment_id, "charge_failure", *about)
    known = await session.get_one(Dispute, line.id, populate_existing=True)
    if known.moves == 0:
        await _book(session, known, Step("failed", known.minor, 0, line.created_at, line.id))
        await fetch(session, SEEN, known.id, "lost", OVER, 1, None, True, now)


STATE = """
UPDATE disputes d SET taken = $2, frozen = $3 FROM disputes was
 WHERE d.id = $1 AND was.id = d.id RETURNING d.taken - was.taken AS more
"""


async def _book(session: AsyncSession, dispute: Dispute, step: Step) -> None:
    """Book one step: freeze, take or give back; nothing is posted where no money moves."""
    [moved] = await fetch(session, STATE, dispute.id, step.taken, step.frozen)
    postings = await clawbacks.recompute(session, dispute.payment_id)
    taken = Money(moved.more, dispute.currency)
    legs = (*postings, *moving(CLEARING[dispute.kind], -taken))
    if not legs:
        return
    failure = dispute.kind == "charge_failure"
    subject = dispute.payment_id if failure else dispute.id
    entry = Entry(
        key=f"{'payment' if failure else 'dispute'}:{subject}:{step.what}",
        kind="charge_failed" if failure else f"dispute_{step.what.partition(':')[0]}",
        subject=subject,
        happened_at=step.at,
        postings=legs,
        source=step.source,
        metadata={"payment": dispute.payment_id},
    )
    await clawbacks.post(session, [entry], step.at)


async def get(session: AsyncSession, dispute_id: str) -> Dispute:
    """The dispute of this id, or NotFound."""
    dispute = await session.get(Dispute, dispute_id)
    if dispute is None:
        raise NotFound(kind="dispute", id=dispute_id)
    return dispute


PARTS = """
SELECT l.payment_id, l.id, l.kind, l.subject, l.minor + l.fees_covered AS paid,
       l.returned, l.disputed, l.frozen, p.lost
  FROM lines l JOIN payments p ON p.id = l.payment_id
 WHERE p.id = ANY($1::text[]) ORDER BY l.id
"""


async def parts(session: AsyncSession, payment_ids: Collection[str]) -> Sequence[Row[Any]]:
    """How the disputes of each payment lie on its lines, and what was lost beyond them."""
    return await fetch(session, PARTS, list(payment_ids))
