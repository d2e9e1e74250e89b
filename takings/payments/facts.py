"""What Stripe's events mean for us: which facts they carry, and which must be fetched first.

An event type that is not named here is stored and means nothing to the books: the cash of it, if
any, comes with its balance transaction.  Nor does an event of a connected account: its owner may
write there what they like, and our payments are made on the platform's own account.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database
from takings.payments import captures, payments, returns
from takings.payments.objects import Object
from takings.payments.payments import Paid, Settlement
from takings.payments.stripe import Stripe

Proof = Callable[[Object, datetime], Paid | None]


@dataclass(frozen=True, slots=True)
class Told:
    """What an event tells: its type, when Stripe says that it was, the object as it was then."""

    kind: str
    at: datetime
    object: Object


def _ours(found: Object) -> str | None:
    metadata = found.get("metadata") or {}
    ours: str | None = metadata.get("takings_payment")
    return ours


def by_intent(found: Object, at: datetime) -> Paid | None:
    """The payment of an intent that has succeeded; at that instant."""
    if _ours(found) is None or found["status"] != "succeeded":
        return None
    return payments.paid_by_intent(found, at)


def by_charge(found: Object, at: datetime) -> Paid | None:
    """The payment of a charge that is paid and captured; an uncaptured one is a promise."""
    payment = _ours(found)
    if payment is None or not (found["paid"] and found["captured"]):
        return None
    return Paid(
        payment=payment,
        minor=found["amount_captured"],
        currency=found["currency"],
        intent=found["payment_intent"],
        charge=found["id"],
        paid_at=at,
    )


def by_session(found: Object, at: datetime) -> Paid | None:
    """The payment of a Checkout Session that says it is paid.

    Not where it was authorised first: the session only knows that amount, not what was captured.
    """
    payment = _ours(found)
    if payment is None or found["payment_status"] != "paid":
        return None
    if "takings_capture" in found["metadata"]:
        return None
    return Paid(
        payment=payment,
        minor=found["amount_total"],
        currency=found["currency"],
        intent=found["payment_intent"],
        charge=None,
        paid_at=at,
    )


PROOFS: Mapping[str, Proof] = {
    "payment_intent.succeeded": by_intent,
    "charge.succeeded": by_charge,
    "charge.captured": by_charge,
    "checkout.session.completed": by_session,
    "checkout.session.async_payment_succeeded": by_session,
}
"""The events that prove a payment, at the instant of it (``charge.updated`` may come later)."""

OVER = frozenset(
    {
        "payment_intent.canceled",
        "checkout.session.expired",
        "checkout.session.async_payment_failed",
    }
)
"""The events after which a payment will not come any more."""

PROCESSING = "payment_intent.processing"
FAILED = "payment_intent.payment_failed"
AUTHORISED = "payment_intent.amount_capturable_updated"
"""The events that only say where a payment is."""

FETCHED = frozenset({"refund.created", "refund.updated", "refund.failed", "charge.refunded"})
"""The events whose objects go back and forth: fetched before they are believed."""


async def book(
    session: AsyncSession, events: Sequence[Told], settlement: Settlement, now: datetime
) -> None:
    """Book what verified payloads prove, all of them together."""
    proofs = [PROOFS[told.kind](told.object, told.at) for told in events if told.kind in PROOFS]
    await payments.settle(session, [fact for fact in proofs if fact], settlement, now)
    over = [ours for told in events if told.kind in OVER and (ours := _ours(told.object))]
    if over:
        await payments.cancel(session, over, settlement, now)
    for told in events:
        if told.kind == PROCESSING and (ours := _ours(told.object)):
            await captures.processing(session, ours)
        if told.kind == FAILED and (ours := _ours(told.object)):
            await captures.failed(session, ours)
        if told.kind == AUTHORISED and _ours(told.object):
            await captures.authorised(session, told.object, now)


@dataclass(frozen=True, slots=True)
class Learned:
    """What Stripe answered about one event: a payment's refunds, and that it was paid at all."""

    payment: str | None
    refunds: tuple[Object, ...] = ()
    paid: Paid | None = None


KNOWN = """
SELECT p.id, p.state, p.capture, coalesce(sum(l.returned), 0)::bigint AS returned
  FROM payments p JOIN lines l ON l.payment_id = p.id
 WHERE p.id = $1 OR p.intent_id = $2 GROUP BY p.id
"""


async def learn(database: Database, door: Stripe, told: Told) -> Learned:
    """Fetch what an event is about; no transaction is open meanwhile."""
    found = told.object
    intent = found["payment_intent"]
    rows = await database.fetch(KNOWN, _ours(found), intent)
    if not rows:
        return Learned(None)
    payment = rows[0]
    paid = None
    if payment.state != "paid":  # its own event is still on the way, but a refund proves it
        paid = by_intent(await door.paid_intent(intent), told.at)
        if paid is None:  # an authorisation was let go: nothing was paid, nothing is returned
            return Learned(None)
    if told.kind != "charge.refunded":
        refunded = [await door.fetch("refunds", found["id"])]
    elif payment.returned < found["amount_refunded"]:
        refunded = await door.refunds_of(intent)
    else:
        refunded = []
    if payment.capture == "at_close":
        # Stripe also calls it a refund that the rest of an authorisation was not captured.  Which
        # it is says the cash line's category; so it is left to that line, unless it is ours.
        refunded = [one for one in refunded if "takings_refund" in (one["metadata"] or {})]
    return Learned(payment.id, tuple(refunded), paid)


async def book_learned(
    session: AsyncSession, learned: Learned, settlement: Settlement, now: datetime
) -> None:
    """Book refunds as Stripe tells of them, and first the payment that they return."""
    if learned.payment is None:
        return  # not a payment of ours
    if learned.paid is not None:
        await payments.settle(session, [learned.paid], settlement, now)
    for found in learned.refunds:
        await returns.heard(session, found, learned.payment, now)
