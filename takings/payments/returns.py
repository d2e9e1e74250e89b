"""Returns: what goes back of a payment, reserved on its lines and booked once, whoever tells of it.

    asked ──► booked ──► failed        booked once Stripe knows it, whoever tells us first
      └─────► refused                  Stripe said no: nothing was booked, nothing is reserved

Booking takes from every share its exact part of all that has come back so far (``clawbacks.py``).
How a refund of ours is asked for stands in ``refunds.py``.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import splits
from takings.database import fetch
from takings.errors import Conflict, NotFound, Refused
from takings.ledger import accounts
from takings.ledger.entries import Entry, Posting
from takings.money import Money
from takings.payments import allotments, asks, clawbacks, fees, objects
from takings.payments.objects import Object

GONE = frozenset({"failed", "canceled"})
"""Stripe's states of a refund whose money came back."""


class NotPaid(Conflict):
    """The payment {id} is {state}: there is nothing to refund yet.

    Wait until it is paid.
    """


class RefundTooLarge(Refused):
    """{amount} is more than the {left} that can still be refunded of {of}.

    Refund at most what is left; what is being refunded right now counts as gone.
    """

    param = "amount"


PAYMENT = """
SELECT id, state, currency, intent_id FROM payments WHERE id = $1 FOR NO KEY UPDATE
"""


async def lock(session: AsyncSession, payment_id: str) -> Row[Any]:
    """The payment, locked before its refunds and lines: the order in which everyone takes them."""
    rows = await fetch(session, PAYMENT, payment_id)
    if not rows:
        raise NotFound(kind="payment", id=payment_id)
    return rows[0]


def check_paid(payment: Row[Any]) -> None:
    """Nothing happens if there is money that can go back; else NotPaid."""
    if payment.state != "paid":
        raise NotPaid(id=payment.id, state=payment.state, intent=payment.intent_id)


LEFT = """
SELECT l.id, l.refunding, left_over AS unreturned,
       greatest(0, left_over - l.disputed - l.frozen) AS returnable,
       greatest(0, left_over - l.disputed - l.frozen
         - CASE WHEN r.rules ->> 'refund_fee_bearer' = 'listener' THEN l.fees_covered ELSE 0 END)
         AS refundable
  FROM lines l JOIN policies r ON r.name = l.policy AND r.version = l.policy_version,
       LATERAL (SELECT l.minor + l.fees_covered - l.returned - l.refunding AS left_over) AS o
 WHERE l.payment_id = $1 ORDER BY l.id FOR NO KEY UPDATE OF l
"""


async def lines_left(session: AsyncSession, payment: Row[Any]) -> Sequence[Row[Any]]:
    """The lines of a paid payment, locked, and what each has left; NotPaid if it is not paid.

    ``unreturned`` is all that no refund has returned, though the bank may have taken it or ask for
    it; ``returnable`` is what we could return of it, ``refundable`` what the policy lets us return.
    """
    check_paid(payment)
    return await fetch(session, LEFT, payment.id)


CONTESTED = """
SELECT id FROM disputes WHERE payment_id = $1 AND kind = 'dispute' AND closed_at IS NULL
   AND taken + frozen > 0
"""


async def contested(session: AsyncSession, payment_id: str) -> bool:
    """Whether a bank is still deciding about money of the payment: it may come back, or go."""
    return bool(await fetch(session, CONTESTED, payment_id))


INSERT = """
INSERT INTO refunds (id, payment_id, state, minor, currency, reason, payee, created_at)
VALUES ($1, $2, 'asked', $3, $4, $5, $6, $7)
"""

INSERT_LINES = """
INSERT INTO refund_lines (refund_id, line_id, minor)
SELECT $1, line, minor FROM unnest($2::text[], $3::bigint[]) AS l (line, minor)
"""

RESERVE = """
UPDATE lines l SET refunding = l.refunding + r.minor
  FROM refund_lines r WHERE r.refund_id = $1 AND r.line_id = l.id
"""


async def reserve(
    session: AsyncSession,
    refund_id: str,
    payment: Row[Any],
    parts: Iterable[tuple[str, int]],
    why: tuple[str, str | None],
    now: datetime,
) -> Money:
    """Write down a refund as asked for, and reserve its parts on their lines; answer their sum.

    ``why`` is its reason, and whose parked share it returns, if it does that.
    """
    some = [(line, minor) for line, minor in parts if minor]
    amount = Money(sum(minor for _, minor in some), payment.currency)
    row = (refund_id, payment.id, amount.minor, amount.currency, *why, now)
    await fetch(session, INSERT, *row)
    await fetch(session, INSERT_LINES, refund_id, *allotments.columns(some))
    await fetch(session, RESERVE, refund_id)
    return amount


UNRESERVE = """
UPDATE lines l SET refunding = l.refunding - r.minor
  FROM refund_lines r WHERE r.refund_id = $1 AND r.line_id = l.id
"""

# What the bank took is divided over what refunds left: so that is divided anew.
RETURN = """
UPDATE lines l SET returned = l.returned + r.minor * $2::bigint, disputed = 0, frozen = 0
  FROM refund_lines r WHERE r.refund_id = $1 AND r.line_id = l.id
"""

STATE = """
UPDATE refunds SET state = $2, stripe_id = coalesce($3, stripe_id), error = $4,
                   booked_at = coalesce(booked_at, $5)
 WHERE id = $1
"""


# Booked, the share that a refund returns leaves the base; refused or sent back, it waits on.
DIRECTED = """
UPDATE allotments a
   SET directed = $2, parked_until = CASE WHEN NOT $2 THEN $3::timestamptz + interval '7 days' END
  FROM refunds r JOIN refund_lines l ON l.refund_id = r.id
 WHERE r.id = $1 AND a.line_id = l.line_id AND a.host_id = r.payee
   AND a.account LIKE 'liabilities:parked:%'
"""

# What had been returned of another share's refund lies there again: it is the listener's too.
STILL_PARKED = """
UPDATE allotments a SET parked_until = $2::timestamptz + interval '7 days'
  FROM lines l
 WHERE l.payment_id = $1 AND a.line_id = l.id AND l.refunding = 0
   AND a.directed AND a.taken < a.credited AND a.parked_until IS NULL
"""


async def refuse(session: AsyncSession, refund_id: str, error: str, now: datetime) -> None:
    """Stripe said no: nothing was booked, and nothing stays reserved."""
    refund = await _locked(session, refund_id)
    if refund.state == "asked":
        await fetch(session, UNRESERVE, refund_id)
        await fetch(session, STATE, refund_id, "refused", None, error, None)
        await fetch(session, DIRECTED, refund_id, False, now)
    await asks.answered(session, f"refund:{refund_id}", now)


async def book(session: AsyncSession, refund_id: str, found: Object, now: datetime) -> None:
    """Book a refund that Stripe knows, once; and its failure, once, if that is what it says.

    ``found`` is Stripe's refund as it is now, wherever we have it from.
    """
    refund = await _locked(session, refund_id)
    await asks.answered(session, f"refund:{refund_id}", now)
    at = objects.moment(found["created"])
    if refund.state in ("asked", "refused"):
        if refund.state == "asked":
            await fetch(session, UNRESERVE, refund_id)
        await fetch(session, RETURN, refund_id, 1)
        await fetch(session, STATE, refund_id, "booked", found["id"], None, at)
        await fetch(session, DIRECTED, refund_id, True, now)
        await _post(session, refund, "booked", at, found["id"])
    if found["status"] in GONE and refund.state != "failed":
        await fetch(session, RETURN, refund_id, -1)
        reason = found.get("failure_reason") or found["status"]
        await fetch(session, STATE, refund_id, "failed", found["id"], reason, at)
        await fetch(session, DIRECTED, refund_id, False, now)
        await _post(session, refund, "failed", now, found["id"])
        await fetch(session, STILL_PARKED, refund.payment_id, now)


async def _post(
    session: AsyncSession, refund: Row[Any], what: str, at: datetime, source: str
) -> None:
    """Take every share's part of what has been returned by now, or give it back."""
    amount = Money(refund.minor, refund.currency)
    cleared = Posting(accounts.REFUNDS, -amount if what == "booked" else amount)
    entry = Entry(
        key=f"refund:{refund.id}:{what}",
        kind=f"refund_{what}",
        subject=refund.id,
        happened_at=at,
        postings=(*await clawbacks.recompute(session, refund.payment_id), cleared),
        source=source,
    )
    cause = f"refund:{refund.id}" if what == "booked" else entry.key
    back = await fees.given_back(session, refund.payment_id, cause, at)
    await clawbacks.post(session, [entry, *back], at)


KNOWN = "SELECT id FROM refunds WHERE id = $1 OR stripe_id = $2"


async def heard(session: AsyncSession, found: Object, payment_id: str, now: datetime) -> str:
    """Book what Stripe tells of a refund, whoever made it; answer our id of it.

    One that was made at Stripe without us gets its row here, divided by what the lines have left
    of what was paid: the policy's limit was for us to keep, and Stripe has paid.
    """
    refund_id = await _known(session, found, payment_id, now)
    await book(session, refund_id, found, now)
    return refund_id


async def _known(session: AsyncSession, found: Object, payment_id: str, now: datetime) -> str:
    payment = await lock(session, payment_id)  # before the look: others hear of it as well
    ours = (found.get("metadata") or {}).get("takings_refund")
    for row in await fetch(session, KNOWN, ours, found["id"]):
        return str(row.id)
    lines = await lines_left(session, payment)
    amount = Money(found["amount"], found["currency"])
    left = Money(sum(line.unreturned for line in lines), payment.currency)
    if amount > left:
        raise RefundTooLarge(amount=amount, left=left, of=payment_id)
    parts = splits.divide(amount.minor, [line.unreturned for line in lines])
    ids = [line.id for line in lines]
    why = ("made at Stripe", None)
    await reserve(session, found["id"], payment, zip(ids, parts, strict=True), why, now)
    return str(found["id"])


LOCK = "SELECT id, payment_id, state, minor, currency FROM refunds WHERE id = $1 FOR UPDATE"


async def _locked(session: AsyncSession, refund_id: str) -> Row[Any]:
    """The refund, after its payment's lock."""
    rows = await fetch(session, "SELECT payment_id FROM refunds WHERE id = $1", refund_id)
    if not rows:
        raise NotFound(kind="refund", id=refund_id)
    await lock(session, rows[0].payment_id)
    return (await fetch(session, LOCK, refund_id))[0]
