"""Orders: a payment to be opened, written down first and then carried to Stripe.

``open`` writes the payment, its lines and what is to be asked of Stripe in the caller's
transaction; ``ask`` carries that to Stripe and records the answer.  An order says when its money is
taken: at once, or after it was authorised (``captures.py``).
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlmodel.ext.asyncio.session import AsyncSession

from takings import commission, money, splits
from takings.database import Database, fetch
from takings.errors import Conflict, Invalid, Refused, Unavailable
from takings.money import Money
from takings.payments import allotments, asks, captures, payments
from takings.payments.asks import Ask, InFlight
from takings.payments.captures import Capture
from takings.payments.objects import Object
from takings.payments.payments import Settlement
from takings.payments.stripe import Call, CardDeclined, Stripe, StripeRefused
from takings.policies.rules import Policy
from takings.records import new_id

Surface = Literal["checkout", "intent", "saved"]


class PaymentOver(Conflict):
    """The payment {id} is {state}: it can no longer be paid.

    Start a new one.
    """


class SurfaceNeeds(Invalid):
    """Paying by {surface} needs {missing}.

    Send it along, or choose another surface.
    """

    param = "surface"


class ChannelNotSettled(Refused):
    """A sale through {channel} is not ours to settle: the store has the money.

    Sell on the web; a preview says what would be left of a price in the store.
    """

    param = "channel"


CALLS: frozenset[Call] = frozenset({"payment_intents.create", "checkout.sessions.create"})
"""The calls that ``ask`` carries."""

NEEDS: Mapping[Surface, tuple[str, ...]] = {
    "checkout": ("success_url", "cancel_url"),
    "intent": (),
    "saved": ("customer", "payment_method"),
}


def check_surface(wish: Any) -> None:
    """Nothing happens if it is sold on the web, and says all that its surface needs.

    Else ChannelNotSettled or SurfaceNeeds.
    """
    if wish.channel != "web":
        raise ChannelNotSettled(channel=wish.channel)
    missing = [field for field in NEEDS[wish.surface] if not getattr(wish, field)]
    if missing:
        raise SurfaceNeeds(surface=wish.surface, missing=" and ".join(missing))


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to pay for; a tip says when it was given, and so who was on stage."""

    kind: str
    subject: str
    agreement_version: int
    money: Money
    label: str
    given_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """A payment to be opened: by whom, for what of which Space, and on which surface.

    What it is for may come later: then ``cap`` is what is authorised, card fee included, and
    ``label`` what the payer reads.  ``expires_at`` is until when Stripe's page can be paid, half an
    hour at least; else it is a day.
    """

    id: str
    listener: str
    space: str
    surface: Surface
    policy: Policy
    items: tuple[Item, ...] = ()
    capture: Capture = "at_once"
    cap: Money | None = None
    label: str = ""
    success_url: str | None = None
    cancel_url: str | None = None
    customer: str | None = None
    payment_method: str | None = None
    expires_at: datetime | None = None

    @property
    def charge(self) -> Money:
        """What the listener pays, or at most pays."""
        return self.cap or charge(self.policy, total(self.items))

    @property
    def title(self) -> str:
        """What Stripe's page calls it."""
        return (self.label or ", ".join(item.label for item in self.items))[:250]


def total(items: Sequence[Item]) -> Money:
    """What the items cost, without the card fee."""
    return sum((item.money for item in items[1:]), items[0].money)


def charge(policy: Policy, cost: Money) -> Money:
    """What the listener pays for it: with the card fee, where the listener bears that."""
    if policy.fee_bearer != "listener":
        return cost
    terms = policy.terms_in(cost.currency)
    step = money.charge_step(cost.currency)
    return Money(commission.cover(cost.minor, terms.fee, step=step), cost.currency)


PAYMENT = """
INSERT INTO payments (id, listener_id, space_id, release_days, surface, state, minor, currency,
                      fees_covered, capture, created_at)
VALUES ($1, $2, $3, $4, $5, 'open', $6, $7, $8, $9, $10)
"""

LINES = """
INSERT INTO lines (id, payment_id, kind, subject, space_id, agreement_version, policy,
                   policy_version, currency, minor, fees_covered, refunding, returned, on_stage)
SELECT l.id, p.id, l.kind, l.subject, p.space_id, l.agreement, $2, $3, $4, l.minor, l.fees, 0, 0,
       on_stage(p.space_id, l.agreement, l.given_at)
  FROM payments p,
       unnest($5::text[], $6::text[], $7::text[], $8::smallint[], $9::bigint[], $10::bigint[],
              $11::timestamptz[])
         AS l (id, kind, subject, agreement, minor, fees, given_at)
 WHERE p.id = $1
"""


async def open(session: AsyncSession, order: Order, now: datetime) -> Ask:  # noqa: A001
    """Write down a payment, its lines, and what is to be asked of Stripe for it."""
    paid = order.charge
    money.check_charge(paid)
    covered = paid.minor - total(order.items).minor if order.items else 0
    days = max(order.policy.release_days, order.policy.refund_window_days)
    about = (order.id, order.listener, order.space, days, order.surface)
    await fetch(session, PAYMENT, *about, paid.minor, paid.currency, covered, order.capture, now)
    if order.items:
        await write_lines(session, order.id, order.policy, order.items, covered)
    return await asks.write(session, f"payment:{order.id}", *_request(order, paid), now)


async def write_lines(
    session: AsyncSession, payment: str, policy: Policy, items: Sequence[Item], covered: int
) -> None:
    """Write down what a payment pays for, the covered card fee divided over it by amount."""
    parts = splits.divide(covered, [item.money.minor for item in items])
    ids = sorted(new_id("line") for _ in items)  # lines come in the order of their ids
    columns = allotments.columns(
        (line, i.kind, i.subject, i.agreement_version, i.money.minor, part, i.given_at)
        for line, i, part in zip(ids, items, parts, strict=True)
    )
    rules = (policy.name, policy.version, items[0].money.currency)
    await fetch(session, LINES, payment, *rules, *columns)


def _request(order: Order, paid: Money) -> tuple[Call, dict[str, Any]]:
    """Which call the surface makes, and with what."""
    ours = {"takings_payment": order.id}
    manual = {} if order.capture == "at_once" else {"capture_method": "manual"}
    if order.surface == "checkout":
        price = {
            "currency": paid.currency,
            "unit_amount": paid.minor,
            "product_data": {"name": order.title},
        }
        return "checkout.sessions.create", {
            "mode": "payment",
            "client_reference_id": order.id,
            "line_items": [{"price_data": price, "quantity": 1}],
            # A session's amount is what was authorised: no proof of what was captured.
            "metadata": ours | ({"takings_capture": order.capture} if manual else {}),
            "payment_intent_data": {"metadata": ours} | manual,
            "success_url": order.success_url,
            "cancel_url": order.cancel_url,
        } | ({"expires_at": int(order.expires_at.timestamp())} if order.expires_at else {})
    intent = {"amount": paid.minor, "currency": paid.currency, "metadata": ours} | manual
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

    What was undone while Stripe was asked is let go again.

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

    undone = await database.run(_record, order.key, payment, answer, settlement, now)
    if undone is not None:
        with suppress(Unavailable):
            await captures.carry(database, door, undone, settlement, now=now)


async def _record(
    session: AsyncSession,
    key: str,
    payment: str,
    answer: Object,
    settlement: Settlement,
    now: datetime,
) -> Ask | None:
    """Note what Stripe made, and what that proves; answer what is to be let go of it."""
    first = await asks.answered(session, key, now)
    hosted = answer["object"] == "checkout.session"
    intent = answer.get("payment_intent") if hosted else answer["id"]
    secret = None if hosted else answer["client_secret"]
    shown = (answer["id"], None, answer["url"]) if hosted else (None, secret, None)
    await fetch(session, OPENED, payment, intent, *shown)
    if not hosted and answer["status"] == "succeeded":
        await payments.settle(session, [payments.paid_by_intent(answer, now)], settlement, now)
    if not hosted and answer["status"] == "requires_capture":
        await captures.authorised(session, answer, now)
    row = await captures.lock(session, payment)
    if not first or row.state != "cancelled" or row.capture == "at_once":
        return None
    return await captures.let_go(session, row, settlement, now)


async def again(
    database: Database, door: Stripe, payment_id: str, settlement: Settlement, *, now: datetime
) -> None:
    """Go on with the opening of a payment that was written down before, where it is not done.

    Raises as ``ask`` does; PaymentOver if nobody can pay it any more, InFlight while somebody else
    is at it.
    """
    order = await asks.take(database, f"payment:{payment_id}", now)
    if order is not None:
        return await ask(database, door, order, settlement, now=now)
    payment = await database.run(payments.get, payment_id)
    if payment.state == "cancelled":
        raise PaymentOver(id=payment_id, state=payment.state)
    if payment.intent_id is None and payment.session_id is None:
        raise InFlight
    return None


async def _over(
    session: AsyncSession, key: str, payment: str, settlement: Settlement, now: datetime
) -> None:
    await asks.answered(session, key, now)
    await payments.cancel(session, [payment], settlement, now)
