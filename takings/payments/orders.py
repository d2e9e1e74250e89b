"""Orders: a payment to be opened, written down first and then carried to Stripe.

``open`` writes the payment, its lines and what is to be asked of Stripe in the caller's
transaction; ``ask`` carries that to Stripe and records the answer.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlmodel.ext.asyncio.session import AsyncSession

from takings import commission, money, splits
from takings.database import Database, fetch
from takings.errors import Conflict
from takings.money import Money
from takings.payments import allotments, asks, payments
from takings.payments.asks import Ask
from takings.payments.payments import Settlement
from takings.payments.stripe import Call, CardDeclined, Stripe, StripeRefused
from takings.policies.rules import Policy
from takings.records import new_id

Surface = Literal["checkout", "intent", "saved"]


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
        # Nobody is there to be redirected.
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
    }


OPENED = """
UPDATE payments
   SET intent_id = coalesce($2, intent_id), session_id = coalesce($3, session_id),
       client_secret = $4, url = $5
 WHERE id = $1
"""


async def ask(
    database: Database, door: Stripe, order: Ask, settlement: Settlement, *, now: datetime
) -> None:
    """Carry a payment's ask to Stripe and record the answer; a saved card may settle at once.

    Raises CardDeclined or StripeRefused, and then the payment is over; StripeAway or StripeBusy,
    and then it is asked again later under the same key.
    """
    payment = order.key.partition(":")[2]
    try:
        answer = await asks.answer(database, door, order, now)
    except (CardDeclined, StripeRefused):
        await database.run(_over, order.key, payment, settlement, now)
        raise
    if answer is None:  # it never reached Stripe, so nobody was shown where to pay
        await database.run(_over, order.key, payment, settlement, now)
        raise PaymentOver(id=payment, state="cancelled")

    async def record(session: AsyncSession) -> None:
        await asks.answered(session, order.key, now)
        hosted = answer["object"] == "checkout.session"
        intent = answer.get("payment_intent") if hosted else answer["id"]
        secret = None if hosted else answer["client_secret"]
        shown = (answer["id"], None, answer["url"]) if hosted else (None, secret, None)
        await fetch(session, OPENED, payment, intent, *shown)
        if not hosted and answer["status"] == "succeeded":
            await payments.settle(session, [payments.paid_by_intent(answer, now)], settlement, now)

    await database.run(record)


async def _over(
    session: AsyncSession, key: str, payment: str, settlement: Settlement, now: datetime
) -> None:
    await asks.answered(session, key, now)
    await payments.cancel(session, [payment], settlement, now)
