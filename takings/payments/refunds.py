"""Refunds: money back to the listener, through one saga whose every step is a row.

    asked ──► booked ──► failed        booked once Stripe knows it, whoever tells us first
      └─────► refused                  Stripe said no: nothing was booked, nothing is reserved

Asking reserves the amount on the payment's lines under the payment's lock, so that refunds in
parallel never exceed what was paid.  Booking takes from every share its exact part of all that has
been returned so far.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import records, splits
from takings.database import Database, fetch
from takings.errors import Conflict, Invalid, NotFound, Refused
from takings.ledger import accounts, journal
from takings.ledger.entries import Entry, Posting
from takings.money import Money
from takings.payments import allotments, asks, objects
from takings.payments.asks import Ask
from takings.payments.objects import Object
from takings.payments.stripe import Stripe, StripeRefused
from takings.payments.tables import Refund

GONE = frozenset({"failed", "canceled"})
"""Stripe's states of a refund whose money came back."""


class NotPaid(Conflict):
    """The payment {id} is {state}: there is nothing to refund yet.

    Wait until it is paid, or cancel it.
    """


class RefundDiffers(Conflict):
    """There is already a refund {id}, and it is another one.

    Ask for the new refund under an id of its own.
    """

    param = "id"


class RefundTooLarge(Refused):
    """{amount} is more than the {left} that can still be refunded.

    Refund at most what is left; what is being refunded right now counts as gone.
    """

    param = "amount"


class NothingToRefund(Invalid):
    """A refund of {amount} returns nothing; {left} can still be refunded.

    Refund a positive amount, at most what is left.
    """

    param = "amount"


PAYMENT = """
SELECT id, state, currency, intent_id FROM payments WHERE id = $1 FOR NO KEY UPDATE
"""

LEFT = """
SELECT l.id, l.currency, l.returned,
       l.minor + l.fees_covered - l.returned - l.refunding AS returnable,
       l.minor - l.returned - l.refunding
         + CASE WHEN r.rules ->> 'refund_fee_bearer' = 'listener' THEN 0 ELSE l.fees_covered END
         AS refundable,
       r.rules ->> 'refund_fee_bearer' = 'listener' AS keep_fees
  FROM lines l JOIN policies r ON r.name = l.policy AND r.version = l.policy_version
 WHERE l.payment_id = $1 ORDER BY l.id FOR NO KEY UPDATE OF l
"""

INSERT = """
INSERT INTO refunds (id, payment_id, state, minor, currency, reason, created_at)
VALUES ($1, $2, 'asked', $3, $4, $5, $6)
"""

INSERT_LINES = """
INSERT INTO refund_lines (refund_id, line_id, minor)
SELECT $1, line, minor FROM unnest($2::text[], $3::bigint[]) AS l (line, minor)
"""

RESERVE = """
UPDATE lines l SET refunding = l.refunding + r.minor
  FROM refund_lines r WHERE r.refund_id = $1 AND r.line_id = l.id
"""


async def refund(
    database: Database,
    door: Stripe,
    refund_id: str,
    payment_id: str,
    amount: Money | None = None,
    *,
    reason: str = "",
    now: datetime,
) -> Refund:
    """Return money to the listener: the amount, or all that is left; repeatable by its id.

    Raises NotFound, NotPaid, RefundTooLarge, NothingToRefund or RefundDiffers before anything is
    written; StripeRefused, and then nothing is reserved; StripeAway, and then it goes on later.
    """
    records.check_id(refund_id)
    ask = await database.run(_write, refund_id, payment_id, amount, reason, now)
    if ask is None:
        ask = await asks.take(database, f"refund:{refund_id}", now)
    if ask is not None:
        await carry(database, door, ask, now=now)
    async with database.transaction() as session:
        found = await session.get_one(Refund, refund_id)
        if found.state == "asked":
            raise asks.InFlight
        return found


async def _write(  # the first step: all that can be refused is refused here
    session: AsyncSession,
    refund_id: str,
    payment_id: str,
    amount: Money | None,
    reason: str,
    now: datetime,
) -> Ask | None:
    payment = await _lock(session, payment_id)
    known = await session.get(Refund, refund_id)
    if known is not None:
        same = amount is None or amount == Money(known.minor, known.currency)
        if known.payment_id != payment_id or not same:
            raise RefundDiffers(id=refund_id)
        return None
    if payment.state != "paid":
        raise NotPaid(id=payment_id, state=payment.state, intent=payment.intent_id)
    lines = await fetch(session, LEFT, payment_id)
    left = Money(sum(line.refundable for line in lines), payment.currency)
    wanted = left if amount is None else amount
    if wanted > left:
        raise RefundTooLarge(amount=wanted, left=left)
    if wanted.minor <= 0:
        raise NothingToRefund(amount=wanted, left=left)
    parts = splits.divide(wanted.minor, [line.refundable for line in lines])
    await _insert(session, refund_id, payment_id, wanted, reason, now)
    await _divide(session, refund_id, lines, parts)
    params = {
        "payment_intent": payment.intent_id,
        "amount": wanted.minor,
        "metadata": {"takings_refund": refund_id, "takings_payment": payment_id},
    }
    return await asks.write(session, f"refund:{refund_id}", "refunds.create", params, now)


async def _insert(
    session: AsyncSession,
    refund_id: str,
    payment_id: str,
    amount: Money,
    reason: str,
    now: datetime,
) -> None:
    row = (refund_id, payment_id, amount.minor, amount.currency, reason, now)
    await fetch(session, INSERT, *row)


async def _divide(
    session: AsyncSession, refund_id: str, lines: Sequence[Row[Any]], parts: Sequence[int]
) -> None:
    """Write down how much of the refund is for which line, and reserve that there."""
    some = [(line.id, part) for line, part in zip(lines, parts, strict=True) if part]
    await fetch(session, INSERT_LINES, refund_id, *allotments.columns(some))
    await fetch(session, RESERVE, refund_id)


async def carry(database: Database, door: Stripe, ask: Ask, *, now: datetime) -> None:
    """Carry a refund's ask to Stripe and book the answer."""
    refund_id = ask.key.partition(":")[2]
    try:
        answer = await asks.answer(database, door, ask, now)
    except StripeRefused as error:
        await database.run(_refuse, refund_id, error.message, now)
        raise
    if answer is None:
        await database.run(_refuse, refund_id, "Stripe has no such refund", now)
    else:
        await database.run(book, refund_id, answer, now)


UNRESERVE = """
UPDATE lines l SET refunding = l.refunding - r.minor
  FROM refund_lines r WHERE r.refund_id = $1 AND r.line_id = l.id
"""

RETURN = """
UPDATE lines l SET returned = l.returned + r.minor * $2::bigint
  FROM refund_lines r WHERE r.refund_id = $1 AND r.line_id = l.id
"""

STATE = """
UPDATE refunds SET state = $2, stripe_id = coalesce($3, stripe_id), error = $4,
                   booked_at = coalesce(booked_at, $5)
 WHERE id = $1
"""


async def _refuse(session: AsyncSession, refund_id: str, error: str, now: datetime) -> None:
    """Stripe said no: nothing was booked, and nothing stays reserved."""
    refund = await _locked(session, refund_id)
    if refund.state == "asked":
        await fetch(session, UNRESERVE, refund_id)
        await fetch(session, STATE, refund_id, "refused", None, error, None)
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
        await _post(session, refund, "booked", at, found["id"])
    if found["status"] in GONE and refund.state != "failed":
        await fetch(session, RETURN, refund_id, -1)
        reason = found.get("failure_reason") or found["status"]
        await fetch(session, STATE, refund_id, "failed", found["id"], reason, at)
        await _post(session, refund, "failed", now, found["id"])


async def _post(
    session: AsyncSession, refund: Row[Any], what: str, at: datetime, source: str
) -> None:
    """Take every share's part of what has been returned by now, or give it back."""
    postings: list[Posting] = []
    for line in await fetch(session, LEFT, refund.payment_id):
        postings += await allotments.return_until(
            session, line.id, line.currency, line.returned, keep_fees=line.keep_fees
        )
    amount = Money(refund.minor, refund.currency)
    cleared = Posting(accounts.REFUNDS, -amount if what == "booked" else amount)
    entry = Entry(
        key=f"refund:{refund.id}:{what}",
        kind=f"refund_{what}",
        subject=refund.id,
        happened_at=at,
        postings=(*postings, cleared),
        source=source,
    )
    await journal.post(session, [entry])


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
    payment = await _lock(session, payment_id)  # before the look: others hear of it as well
    ours = (found.get("metadata") or {}).get("takings_refund")
    for row in await fetch(session, KNOWN, ours, found["id"]):
        return str(row.id)
    if payment.state != "paid":
        raise NotPaid(id=payment_id, state=payment.state, intent=payment.intent_id)
    lines = await fetch(session, LEFT, payment_id)
    amount = Money(found["amount"], found["currency"])
    if amount.minor > sum(line.returnable for line in lines):
        raise RefundTooLarge(amount=amount, left=sum(line.returnable for line in lines))
    parts = splits.divide(amount.minor, [line.returnable for line in lines])
    await _insert(session, found["id"], payment_id, amount, "made at Stripe", now)
    await _divide(session, found["id"], lines, parts)
    return str(found["id"])


async def _lock(session: AsyncSession, payment_id: str) -> Row[Any]:
    rows = await fetch(session, PAYMENT, payment_id)
    if not rows:
        raise NotFound(kind="payment", id=payment_id)
    return rows[0]


LOCK = "SELECT id, payment_id, state, minor, currency FROM refunds WHERE id = $1 FOR UPDATE"


async def _locked(session: AsyncSession, refund_id: str) -> Row[Any]:
    """The refund, after its payment's lock: the order in which everyone takes them."""
    rows = await fetch(session, "SELECT payment_id FROM refunds WHERE id = $1", refund_id)
    if not rows:
        raise NotFound(kind="refund", id=refund_id)
    await _lock(session, rows[0].payment_id)
    return (await fetch(session, LOCK, refund_id))[0]
