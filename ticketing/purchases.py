"""Purchases: what a buyer does with a hold; paid, or where it costs nothing, it becomes tickets.

    open ──► settled        the payment is paid, or nothing was to be paid: every ticket is valid
      ├────► unseated       paid, but its hold was over and no seat was left: the money goes back
      └────► cancelled      the payment is over; while the hold lasts it can be bought anew

A hold has one purchase at a time.  Its payment is opened at Stripe when the transaction of the hold
is over; what becomes of it stands in ``sales.py``.  While it is open, the hold ends through
``expiring`` (``endings.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy.engine import Row
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import records
from takings.database import Database, fetch
from takings.errors import Conflict, Invalid, NotFound
from takings.money import Money
from takings.payments import orders
from takings.payments.asks import Ask
from takings.payments.orders import Item, Order, Surface
from takings.payments.stripe import Stripe
from takings.payments.tables import Payment
from takings.policies import policies
from takings.policies.rules import BelowMinimum, Channel
from ticketing import pools, sales
from ticketing.holds import HoldOver, NotYourHold
from ticketing.sale_tables import Purchase, Ticket
from ticketing.sales import SETTLEMENT
from ticketing.tables import Hold, Run

PAGE_OPEN: Final = timedelta(minutes=35)
"""How long Stripe's page can be paid, and the hold lasts with it.

Stripe's least is 30 minutes by its own clock, from when it is asked.
"""

LONGEST: Final = timedelta(hours=2)
"""How long a hold can last in all, however often somebody begins to buy it."""


class PurchaseDiffers(Conflict):
    """There is already a purchase {id}, and it is another one.

    Send the new purchase under an id of its own.
    """

    param = "id"


class PurchaseOpen(Conflict):
    """The hold {hold} is being bought, or was: by the purchase {purchase}.

    Go on with that one.
    """

    param = "hold"


class SaleOver(Conflict):
    """The Space {space} is {state}: no tickets are sold for it any more.

    The hold ends by itself.
    """

    param = "hold"


class PriceDiffers(Conflict):
    """A ticket of the hold {hold} costs {price}, not {amount}.

    Leave the amount out, or show the listener the hold's price.
    """

    param = "amount"


class HoldersDoNotMatch(Invalid):
    """There are {quantity} tickets, and {named} names for those who come.

    Name everybody, or nobody.
    """

    param = "holders"


@dataclass(frozen=True, slots=True)
class PurchaseWish:
    """A hold that its listener wants to buy, and how they want to pay it.

    ``holders`` are the names of those who will come, one for each ticket, or none.  ``amount`` is
    what the listener gives for each, in minor units of the run's currency, where that is theirs to
    choose.  The surfaces are those of a tip; what costs nothing needs none.
    """

    id: str
    hold: str
    listener: str
    holders: tuple[str, ...] = ()
    amount: int | None = None
    surface: Surface = "checkout"
    success_url: str | None = None
    cancel_url: str | None = None
    customer: str | None = None
    payment_method: str | None = None
    channel: Channel = "web"


State = Literal["open", "settled", "unseated", "cancelled"]


@dataclass(frozen=True, slots=True)
class Bought:
    """A purchase with its hold, its tickets and its payment; None where it cost nothing."""

    purchase: Purchase
    hold: Hold
    run: Run
    payment: Payment | None
    tickets: tuple[Ticket, ...]

    @property
    def state(self) -> State:
        """Open until the payment is paid or over."""
        if self.purchase.settled_at:
            return "settled"
        if self.purchase.unseated_at:
            return "unseated"
        return "cancelled" if self.purchase.cancelled_at else "open"


async def open(  # noqa: A001 - read as purchases.open
    database: Database, door: Stripe, wish: PurchaseWish, *, now: datetime
) -> Bought:
    """Buy what is held: write it down, then open its payment at Stripe; repeatable by its id.

    Where it costs nothing the tickets are valid at once.  Raises NotFound, NotYourHold, HoldOver,
    PurchaseOpen, SaleOver, PriceDiffers, HoldersDoNotMatch, PurchaseDiffers, what the policy
    refuses, and the rest as ``tips.send`` does; a declined card leaves the hold as it was.
    """
    records.check_id(wish.id)
    ask = await database.run(_open, door, wish, now)
    if ask is not None:
        await orders.ask(database, door, ask, SETTLEMENT, now=now)
        return await get(database, wish.id)
    known = await get(database, wish.id)
    if known.payment is None:
        return known
    await orders.again(database, door, known.payment.id, SETTLEMENT, now=now)
    return await get(database, wish.id)


PAYING = """
UPDATE holds
   SET paying = true,
       expires_at = greatest(expires_at, least($2::timestamptz, created_at + $3::interval))
 WHERE id = $1
"""


async def _open(
    session: AsyncSession, door: Stripe, wish: PurchaseWish, now: datetime
) -> Ask | None:
    """The purchase with its tickets, its payment and its ask; None where nothing is to be asked."""
    hold = await _hold(session, wish)
    price = _price(hold, wish)
    state = await _lock(session, hold, free=not price)
    if await session.get(Purchase, wish.id) is not None:
        await _check_same(session, price, wish)
        return None
    await _check_open(session, hold, state)
    policy = await policies.get(session, hold.policy, hold.policy_version)
    payment = None
    if price:
        orders.check_surface(wish)
        door.check_settles(price.currency)
        policy.check(price)
        payment = records.new_id("pay")
    tickets = await sales.write(session, wish.id, hold, price, wish.holders, payment, now)
    if not tickets:
        return await _open(session, door, wish, now)  # somebody was quicker: with the same one?
    if payment is None:
        await sales.sell(session, hold.run_id, [wish.id], now)
        return None
    await fetch(session, PAYING, wish.hold, now + PAGE_OPEN, LONGEST)
    order = Order(
        id=payment,
        listener=wish.listener,
        space=hold.space,
        surface=wish.surface,
        policy=policy,
        items=tuple(
            Item("ticket", one, hold.agreement_version, price, "Ticket") for one in tickets
        ),
        label=f"Ticket: {hold.tier}" if len(tickets) == 1 else f"{len(tickets)} × {hold.tier}",
        success_url=wish.success_url,
        cancel_url=wish.cancel_url,
        customer=wish.customer,
        payment_method=wish.payment_method,
        expires_at=now + PAGE_OPEN,
    )
    return await orders.open(session, order, now)


HOLD = """
SELECT h.id, h.run_id, h.tier_id, h.listener_id, h.quantity, h.minor, t.name AS tier, t.kind,
       r.currency, r.policy, r.policy_version, r.cancelled_at,
       s.id AS space, s.state AS space_state, s.agreement_version
  FROM holds h
  JOIN tiers t ON t.id = h.tier_id
  JOIN runs r ON r.id = h.run_id
  JOIN spaces s ON s.id = r.space_id
 WHERE h.id = $1
"""


async def _hold(session: AsyncSession, wish: PurchaseWish) -> Row[Any]:
    """What is bought: all of it but the hold's state never changes."""
    for hold in await fetch(session, HOLD, wish.hold):
        if hold.listener_id != wish.listener:
            raise NotYourHold(id=hold.id)
        if wish.holders and len(wish.holders) != hold.quantity:
            raise HoldersDoNotMatch(quantity=hold.quantity, named=len(wish.holders))
        return hold
    raise NotFound(kind="hold", id=wish.hold)


def _price(hold: Row[Any], wish: PurchaseWish) -> Money:
    """What one ticket costs; PriceDiffers or BelowMinimum where the listener gives otherwise."""
    price = Money(hold.minor, hold.currency)
    amount = price if wish.amount is None else Money(wish.amount, hold.currency)
    if hold.kind != "choice" and amount != price:
        raise PriceDiffers(hold=hold.id, price=price, amount=amount)
    if amount < price:
        raise BelowMinimum(amount=amount, minimum=price)
    return amount


LOCK = "SELECT state FROM holds WHERE id = $1 FOR NO KEY UPDATE"


async def _lock(session: AsyncSession, hold: Row[Any], *, free: bool) -> str:
    """The hold's state, which stays so; who sells at once has the run's lock before."""
    if free:
        await pools.lock(session, hold.run_id)
    return str((await fetch(session, LOCK, hold.id))[0].state)


async def _check_same(session: AsyncSession, price: Money, wish: PurchaseWish) -> None:
    """Nothing happens if the purchase that is there is this one, sent again."""
    known = await of(session, wish.id)
    same = known.hold.id == wish.hold and known.tickets[0].minor == price.minor
    if not same or (known.payment is not None and known.payment.surface != wish.surface):
        raise PurchaseDiffers(id=wish.id)
    check_holders(known, wish.holders)


def check_holders(known: Bought, names: Sequence[str]) -> None:
    """Nothing happens if those who were to come are these; who was passed a ticket is another."""
    pairs = zip(known.tickets, names or (None,) * len(known.tickets), strict=True)
    if any(one.serial == 1 and one.holder != name for one, name in pairs):
        raise PurchaseDiffers(id=known.purchase.id)


LIVE = """
SELECT id FROM purchases WHERE hold_id = $1 AND cancelled_at IS NULL AND unseated_at IS NULL
"""


async def _check_open(session: AsyncSession, hold: Row[Any], state: str) -> None:
    """Nothing happens if the hold can be bought; it can until it is over, whatever the time is."""
    for live in await fetch(session, LIVE, hold.id):
        raise PurchaseOpen(hold=hold.id, purchase=live.id)
    if state != "held":
        raise HoldOver(id=hold.id, state=state)
    if hold.cancelled_at is not None or hold.space_state not in ("scheduled", "live"):
        over = "called off" if hold.cancelled_at is not None else hold.space_state
        raise SaleOver(space=hold.space, state=over)


EVERY: Final[Any] = (
    select(Purchase, Hold, Run, Payment)
    .join(Hold, col(Hold.id) == col(Purchase.hold_id))
    .join(Run, col(Run.id) == col(Purchase.run_id))
    .outerjoin(Payment, col(Payment.id) == col(Purchase.payment_id))
)
"""Purchases with what ``shown`` needs of them."""


async def get(database: Database, purchase_id: str) -> Bought:
    """The purchase of this id with its tickets, or NotFound."""
    return await database.run(of, purchase_id)


async def of(session: AsyncSession, purchase_id: str) -> Bought:
    """The same, as a step."""
    rows = (await session.exec(EVERY.where(Purchase.id == purchase_id))).all()
    if not rows:
        raise NotFound(kind="purchase", id=purchase_id)
    return (await shown(session, rows))[0]


async def shown(session: AsyncSession, rows: Sequence[Any]) -> list[Bought]:
    """Rows of ``EVERY`` as values, with their tickets."""
    ids = [purchase.id for purchase, *_ in rows]
    wanted = select(Ticket).where(col(Ticket.purchase_id).in_(ids)).order_by(col(Ticket.id))
    tickets = (await session.exec(wanted)).all()
    return [
        Bought(
            purchase, hold, run, payment, tuple(t for t in tickets if t.purchase_id == purchase.id)
        )
        for purchase, hold, run, payment in rows
    ]
