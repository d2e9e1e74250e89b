"""Tabs: a listener's tips of one room, gathered into one charge.

    opening ──► open ──► closing ──► settled      one capture of what was given
       │         │          │
       └─────────┴──────────┴──────► cancelled    never authorised, nothing given, or lapsed

The cap is authorised when the tab is opened, and is the most that is ever charged, card fee
included.  Giving a tip on it asks nothing of Stripe: the payment's lock keeps tips that come at the
same time below the cap, and a tip from coming after the close.  Closing writes a line for each tip,
under the agreement that the tip was given under, and captures their sum.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import money, records
from takings.database import Database, fetch
from takings.errors import Conflict, Invalid, NotFound, Refused, TakingsError, Unavailable
from takings.money import Money
from takings.payments import captures, orders
from takings.payments.asks import Ask
from takings.payments.orders import Item, Order, Surface
from takings.payments.stripe import Stripe
from takings.payments.tables import Payment
from takings.policies import policies
from takings.policies.rules import Channel
from takings.spaces import spaces
from tipping import tips
from tipping.tables import Tab, Tip
from tipping.tips import SETTLEMENT, Gift, Sent, TipDiffers

log = structlog.get_logger()

BATCH = 50


class TabDiffers(Conflict):
    """There is already a tab {id}, and it is another one.

    Open the new tab under an id of its own.
    """

    param = "id"


class TabNotOpen(Conflict):
    """The tab {id} is {state}: tips can be given on it only while it is open.

    One that is opening, the listener has to authorise first; else open another one.
    """

    param = "tab"


class TabFull(Refused):
    """With this tip the tab {id} would charge {charge}, and its cap is {cap}.

    Give less, or close it and open another one.
    """

    param = "amount"


class CapTooSmall(Invalid):
    """The cap is {cap}, and the smallest tip already charges {charge}.

    Open the tab with a larger cap.
    """

    param = "cap"


@dataclass(frozen=True, slots=True)
class TabWish:
    """A tab that a listener wants to open: the most it may charge, and how they pay it.

    The surfaces are those of a tip.
    """

    id: str
    space: str
    listener: str
    cap: Money
    surface: Surface = "checkout"
    success_url: str | None = None
    cancel_url: str | None = None
    customer: str | None = None
    payment_method: str | None = None
    channel: Channel = "web"


@dataclass(frozen=True, slots=True)
class TabTip:
    """A tip that a listener gives on their tab."""

    id: str
    tab: str
    money: Money
    message: str | None = None
    anonymous: bool = False


@dataclass(frozen=True, slots=True)
class Opened:
    """A tab, its payment, and what was given on it and not undone."""

    tab: Tab
    payment: Payment
    given: Money
    tips: int

    @property
    def state(self) -> str:
        """Opening until authorised, open until closed, closing until paid or cancelled."""
        if self.payment.state in ("paid", "cancelled"):
            return "settled" if self.payment.state == "paid" else "cancelled"
        if self.tab.closed_at is not None:
            return "closing"
        return "open" if self.payment.state == "authorised" else "opening"


async def open(  # noqa: A001 - read as tabs.open
    database: Database, door: Stripe, wish: TabWish, *, now: datetime
) -> Opened:
    """Open a tab: write it down, then have its cap authorised at Stripe; repeatable by its id.

    Raises as ``tips.send`` does, and CapTooSmall.
    """
    records.check_id(wish.id, wish.listener)
    orders.check_surface(wish)
    door.check_settles(wish.cap.currency)
    ask = await database.run(_open, wish, now)
    if ask is not None:
        await orders.ask(database, door, ask, SETTLEMENT, now=now)
    else:
        known = await get(database, wish.id)
        await orders.again(database, door, known.payment.id, SETTLEMENT, now=now)
    return await get(database, wish.id)


CLAIM = """
INSERT INTO tabs (id, payment_id, space_id, listener_id, cap, currency, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (id) DO NOTHING RETURNING id
"""


async def _open(session: AsyncSession, wish: TabWish, now: datetime) -> Ask | None:
    """The tab, its payment and its ask in one transaction; None where the tab is already there."""
    tab = await session.get(Tab, wish.id)
    if tab is not None:
        payment = await session.get_one(Payment, tab.payment_id)
        told = (payment.surface, tab.space_id, tab.listener_id, tab.cap, tab.currency)
        cap = (wish.cap.minor, wish.cap.currency)
        if told != (wish.surface, wish.space, wish.listener, *cap):
            raise TabDiffers(id=wish.id)
        return None
    space, policy, _ = await tips.receiving(session, wish.space)
    least = Money(policy.terms_in(wish.cap.currency).minimum, wish.cap.currency)
    if orders.charge(policy, least) > wish.cap:
        raise CapTooSmall(charge=orders.charge(policy, least), cap=wish.cap)
    order = Order(
        id=records.new_id("pay"),
        listener=wish.listener,
        space=space.id,
        surface=wish.surface,
        policy=policy,
        capture="at_close",
        cap=wish.cap,
        label="Tips, at most",
        success_url=wish.success_url,
        cancel_url=wish.cancel_url,
        customer=wish.customer,
        payment_method=wish.payment_method,
    )
    row = (wish.id, order.id, space.id, wish.listener, wish.cap.minor, wish.cap.currency, now)
    if not await fetch(session, CLAIM, *row):
        return await _open(session, wish, now)  # somebody was quicker: with the same tab?
    return await orders.open(session, order, now)


async def tip(database: Database, given: TabTip, *, now: datetime) -> Sent:
    """Give a tip on an open tab, under the room's agreement of now; repeatable by its id.

    It can be undone for ten seconds (``tips.undo``).  Raises TabNotOpen, TabFull, TipDiffers, and
    what the policy and the limits refuse.
    """
    await database.run(_tip, given, now)
    return await tips.get(database, given.id)


GIVEN = """
SELECT id, agreement_version, minor, currency, created_at FROM tips
 WHERE payment_id = $1 AND cancelled_at IS NULL ORDER BY created_at, id
"""


async def _tip(session: AsyncSession, given: TabTip, now: datetime) -> None:
    tab, payment = await _locked(session, given.tab)
    gift = Gift(
        given.id, tab.space_id, tab.listener_id, given.money, given.message, given.anonymous
    )
    tips.check(gift)
    known = await session.get(Tip, given.id)
    if known is not None:
        if known.payment_id != tab.payment_id or not tips.is_same(known, gift):
            raise TipDiffers(id=given.id)
        return
    if payment.state != "authorised" or tab.closed_at is not None:
        raise TabNotOpen(id=tab.id, state=(await of(session, tab.id)).state)
    space, policy, _ = await tips.receiving(session, tab.space_id)
    money.check_charge(orders.charge(policy, given.money))  # so is every sum of such, undone or not
    cap = Money(tab.cap, tab.currency)
    so_far = await fetch(session, GIVEN, tab.payment_id)
    charge = orders.charge(policy, sum((_money(row) for row in so_far), given.money))
    if charge > cap:
        raise TabFull(id=tab.id, charge=charge, cap=cap)
    if not await tips.give(session, gift, space, policy, tab.payment_id, now):
        raise TipDiffers(id=given.id)  # somebody gave another one under this id a moment ago


async def close(database: Database, door: Stripe, tab_id: str, *, now: datetime) -> Opened:
    """Close a tab and capture what was given on it; with nothing given, let it go; repeatable.

    Nobody waits for Stripe to be back: then the tab is closing, and the worker goes on.
    """
    ask = await database.run(_close, tab_id, now)
    if ask is not None:
        with suppress(Unavailable):
            await captures.carry(database, door, ask, SETTLEMENT, now=now)
    return await get(database, tab_id)


# In no order: else a batch of those that cannot be closed would come first for ever.
ENDED = """
SELECT t.id FROM tabs t JOIN spaces s ON s.id = t.space_id
 WHERE t.closed_at IS NULL AND s.state IN ('ended', 'cancelled') ORDER BY random() LIMIT $1
"""


async def close_ended(database: Database, door: Stripe, *, now: datetime) -> int:
    """Close the tabs of rooms that are over, a batch of them; answer how many that were."""
    rows = await database.fetch(ENDED, BATCH)
    found: list[Ask | None] = []
    for row in rows:
        try:
            found.append(await database.run(_close, row.id, now))
        except Unavailable:
            raise
        except TakingsError as error:  # this one alone; its turn comes again
            log.warning("tab_not_closed", tab=row.id, error=error.code, why=error.message)
    await captures.carry_all(database, door, [ask for ask in found if ask], SETTLEMENT, now=now)
    return len(found)


CLOSE = "UPDATE tabs SET closed_at = $2 WHERE id = $1"


async def _close(session: AsyncSession, tab_id: str, now: datetime) -> Ask | None:
    """Close the tab under its payment's lock; answer what is to be asked of Stripe for it."""
    tab, payment = await _locked(session, tab_id)
    if tab.closed_at is not None:
        return None
    await fetch(session, CLOSE, tab_id, now)
    if payment.state not in ("open", "processing", "authorised"):
        return None  # it has lapsed before
    given = await fetch(session, GIVEN, tab.payment_id)
    if payment.state != "authorised" or not given:
        return await captures.let_go(session, payment, SETTLEMENT, now)
    space = await spaces.get(session, tab.space_id)
    policy = await policies.get(session, space.policy, space.policy_version)
    items = [
        Item("tip", row.id, row.agreement_version, _money(row), "Tip", given_at=row.created_at)
        for row in given
    ]
    total = orders.total(items)
    charge = orders.charge(policy, total)
    covered = charge.minor - total.minor
    await orders.write_lines(session, payment.id, policy, items, covered)
    return await captures.reduced(session, payment.id, charge.minor, covered, now)


async def _locked(session: AsyncSession, tab_id: str) -> tuple[Tab, Row[Any]]:
    """The tab and its payment, under the payment's lock."""
    rows = await fetch(session, "SELECT payment_id FROM tabs WHERE id = $1", tab_id)
    if not rows:
        raise NotFound(kind="tab", id=tab_id)
    payment = await captures.lock(session, rows[0].payment_id)
    return await session.get_one(Tab, tab_id), payment


def _money(row: Any) -> Money:
    return Money(row.minor, row.currency)


async def get(database: Database, tab_id: str) -> Opened:
    """The tab of this id with its payment and what was given on it, or NotFound."""
    return await database.run(of, tab_id)


async def of(session: AsyncSession, tab_id: str) -> Opened:
    """The same, as a step."""
    tab = await session.get(Tab, tab_id)
    if tab is None:
        raise NotFound(kind="tab", id=tab_id)
    payment = await session.get_one(Payment, tab.payment_id)
    given = [_money(row) for row in await fetch(session, GIVEN, payment.id)]
    return Opened(tab, payment, sum(given, Money(0, tab.currency)), len(given))
