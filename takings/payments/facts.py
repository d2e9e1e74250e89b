"""What Stripe's events mean for us: which facts they carry, and which must be fetched first.

An event type that is not named here is stored and means nothing to the books: the cash of it, if
any, comes with its balance transaction.  Nor does an event of a connected account mean a payment:
its owner may write there what they like, and ours are made on the platform's own account.  What
else there is to hear of comes as ``Readers`` from above.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database
from takings.errors import Conflict
from takings.payments import captures, disputes, payments, returns
from takings.payments.objects import Object
from takings.payments.payments import Paid, Settlement
from takings.payments.stripe import Stripe

Proof = Callable[[Object, datetime], Paid | None]


@dataclass(frozen=True, slots=True)
class Told:
    """What an event tells: its type, when Stripe says that it was, the object as it was then.

    ``account`` is the connected account that it is about, None where it is the platform's own.  A
    thin notification only names its object.
    """

    kind: str
    at: datetime
    object: Object
    account: str | None = None


class Overtaken(Conflict):
    """Somebody else has looked at {id} since, and may know better.

    Nothing was written. Look again.
    """


@dataclass(frozen=True, slots=True)
class Reader:
    """How an event is read whose object goes back and forth: fetched first, then booked.

    ``learn`` asks Stripe, with no transaction open; ``book`` is given what it answered.  Of two who
    ask at about the same time, the one who was answered first may come to write last.  So ``learn``
    notes the version of what it is to replace, and where that has changed since, ``book`` raises
    Overtaken: the event is read again in a moment.
    """

    learn: Callable[[Database, Stripe, Told], Awaitable[Any]]
    book: Callable[[AsyncSession, Any, datetime], Awaitable[None]]


Readers = Mapping[str, Reader]
"""By event type: what the floors above want to hear of."""


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

REFUNDS = frozenset({"refund.created", "refund.updated", "refund.failed", "charge.refunded"})
DISPUTES = frozenset(
    {
        "charge.dispute.created",
        "charge.dispute.updated",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.funds_reinstated",
        "charge.dispute.closed",
    }
)
FETCHED = REFUNDS | DISPUTES
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
    """What Stripe answered about one event: what goes back of a payment, and that it was paid."""

    payment: str | None
    refunds: tuple[Object, ...] = ()
    disputes: tuple[Object, ...] = ()
    paid: Paid | None = None


KNOWN = """
SELECT p.id, p.state, p.capture, coalesce(sum(l.returned), 0)::bigint AS returned
  FROM payments p JOIN lines l ON l.payment_id = p.id
 WHERE p.id = $1 OR p.intent_id = $2 GROUP BY p.id
"""


async def learn(database: Database, door: Stripe, told: Told) -> Learned:
    """Fetch what an event is about; no transaction is open meanwhile."""
    if told.account is not None:
        return Learned(None)
    found = told.object
    intent = found["payment_intent"]
    rows = await database.fetch(KNOWN, _ours(found), intent)
    if not rows:
        return Learned(None)
    payment = rows[0]
    paid = None
    if payment.state != "paid":  # its own event is on the way, but what goes back of it proves it
        paid = by_intent(await door.paid_intent(intent), told.at)
        if paid is None:  # an authorisation was let go: nothing was paid, nothing is returned
            return Learned(None)
    if told.kind in DISPUTES:
        dispute = await door.fetch("disputes", found["id"])
        return Learned(payment.id, disputes=(dispute,), paid=paid)
    return Learned(payment.id, tuple(await _refunds(door, told, payment)), paid=paid)


async def _refunds(door: Stripe, told: Told, payment: Row[Any]) -> list[Object]:
    """The refunds that an event may tell of, as they are now."""
    found = told.object
    if told.kind != "charge.refunded":
        refunded = [await door.fetch("refunds", found["id"])]
    elif payment.returned < found["amount_refunded"]:
        refunded = await door.refunds_of(found["payment_intent"])
    else:
        refunded = []
    if payment.capture == "at_close":
        # Stripe also calls it a refund that the rest of an authorisation was not captured.  Which
        # it is says the cash line's category; so it is left to that line, unless it is ours.
        refunded = [one for one in refunded if "takings_refund" in (one["metadata"] or {})]
    return refunded


async def book_learned(
    session: AsyncSession, learned: Learned, settlement: Settlement, now: datetime
) -> None:
    """Book refunds and disputes as Stripe tells of them, and first the payment behind them."""
    if learned.payment is None:
        return  # not a payment of ours
    if learned.paid is not None:
        await payments.settle(session, [learned.paid], settlement, now)
    for found in learned.refunds:
        await returns.heard(session, found, learned.payment, now)
    for found in learned.disputes:
        await disputes.heard(session, found, learned.payment, now)
