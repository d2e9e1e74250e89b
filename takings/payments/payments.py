"""Payments: settled once, by whichever proof comes first.

How a payment is opened stands in ``orders.py``.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import fetch
from takings.errors import Corrupt, NotFound
from takings.ledger import accounts, journal
from takings.ledger.entries import Entry, Posting
from takings.money import Money
from takings.payments import allotments, fees, lines, objects
from takings.payments.lines import Line
from takings.payments.objects import Object
from takings.payments.tables import Payment


@dataclass(frozen=True, slots=True)
class Kind:
    """What a kind of line becomes: when its payment is paid, and when it never will be.

    ``paid`` is told the lines, and answers the ids of those for which nothing is left to give: that
    money is owed to the listener.  ``over`` is told the payments, of whatever kind.
    """

    paid: Callable[[AsyncSession, Sequence[Line], datetime], Awaitable[Collection[str]]]
    over: Callable[[AsyncSession, Sequence[str], datetime], Awaitable[None]]


Settlement = Mapping[str, Kind]
"""Every kind of line there is, by its name."""


class UnknownPayment(NotFound):
    """Stripe tells of a payment {id} that we have not.

    It is tried again for a while, in case the two crossed; then look at it at Stripe.
    """


class AmountDiffers(Corrupt):
    """Stripe says that {paid} was paid for {id}, which costs {asked}.

    Nothing was booked. Compare the payment with Stripe's, then decide.
    """


class NothingSold(Corrupt):
    """Stripe says that {paid} was paid for {id}, which pays for nothing yet.

    Nothing was booked. It is a tab that was captured at Stripe while it was open: return the money
    there, or divide it by hand.
    """


@dataclass(frozen=True, slots=True)
class Paid:
    """A fact that cannot be undone: Stripe has captured this much for a payment."""

    payment: str
    minor: int
    currency: str
    intent: str | None
    charge: str | None
    paid_at: datetime


CANCEL = """
UPDATE payments SET state = 'cancelled' WHERE id = ANY($1::text[]) AND state <> 'paid' RETURNING id
"""


async def cancel(
    session: AsyncSession, payments: Sequence[str], settlement: Settlement, now: datetime
) -> None:
    """These will not be paid any more; those already paid stay so."""
    over = [row.id for row in await fetch(session, CANCEL, sorted(payments))]
    for kind in settlement.values():
        await kind.over(session, over, now)


def paid_by_intent(intent: Object, at: datetime) -> Paid:
    """The fact in a PaymentIntent that has succeeded.

    At the instant of its charge where the charge is shown whole and was captured at once, else at
    the one given.
    """
    charge = intent.get("latest_charge")
    whole = charge if isinstance(charge, dict) else None
    if whole is not None and intent["capture_method"] != "manual":
        at = objects.moment(whole["created"])
    return Paid(
        payment=intent["metadata"]["takings_payment"],
        minor=intent["amount_received"],
        currency=intent["currency"],
        intent=intent["id"],
        charge=whole["id"] if whole else charge,
        paid_at=at,
    )


LOCK = """
SELECT id, state, minor, currency, charge_id FROM payments
 WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE
"""

CHARGED = """
UPDATE payments p SET charge_id = f.charge
  FROM unnest($1::text[], $2::text[]) AS f (id, charge) WHERE p.id = f.id
"""

PAID = """
UPDATE payments p
   SET state = 'paid', paid_at = f.paid_at, intent_id = coalesce(p.intent_id, f.intent),
       charge_id = coalesce(p.charge_id, f.charge)
  FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[])
    AS f (id, paid_at, intent, charge)
 WHERE p.id = f.id
"""


async def settle(
    session: AsyncSession, facts: Iterable[Paid], settlement: Settlement, now: datetime
) -> None:
    """Book what was paid, once per payment whatever the number of proofs: the one way to be paid.

    Raises UnknownPayment, AmountDiffers or NothingSold, and then nothing of the batch is booked.
    """
    proofs: dict[str, Paid] = {}
    for fact in facts:
        known = proofs.get(fact.payment)
        if known is None or (known.charge is None and fact.charge):
            proofs[fact.payment] = fact
    rows = {row.id: row for row in await fetch(session, LOCK, sorted(proofs))}
    fresh: list[Paid] = []
    late: list[Paid] = []
    for payment, fact in sorted(proofs.items()):
        row = rows.get(payment)
        if row is None:
            raise UnknownPayment(id=payment)
        if (row.minor, row.currency) != (fact.minor, fact.currency):
            paid, asked = Money(fact.minor, fact.currency), Money(row.minor, row.currency)
            raise AmountDiffers(id=payment, paid=paid, asked=asked)
        if row.state != "paid":
            fresh.append(fact)
        elif row.charge_id is None and fact.charge is not None:
            late.append(fact)
    if late:  # the first proof did not know the charge
        await fetch(session, CHARGED, *allotments.columns((f.payment, f.charge) for f in late))
    if fresh:
        await _book(session, fresh, settlement, now)


async def _book(
    session: AsyncSession, facts: Sequence[Paid], settlement: Settlement, now: datetime
) -> None:
    await fetch(
        session,
        PAID,
        *allotments.columns((f.payment, f.paid_at, f.intent, f.charge) for f in facts),
    )
    sold = await lines.of(session, [fact.payment for fact in facts])
    of: dict[str, list[Line]] = {fact.payment: [] for fact in facts}
    for line in sold:
        of[line.payment].append(line)
    for fact in facts:
        if not of[fact.payment]:
            raise NothingSold(id=fact.payment, paid=Money(fact.minor, fact.currency))
    unserved: set[str] = set()
    for name, kind in settlement.items():
        mine = [line for line in sold if line.kind == name]
        if mine:
            unserved.update(await kind.paid(session, mine, now))
    # From here on rows are locked that other workers need as well: the commit should be near.
    credited = await allotments.earn(session, sold, unserved, now)
    entries = [earned(fact, of[fact.payment], credited) for fact in facts]
    passing = {line.payment for line in sold if line.policy.fee_bearer == "host"}
    entries += await fees.passed(session, sorted(passing))
    await journal.post(session, entries)


def earned(
    fact: Paid, sold: Sequence[Line], credited: Mapping[str, Sequence[allotments.Allotment]]
) -> Entry:
    """The entry of a payment: what Stripe owes us for it, and whom we owe."""
    credits_ = [
        leg for line in sold for a in credited[line.id] for leg in a.postings(fact.currency)
    ]
    return Entry(
        key=f"payment:{fact.payment}:earned",
        kind="earned",
        subject=fact.payment,
        happened_at=fact.paid_at,
        postings=(Posting(accounts.CHARGES, Money(fact.minor, fact.currency)), *credits_),
        source=fact.intent,  # known to every proof
    )


async def get(session: AsyncSession, payment_id: str) -> Payment:
    """The payment of this id, or NotFound."""
    payment = await session.get(Payment, payment_id)
    if payment is None:
        raise NotFound(kind="payment", id=payment_id)
    return payment
