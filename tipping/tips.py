"""Tips: sent by a listener, settled by Stripe's word, refunded like every payment.

    pending ──► settled          when the payment is paid
       └──────► cancelled        undone in time, or its payment never came

A tip that may be undone is authorised first and captured ten seconds later (``captures.py``).  The
tips of a tab share one payment, captured when the tab is closed (``tabs.py``).
"""

from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import records
from takings.database import Database, fetch
from takings.errors import Conflict, Invalid, NotFound, Refused, Unavailable
from takings.money import Money
from takings.payments import captures, orders
from takings.payments.asks import Ask
from takings.payments.captures import Capture
from takings.payments.lines import Line
from takings.payments.orders import Item, Order, Surface
from takings.payments.payments import Kind, Settlement
from takings.payments.stripe import Stripe
from takings.payments.tables import Payment
from takings.policies import policies
from takings.policies.rules import Channel, Policy
from takings.spaces import agreements, spaces
from takings.spaces.tables import Space
from tipping import limits
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


class NotUndoable(Refused):
    """The tip {id} was not sent as one that can be undone.

    Send tips with "undoable", or refund this one.
    """


class UndoOver(Conflict):
    """The tip {id} can no longer be undone: that is possible for ten seconds.

    When it is settled, it can be refunded.
    """


@dataclass(frozen=True, slots=True)
class Gift:
    """What a listener gives to a room, however it is paid."""

    id: str
    space: str
    listener: str
    money: Money
    message: str | None = None
    anonymous: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """A tip that a listener wants to send, and how they want to pay.

    ``checkout`` redirects to Stripe's page, ``intent`` is for a client that embeds Stripe's form,
    ``saved`` charges a payment method that the listener has saved.  ``undoable`` gives the listener
    ten seconds, once the bank has set the money aside, to take the tip back as if never sent.  What
    comes through an app store's ``channel`` is refused.
    """

    id: str
    space: str
    listener: str
    money: Money
    surface: Surface = "checkout"
    message: str | None = None
    anonymous: bool = False
    undoable: bool = False
    success_url: str | None = None
    cancel_url: str | None = None
    customer: str | None = None
    payment_method: str | None = None
    channel: Channel = "web"

    @property
    def gift(self) -> Gift:
        """What is given."""
        return Gift(self.id, self.space, self.listener, self.money, self.message, self.anonymous)

    @property
    def capture(self) -> Capture:
        """When its money is taken."""
        return "after_undo" if self.undoable else "at_once"


State = Literal["pending", "settled", "cancelled"]


def state(tip: Tip) -> State:
    """Pending until settled; cancelled where it was undone or the payment is over."""
    if tip.settled_at:
        return "settled"
    return "cancelled" if tip.cancelled_at else "pending"


@dataclass(frozen=True, slots=True)
class Sent:
    """A tip and the payment that carries it: its own, or its tab's."""

    tip: Tip
    payment: Payment

    @property
    def state(self) -> State:
        """Where the tip is."""
        return state(self.tip)

    @property
    def undo_until(self) -> datetime | None:
        """Until when the tip can be undone, where that is known and not decided otherwise.

        A tip that may be undone, but whose money is not authorised yet, has its time before it.
        """
        if self.state != "pending" or self.payment.state != "authorised":
            return None
        if self.payment.capture == "at_close":
            return self.tip.created_at + captures.UNDO
        return self.payment.capture_at


async def send(database: Database, door: Stripe, wish: Wish, *, now: datetime) -> Sent:
    """Send a tip: write it down, then open its payment at Stripe; repeatable by its id.

    Raises what is wrong with the wish before anything is written; CardDeclined where a saved card
    is; StripeAway where Stripe is, and then the same tip can be sent again; InFlight while the
    same tip is being sent by somebody else.
    """
    ask = await database.run(write, door, wish, now)
    return await carry(database, door, wish.id, ask, now=now)


async def carry(
    database: Database, door: Stripe, tip_id: str, ask: Ask | None, *, now: datetime
) -> Sent:
    """Open the payment of a tip that is written down and committed; None asks for it again.

    Raises as ``send`` does.
    """
    if ask is not None:
        await orders.ask(database, door, ask, SETTLEMENT, now=now)
    else:
        known = await get(database, tip_id)
        await orders.again(database, door, known.payment.id, SETTLEMENT, now=now)
    return await get(database, tip_id)


def check(gift: Gift) -> None:
    """Nothing happens if the gift is well formed; else BadId or MessageTooLong."""
    records.check_id(gift.id, gift.listener)
    if gift.message is not None and len(gift.message) > MESSAGE_MAX:
        raise MessageTooLong(length=len(gift.message), most=MESSAGE_MAX)


async def write(session: AsyncSession, door: Stripe, wish: Wish, now: datetime) -> Ask | None:
    """Write down a tip, its payment and what to ask of Stripe; None where it is already there.

    ``carry`` asks that, once the transaction is committed.  Raises what is wrong with the wish.
    """
    check(wish.gift)
    orders.check_surface(wish)
    door.check_settles(wish.money.currency)
    if (tip := await session.get(Tip, wish.id)) is not None:
        payment = await session.get_one(Payment, tip.payment_id)
        same = (payment.surface, payment.capture) == (wish.surface, wish.capture)
        if not same or not is_same(tip, wish.gift):
            raise TipDiffers(id=wish.id)
        return None
    space, policy, agreement = await receiving(session, wish.space)
    order = Order(
        id=records.new_id("pay"),
        listener=wish.listener,
        space=space.id,
        surface=wish.surface,
        policy=policy,
        items=(Item("tip", wish.id, agreement, wish.money, "Tip", given_at=now),),
        capture=wish.capture,
        success_url=wish.success_url,
        cancel_url=wish.cancel_url,
        customer=wish.customer,
        payment_method=wish.payment_method,
    )
    if not await give(session, wish.gift, space, policy, order.id, now):
        return await write(session, door, wish, now)  # somebody was quicker: with the same tip?
    return await orders.open(session, order, now)


def is_same(tip: Tip, gift: Gift) -> bool:
    """Whether the tip that is already there is this gift, sent again."""
    money = Money(tip.minor, tip.currency)
    return gift == Gift(tip.id, tip.space_id, tip.listener_id, money, tip.message, tip.anonymous)


async def receiving(session: AsyncSession, space_id: str) -> tuple[Space, Policy, int]:
    """The live room with its policy and the version of its agreement that is in force.

    Raises SpaceNotLive or AgreementUnsigned where nothing can be given to it.
    """
    space = await spaces.get(session, space_id)
    if space.state != "live":
        raise SpaceNotLive(id=space.id, state=space.state)
    policy = await policies.get(session, space.policy, space.policy_version)
    return space, policy, await agreements.in_force(session, space)


CLAIM = """
INSERT INTO tips (id, payment_id, space_id, agreement_version, listener_id, minor, currency,
                  message, anonymous, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (id) DO NOTHING RETURNING id
"""


async def give(
    session: AsyncSession, gift: Gift, space: Space, policy: Policy, payment: str, now: datetime
) -> bool:
    """Write a tip down under the room's agreement of now; False if its id was just taken.

    Raises what the policy or the limits refuse.
    """
    policy.check(gift.money)
    await limits.check(session, space, policy, gift.id, gift.listener, gift.money, now)
    row = (gift.id, payment, space.id, space.agreement_version, gift.listener)
    about = (gift.money.minor, gift.money.currency, gift.message, gift.anonymous, now)
    return bool(await fetch(session, CLAIM, *row, *about))


async def undo(database: Database, door: Stripe, tip_id: str, *, now: datetime) -> Sent:
    """Take a tip back in its undo time, as if it had never been sent; repeatable.

    Nothing is ever captured of it.  Raises NotFound, NotUndoable, or UndoOver from the end of that
    time on.  That Stripe is away changes nothing: the authorisation is let go when it is back.
    """
    ask = await database.run(_undo, tip_id, now)
    if ask is not None:
        with suppress(Unavailable):
            await captures.carry(database, door, ask, SETTLEMENT, now=now)
    return await get(database, tip_id)


UNDO = "UPDATE tips SET cancelled_at = $2 WHERE id = $1"


async def _undo(session: AsyncSession, tip_id: str, now: datetime) -> Ask | None:
    """Cancel the tip, and its payment where that is its own, under the payment's lock."""
    rows = await fetch(session, "SELECT payment_id FROM tips WHERE id = $1", tip_id)
    if not rows:
        raise NotFound(kind="tip", id=tip_id)
    payment = await captures.lock(session, rows[0].payment_id)
    tip = await session.get_one(Tip, tip_id)
    if tip.cancelled_at is not None:
        return None
    if payment.capture == "at_once":
        raise NotUndoable(id=tip_id)
    if payment.capture == "at_close":
        if payment.state != "authorised" or now >= tip.created_at + captures.UNDO:
            raise UndoOver(id=tip_id)
        await fetch(session, UNDO, tip_id, now)
        return None
    early = payment.state in ("open", "processing")
    if not early and (payment.state != "authorised" or now >= payment.capture_at):
        raise UndoOver(id=tip_id)
    return await captures.let_go(session, payment, SETTLEMENT, now)


SETTLE = "UPDATE tips SET settled_at = $2 WHERE id = ANY($1::text[]) AND settled_at IS NULL"


async def settle(session: AsyncSession, lines: Sequence[Line], now: datetime) -> Collection[str]:
    """These tips have been paid; there is none that could not be given."""
    await fetch(session, SETTLE, sorted(line.subject for line in lines), now)
    return ()


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
        both = select(Tip, Payment).where(Tip.payment_id == Payment.id, Tip.id == tip_id)
        for tip, payment in await session.exec(both):
            return Sent(tip, payment)
        raise NotFound(kind="tip", id=tip_id)

    return await database.run(step)
