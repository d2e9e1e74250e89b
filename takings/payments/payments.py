"""Payments: what a listener owes or has paid, opened with Stripe and settled once.

``open`` writes the payment and what we want of Stripe in the caller's transaction; ``ask`` carries
it to Stripe; ``settle`` is where every proof of payment ends, whichever comes first.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlmodel.ext.asyncio.session import AsyncSession

from takings import commission, money, splits
from takings.database import Database, fetch
from takings.errors import Conflict, Corrupt, NotFound
from takings.ledger import accounts, journal
from takings.ledger.entries import Entry, Posting
from takings.money import Money
from takings.payments import allotments, asks, fees, lines, stripe
from takings.payments.asks import Ask
from takings.payments.lines import Line
from takings.payments.stripe import Call, CardDeclined, Object, Stripe, StripeRefused
from takings.payments.tables import Payment
from takings.policies.rules import Policy
from takings.records import new_id

Surface = Literal["checkout", "intent", "saved"]
Settle = Callable[[AsyncSession, Sequence[Line], datetime], Awaitable[None]]
Settlement = Mapping[str, Settle]
"""What each kind of line becomes when it is paid."""


class UnknownPayment(NotFound):
    """Stripe tells of a payment {id} that we have not.

    It is tried again for a while, in case the two crossed; then look at it at Stripe.
    """


class AmountDiffers(Corrupt):
    """Stripe says that {paid} was paid for {id}, which costs {asked}.

    Nothing was booked. Compare the payment with Stripe's, then decide.
    """


class PaymentOver(Conflict):
    """The payment {id} is {state}: it can no longer be paid.

    Start a new one.
    """


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to pay for."""

    kind: str
    subject: str
    space: str
    agreement_version: int
    money: Money
    label: str


@dataclass(frozen=True, slots=True)
class Order:
    """A payment to be opened: by whom, for what, and on which surface.

    Checkout needs ``success_url`` and ``cancel_url``; a saved method needs ``customer`` and
    ``payment_method``.
    """

    id: str
    listener: str
    surface: Surface
    policy: Policy
    items: tuple[Item, ...]
    success_url: str | None = None
    cancel_url: str | None = None
    customer: str | None = None
    payment_method: str | None = None

    @property
    def total(self) -> Money:
        """What the items cost, without the card fee."""
        return sum((item.money for item in self.items[1:]), self.items[0].money)

    @property
    def charge(self) -> Money:
        """What the listener pays: the total, and the card fee where the listener bears it."""
        total = self.total
        if self.policy.fee_bearer != "listener":
            return total
        terms = self.policy.terms_in(total.currency)
        step = money.charge_step(total.currency)
        return Money(commission.cover(total.minor, terms.fee, step=step), total.currency)


@dataclass(frozen=True, slots=True)
class Paid:
    """A fact that cannot be undone: Stripe has captured this much for a payment."""

    payment: str
    minor: int
    currency: str
    intent: str | None
    charge: str | None
    paid_at: datetime


PAYMENT = """
INSERT INTO payments (id, listener_id, surface, state, minor, currency, fees_covered, created_at)
VALUES ($1, $2, $3, 'open', $4, $5, $6, $7)
"""

LINES = """
INSERT INTO lines (id, payment_id, kind, subject, space_id, agreement_version, policy,
                   policy_version, currency, minor, fees_covered, refunding, returned)
SELECT l.id, $1, l.kind, l.subject, l.space, l.agreement, $2, $3, $4, l.minor, l.fees, 0, 0
  FROM unnest($5::text[], $6::text[], $7::text[], $8::text[], $9::smallint[], $10::bigint[],
              $11::bigint[]) AS l (id, kind, subject, space, agreement, minor, fees)
"""


async def open(session: AsyncSession, order: Order, now: datetime) -> Ask:  # noqa: A001
    """Write down a payment, its lines, and what is to be asked of Stripe for it."""
    charge = order.charge
    money.check_charge(charge)
    covered = charge.minor - order.total.minor
    parts = splits.divide(covered, [item.money.minor for item in order.items])
    row = (order.id, order.listener, order.surface, charge.minor, charge.currency, covered, now)
    await fetch(session, PAYMENT, *row)
    columns = allotments.columns(
        (new_id("line"), i.kind, i.subject, i.space, i.agreement_version, i.money.minor, part)
        for i, part in zip(order.items, parts, strict=True)
    )
    policy = (order.policy.name, order.policy.version)
    await fetch(session, LINES, order.id, *policy, charge.currency, *columns)
    return await asks.write(session, f"payment:{order.id}", *_request(order, charge), now)


def _request(order: Order, charge: Money) -> tuple[Call, dict[str, Any]]:
    """Which call the surface makes, and with what."""
    ours = {"takings_payment": order.id}
    if order.surface == "checkout":
        price = {
            "currency": charge.currency,
            "unit_amount": charge.minor,
            "product_data": {"name": ", ".join(item.label for item in order.items)[:250]},
        }
        return "checkout.sessions.create", {
            "mode": "payment",
            "client_reference_id": order.id,
            "line_items": [{"price_data": price, "quantity": 1}],
            "metadata": ours,
            "payment_intent_data": {"metadata": ours},
            "success_url": order.success_url,
            "cancel_url": order.cancel_url,
        }
    intent = {"amount": charge.minor, "currency": charge.currency, "metadata": ours}
    if order.surface == "intent":
        return "payment_intents.create", intent | {"automatic_payment_methods": {"enabled": True}}
    return "payment_intents.create", intent | {
        "customer": order.customer,
        "payment_method": order.payment_method,
        "confirm": True,
        "off_session": True,
    }


OPENED = """
UPDATE payments
   SET intent_id = coalesce($2, intent_id), session_id = coalesce($3, session_id),
       client_secret = $4, url = $5
 WHERE id = $1
"""

CANCEL = """
UPDATE payments SET state = 'cancelled' WHERE id = ANY($1::text[]) AND state <> 'paid'
"""


async def ask(
    database: Database, door: Stripe, order: Ask, settlement: Settlement, *, now: datetime
) -> None:
    """Carry a payment's ask to Stripe and record the answer; a saved card may settle at once.

    Raises CardDeclined or StripeRefused, and then the payment is over; StripeAway or StripeBusy,
    and then it is asked again later under the same key.
    """
    payment = order.key.partition(":")[2]
    if order.expired:  # the answer never reached us, so nobody was shown where to pay
        await database.run(_over, order.key, payment, now)
        raise PaymentOver(id=payment, state="cancelled")
    try:
        answer = await door.ask(order.call, order.params, order.key)
    except (CardDeclined, StripeRefused):
        await database.run(_over, order.key, payment, now)
        raise

    async def record(session: AsyncSession) -> None:
        await asks.answered(session, order.key, now)
        hosted = answer["object"] == "checkout.session"
        intent = answer.get("payment_intent") if hosted else answer["id"]
        secret = None if hosted else answer["client_secret"]
        shown = (answer["id"], None, answer["url"]) if hosted else (None, secret, None)
        await fetch(session, OPENED, payment, intent, *shown)
        if not hosted and answer["status"] == "succeeded":
            await settle(session, [paid_by_intent(answer)], settlement, now)

    await database.run(record)


async def _over(session: AsyncSession, key: str, payment: str, now: datetime) -> None:
    await asks.answered(session, key, now)
    await fetch(session, CANCEL, [payment])


async def cancel(session: AsyncSession, payments: Sequence[str]) -> None:
    """These will not be paid any more; those already paid stay so."""
    await fetch(session, CANCEL, sorted(payments))


def paid_by_intent(intent: Object) -> Paid:
    """The fact in a PaymentIntent that has succeeded."""
    charge = intent.get("latest_charge")
    return Paid(
        payment=intent["metadata"]["takings_payment"],
        minor=intent["amount_received"],
        currency=intent["currency"],
        intent=intent["id"],
        charge=charge["id"] if isinstance(charge, dict) else charge,
        paid_at=stripe.moment(intent["created"]),
    )


LOCK = """
SELECT id, state, minor, currency FROM payments
 WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE
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

    Raises UnknownPayment or AmountDiffers, and then nothing of the batch is booked.
    """
    proofs: dict[str, Paid] = {}
    for fact in facts:
        known = proofs.get(fact.payment)
        if known is None or (known.charge is None and fact.charge):
            proofs[fact.payment] = fact
    rows = {row.id: row for row in await fetch(session, LOCK, sorted(proofs))}
    fresh: list[Paid] = []
    for payment, fact in sorted(proofs.items()):
        row = rows.get(payment)
        if row is None:
            raise UnknownPayment(id=payment)
        if (row.minor, row.currency) != (fact.minor, fact.currency):
            paid, asked = Money(fact.minor, fact.currency), Money(row.minor, row.currency)
            raise AmountDiffers(id=payment, paid=paid, asked=asked)
        if row.state != "paid":
            fresh.append(fact)
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
    credited = await allotments.earn(session, sold)
    of: dict[str, list[Line]] = {fact.payment: [] for fact in facts}
    for line in sold:
        of[line.payment].append(line)
    entries = [earned(fact, of[fact.payment], credited) for fact in facts]
    entries += await fees.passed(session, [fact.payment for fact in facts])
    await journal.post(session, entries)
    for kind, become in settlement.items():
        mine = [line for line in sold if line.kind == kind]
        if mine:
            await become(session, mine, now)


def earned(
    fact: Paid, sold: Sequence[Line], credited: Mapping[str, Sequence[allotments.Allotment]]
) -> Entry:
    """The entry of a payment: what Stripe owes us for it, and whom we owe."""
    credits_ = [a.posting(fact.currency) for line in sold for a in credited[line.id]]
    return Entry(
        key=f"payment:{fact.payment}:earned",
        kind="earned",
        subject=fact.payment,
        happened_at=fact.paid_at,
        postings=(Posting(accounts.CHARGES, Money(fact.minor, fact.currency)), *credits_),
        source=fact.charge or fact.intent,
    )


async def get(session: AsyncSession, payment_id: str) -> Payment:
    """The payment of this id, or NotFound."""
    payment = await session.get(Payment, payment_id)
    if payment is None:
        raise NotFound(kind="payment", id=payment_id)
    return payment
