"""The platform's own payout: what is left at Stripe after everybody who is owed, to its bank.

Stripe would pay out whatever is available, hosts' money too.  So its own schedule is to be manual
(``scheduled``), and no more is asked for than is the platform's.
"""

from contextlib import suppress
from datetime import datetime
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from takings import money, records
from takings.database import Database, LawBroken, fetch
from takings.errors import Conflict, Corrupt, Invalid, Refused
from takings.money import Money
from takings.payments import asks
from takings.payments.asks import AT_ONCE, Ask
from takings.payments.facts import Overtaken
from takings.payments.stripe import Stripe, StripeRefused
from takings.payouts import banks
from takings.payouts.banks import View
from takings.payouts.tables import BankPayout

CALL: Final = "payouts.create"
MANUAL: Final = "manual"
ONE_AT_A_TIME: Final = "bank_payouts_asked_key"


class PlatformHasNotThatMuch(Refused):
    """Of the money that is available at Stripe, {own} is the platform's own.

    The rest is owed to hosts and others. Wait until more is available, or ask for less.
    """

    param = "amount"


class PlatformPayoutOfNothing(Invalid):
    """{amount} cannot be paid out.

    Ask for a positive amount, or for all that there is.
    """

    param = "amount"


class PlatformPayoutDiffers(Conflict):
    """There is already a payout {id}, and it is another one.

    Ask for the new payout under an id of its own.
    """

    param = "id"


class PlatformPayoutUnderWay(Conflict):
    """Another payout in {currency} is being asked for.

    Wait for its answer: what is left is only known then.
    """

    param = "currency"


class PaidOutBySchedule(Corrupt):
    """Stripe pays out the platform's balance {interval} by itself, and hosts' money with it.

    Set the payout schedule of your account at Stripe to manual.
    """


async def check_schedule(door: Stripe) -> None:
    """Nothing happens if Stripe pays nothing out by itself, as far as it says; else it raises."""
    # Read as it came: the SDK's object breaks on a null that Stripe's description allows.
    found = await door.read("/v1/balance_settings")
    interval = ((found["payments"]["payouts"] or {}).get("schedule") or {}).get("interval")
    if interval not in (MANUAL, None):
        raise PaidOutBySchedule(interval=interval)


# Of what is available, less what we owe, and less what has left in our books but not yet in
# Stripe's lines.  What others owe us counts for nothing: it is not there.
OWN = """
SELECT coalesce(sum(CASE WHEN name = 'assets:stripe:available' THEN minor
                         ELSE least(minor, 0) END), 0)::bigint AS minor
  FROM (SELECT a.name, sum(b.minor) AS minor
          FROM accounts a JOIN balances b ON b.account_id = a.id
         WHERE a.currency = $1
           AND (a.name = 'assets:stripe:available' OR a.name LIKE 'clearing:%'
                OR a.name LIKE 'liabilities:%' OR a.name = 'suspense')
         GROUP BY a.name) s
"""


async def own(session: AsyncSession, currency: str) -> Money:
    """What of the money available at Stripe is the platform's own; negative where it is short."""
    money.exponent(currency)  # raises UnknownCurrency
    rows = await fetch(session, OWN, currency)
    return Money(rows[0].minor, currency)


async def pay_out(
    database: Database,
    door: Stripe,
    payout_id: str,
    currency: str,
    amount: Money | None = None,
    *,
    now: datetime,
) -> BankPayout:
    """Send the platform's own money to its bank: the amount, or all of it; repeatable by its id.

    Raises PlatformHasNotThatMuch, PlatformPayoutOfNothing, PlatformPayoutDiffers or
    PlatformPayoutUnderWay before anything is written; StripeRefused, and then nothing leaves;
    StripeAway, and then it goes on later.
    """
    records.check_id(payout_id)
    try:
        ask = await database.run(_write, payout_id, currency, amount, now)
    except LawBroken as broken:
        if broken.facts["law"] == ONE_AT_A_TIME:
            raise PlatformPayoutUnderWay(currency=currency) from None
        raise
    if ask is None:
        ask = await asks.take(database, f"platform_payout:{payout_id}", now)
    if ask is not None:
        await carry(database, door, ask, now=now)
    async with database.transaction() as session:
        found = await session.get_one(BankPayout, payout_id)
        if found.status == "asked":
            raise asks.InFlight
        return found


INSERT = """
INSERT INTO bank_payouts (id, minor, currency, status, created_at, updated_at)
VALUES ($1, $2, $3, 'asked', $4, $4) ON CONFLICT (id) DO NOTHING RETURNING id
"""


async def _write(
    session: AsyncSession, payout_id: str, currency: str, amount: Money | None, now: datetime
) -> Ask | None:
    """The first step: all that can be refused is refused here."""
    known = await session.get(BankPayout, payout_id)
    if known is not None:
        same = amount is None or amount == Money(known.minor, known.currency)
        if known.currency != currency or known.host_id is not None or not same:
            raise PlatformPayoutDiffers(id=payout_id)
        return None
    left = await own(session, currency)
    rounded = Money(left.minor - left.minor % money.payout_step(currency), currency)
    wanted = rounded if amount is None else amount
    if amount is not None and amount.minor <= 0:
        raise PlatformPayoutOfNothing(amount=amount)
    if not await fetch(session, INSERT, payout_id, wanted.minor, currency, now):
        raise asks.InFlight
    # Only now nobody else is paying out: what was left before may have gone since.
    left = await own(session, currency)
    if wanted > left or wanted.minor <= 0:
        raise PlatformHasNotThatMuch(own=left)
    params = {
        "amount": wanted.minor,
        "currency": currency,
        "metadata": {banks.NAMED: payout_id},
    }
    return await asks.write(session, f"platform_payout:{payout_id}", CALL, params, now)


async def carry(database: Database, door: Stripe, ask: Ask, *, now: datetime) -> None:
    """Carry a payout's ask to Stripe and book the answer."""
    payout_id = ask.key.partition(":")[2]
    try:
        answer = await asks.answer(database, door, ask, now)
    except StripeRefused as error:
        await database.run(_refuse, payout_id, error.message, now)
        raise
    if answer is None and not ask.expired:
        raise asks.InFlight  # Stripe failed, and may list it yet: its money is not free
    if answer is None:
        await database.run(_refuse, payout_id, "Stripe has no such payout", now)
        return
    with suppress(Overtaken):  # an event came first, and knows more
        await database.run(banks.book, View(answer, None, None, now), now)


REFUSE = """
UPDATE bank_payouts SET status = 'refused', failure = $2, updated_at = $3
 WHERE id = $1 AND status = 'asked'
"""


async def _refuse(session: AsyncSession, payout_id: str, why: str, now: datetime) -> None:
    await fetch(session, REFUSE, payout_id, why, now)
    await asks.answered(session, f"platform_payout:{payout_id}", now)


async def unanswered(database: Database, door: Stripe, *, now: datetime) -> int:
    """Carry on the payouts that a crash or an outage left behind; answer how many."""
    left = {ask.key: ask for ask in await asks.take_due(database, [CALL], now, limit=AT_ONCE)}
    await asks.side_by_side(left, lambda key: carry(database, door, left[key], now=now))
    return len(left)
