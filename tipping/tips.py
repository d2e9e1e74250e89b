"""Tips: sent by a listener, settled by Stripe's word, refunded like every payment."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import records
from takings.database import Database, fetch
from takings.errors import Conflict, Invalid, NotFound, Refused
from takings.money import Money
from takings.payments import asks, orders
from takings.payments.asks import Ask, InFlight
from takings.payments.lines import Line
from takings.payments.orders import Item, Order, PaymentOver, Surface
from takings.payments.payments import Kind, Settlement
from takings.payments.stripe import Stripe
from takings.payments.tables import Payment
from takings.policies import policies
from takings.spaces import spaces
from tipping.tables import Tip

MESSAGE_MAX: Final = 500


class SpaceNotLive(Refused):
    """The Space {id} is {state}: tips are for live rooms.

    Tips are taken from when the room goes live until it ends.
    """

    param = "space"


class MessageTooLong(Invalid):
    """The message has {length} characters; {most} are possible.

    Shorten it.
    """

    param = "message"


class TipDiffers(Conflict):
    """There is already a tip {id}, and it is another one.

    Send the new tip under an id of its own.
    """

    param = "id"


class SurfaceNeeds(Invalid):
    """Paying by {surface} needs {missing}.

    Send it along, or choose another surface.
    """

    param = "surface"


NEEDS: dict[Surface, tuple[str, ...]] = {
    "checkout": ("success_url", "cancel_url"),
    "intent": (),
    "saved": ("customer", "payment_method"),
}


@dataclass(frozen=True, slots=True)
class Wish:
    """A tip that a listener wants to send, and how they want to pay.

    ``checkout`` redirects to Stripe's page, ``intent`` is for a client that embeds Stripe's form,
    ``saved`` charges a payment method that the listener has saved.
    """

    id: str
    space: str
    listener: str
    money: Money
    surface: Surface = "checkout"
    message: str | None = None
    anonymous: bool = False
    success_url: str | None = None
    cancel_url: str | None = None
    customer: str | None = None
    payment_method: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """A tip and the payment that carries it."""

    tip: Tip
    payment: Payment

    @property
    def state(self) -> str:
        """Pending until settled; cancelled where the payment is over."""
        if self.tip.settled_at:
            return "settled"
        return "cancelled" if self.tip.cancelled_at else "pending"


async def send(database: Database, door: Stripe, wish: Wish, *, now: datetime) -> Sent:
    """Send a tip: write it down, then open its payment at Stripe; repeatable by its id.

    Raises what is wrong with the wish before anything is written; CardDeclined where a saved card
    is; StripeAway where Stripe is, and then the same tip can be sent again; InFlight while the
    same tip is being sent by somebody else.
    """
    _check(wish)
    door.check_settles(wish.money.currency)
    ask = await database.run(_write, wish, now)
    if ask is None:
        known = await get(database, wish.id)
        ask = await asks.take(database, f"payment:{known.payment.id}", now)
        if ask is None:
            return _finished(known)
    await orders.ask(database, door, ask, SETTLEMENT, now=now)
    return await get(database, wish.id)


def _check(wish: Wish) -> None:
    records.check_id(wish.id, wish.listener)
    if wish.message is not None and len(wish.message) > MESSAGE_MAX:
        raise MessageTooLong(length=len(wish.message), most=MESSAGE_MAX)
    for field in NEEDS[wish.surface]:
        if not getattr(wish, field):
            raise SurfaceNeeds(surface=wish.surface, missing=field)


def _finished(sent: Sent) -> Sent:
    """The answer to a repetition: the same tip, unless it is still on its way or was refused."""
    if sent.payment.state == "cancelled":
        raise PaymentOver(id=sent.payment.id, state=sent.payment.state)
    if sent.payment.intent_id is None and sent.payment.session_id is None:
        raise InFlight
    return sent


async def _write(session: AsyncSession, wish: Wish, now: datetime) -> Ask | None:
    """The tip, its payment and its ask in one transaction; None where the tip is already there."""
    tip = await session.get(Tip, wish.id)
    if tip is not None:
        payment = await session.get_one(Payment, tip.payment_id)
        told = (
            payment.surface,
            tip.space_id,
            tip.listener_id,
            tip.minor,
            tip.currency,
            tip.message,
            tip.anonymous,
        )
        money = (wish.money.minor, wish.money.currency)
        if told != (wish.surface, wish.space, wish.listener, *money, wish.message, wish.anonymous):
            raise TipDiffers(id=wish.id)
        return None
    space = await spaces.get(session, wish.space)
    if space.state != "live":
        raise SpaceNotLive(id=space.id, state=space.state)
    policy = await policies.get(session, space.policy, space.policy_version)
    policy.check(wish.money)
    order = Order(
        id=records.new_id("pay"),
        listener=wish.listener,
        surface=wish.surface,
        policy=policy,
        items=(Item("tip", wish.id, space.id, space.agreement_version, wish.money, "Tip"),),
        success_url=wish.success_url,
        cancel_url=wish.cancel_url,
        customer=wish.customer,
        payment_method=wish.payment_method,
    )
    claimed = await fetch(
        session,
        CLAIM,
        wish.id,
        order.id,
        space.id,
        wish.listener,
        wish.money.minor,
        wish.money.currency,
        wish.message,
        wish.anonymous,
        now,
    )
    if not claimed:  # somebody else wrote the same id a moment ago
        return None
    return await orders.open(session, order, now)


CLAIM = """
INSERT INTO tips (id, payment_id, space_id, listener_id, minor, currency, message, anonymous,
                  created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (id) DO NOTHING RETURNING id
"""

SETTLE = "UPDATE tips SET settled_at = $2 WHERE id = ANY($1::text[]) AND settled_at IS NULL"


async def settle(session: AsyncSession, lines: Sequence[Line], now: datetime) -> None:
    """These tips have been paid."""
    await fetch(session, SETTLE, sorted(line.subject for line in lines), now)


CANCEL = """
UPDATE tips SET cancelled_at = $2
 WHERE payment_id = ANY($1::text[]) AND settled_at IS NULL AND cancelled_at IS NULL
"""


async def cancel(session: AsyncSession, payments: Sequence[str], now: datetime) -> None:
    """The tips of these payments will never be paid."""
    await fetch(session, CANCEL, payments, now)


SETTLEMENT: Settlement = {"tip": Kind(paid=settle, over=cancel)}
"""What this package adds to the settlement of payments."""


async def get(database: Database, tip_id: str) -> Sent:
    """The tip of this id with its payment, or NotFound."""

    async def step(session: AsyncSession) -> Sent:
        found = await session.exec(
            select(Tip, Payment).where(Tip.payment_id == Payment.id, Tip.id == tip_id)
        )
        for tip, payment in found:
            return Sent(tip, payment)
        raise NotFound(kind="tip", id=tip_id)

    return await database.run(step)
