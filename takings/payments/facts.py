"""What Stripe's events mean for us: which facts they carry, and which must be fetched first.

An event type that is not named here is stored and means nothing to the books: the cash of it, if
any, comes with its balance transaction.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database, fetch
from takings.payments import objects, payments, refunds
from takings.payments.objects import Object
from takings.payments.payments import Paid, Settlement
from takings.payments.stripe import Stripe

Proof = Callable[[Object], Paid | None]


def _ours(found: Object) -> str | None:
    metadata = found.get("metadata") or {}
    ours: str | None = metadata.get("takings_payment")
    return ours


def by_intent(found: Object) -> Paid | None:
    """The payment of an intent that has succeeded."""
    return payments.paid_by_intent(found) if _ours(found) else None


def by_charge(found: Object) -> Paid | None:
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
        paid_at=objects.moment(found["created"]),
    )


def by_session(found: Object) -> Paid | None:
    """The payment of a Checkout Session that says it is paid."""
    payment = _ours(found)
    if payment is None or found["payment_status"] != "paid":
        return None
    return Paid(
        payment=payment,
        minor=found["amount_total"],
        currency=found["currency"],
        intent=found["payment_intent"],
        charge=None,
        paid_at=objects.moment(found["created"]),
    )


PROOFS: Mapping[str, Proof] = {
    "payment_intent.succeeded": by_intent,
    "charge.succeeded": by_charge,
    "charge.captured": by_charge,
    "charge.updated": by_charge,
    "checkout.session.completed": by_session,
    "checkout.session.async_payment_succeeded": by_session,
}
"""The events that may prove a payment."""

OVER = frozenset(
    {
        "payment_intent.canceled",
        "checkout.session.expired",
        "checkout.session.async_payment_failed",
    }
)
"""The events after which a payment will not come any more."""

ON_THE_WAY: Mapping[str, str] = {
    "payment_intent.processing": "processing",
    "payment_intent.amount_capturable_updated": "authorised",
}
"""The events that only say where a payment is."""

FETCHED = frozenset({"refund.created", "refund.updated", "refund.failed", "charge.refunded"})
"""The events whose objects go back and forth: fetched before they are believed."""

MOVE = "UPDATE payments SET state = $2 WHERE id = $1 AND state IN ('open', 'processing')"


async def book(
    session: AsyncSession,
    events: Sequence[tuple[str, Object]],
    settlement: Settlement,
    now: datetime,
) -> None:
    """Book what verified payloads prove, all of them together."""
    paid = [fact for kind, found in events if kind in PROOFS and (fact := PROOFS[kind](found))]
    await payments.settle(session, paid, settlement, now)
    over = [ours for kind, found in events if kind in OVER and (ours := _ours(found))]
    await payments.cancel(session, over)
    for kind, found in events:
        if kind in ON_THE_WAY and (ours := _ours(found)):
            await fetch(session, MOVE, ours, ON_THE_WAY[kind])


@dataclass(frozen=True, slots=True)
class Learned:
    """What Stripe answered about one event: a payment's refunds, and that it was paid at all."""

    payment: str | None
    refunds: tuple[Object, ...] = ()
    paid: Paid | None = None


KNOWN = """
SELECT p.id, p.state, coalesce(sum(l.returned), 0)::bigint AS returned
  FROM payments p JOIN lines l ON l.payment_id = p.id
 WHERE p.id = $1 OR p.intent_id = $2 GROUP BY p.id
"""


async def learn(database: Database, door: Stripe, kind: str, found: Object) -> Learned:
    """Fetch what an event is about; no transaction is open meanwhile."""
    intent = found["payment_intent"]
    rows = await database.fetch(KNOWN, _ours(found), intent)
    if not rows:
        return Learned(None)
    payment = rows[0]
    if kind != "charge.refunded":
        told = [await door.fetch("refunds", found["id"])]
    elif payment.returned < found["amount_refunded"]:
        told = list(await door.refunds_of(intent))
    else:
        told = []
    paid = None
    if payment.state != "paid":  # its own event is still on the way, but a refund proves it
        paid = by_intent(await door.fetch("payment_intents", intent))
    return Learned(payment.id, tuple(told), paid)


async def book_learned(
    session: AsyncSession, learned: Learned, settlement: Settlement, now: datetime
) -> None:
    """Book refunds as Stripe tells of them, and first the payment that they return."""
    if learned.payment is None:
        return  # not a payment of ours
    if learned.paid is not None:
        await payments.settle(session, [learned.paid], settlement, now)
    for found in learned.refunds:
        ours = await refunds.known(session, found, learned.payment, now)
        await refunds.book(session, ours, found, now)
