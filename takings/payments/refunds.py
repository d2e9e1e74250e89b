"""Refunds: money back to the listener, asked for here and carried to Stripe.

A refund is of a payment, or of single lines of it: then exactly those lines' hosts pay.  Asking
reserves the amount on the lines under the payment's lock, so that refunds in parallel never exceed
what was paid.  What happens once Stripe knows it stands in ``returns.py``.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import records, splits
from takings.database import Database, fetch
from takings.errors import Conflict, Invalid, NotFound
from takings.money import Money
from takings.payments import asks, returns
from takings.payments.asks import Ask
from takings.payments.returns import RefundTooLarge
from takings.payments.stripe import Call, Stripe, StripeRefused
from takings.payments.tables import Refund

CALL: Final[Call] = "refunds.create"

Parts = Mapping[str, int]
"""How much of a refund is for which line: its id, and minor units of the payment's currency."""


class RefundDiffers(Conflict):
    """There is already a refund {id}, and it is another one.

    Ask for the new refund under an id of its own.
    """

    param = "id"


class NothingToRefund(Invalid):
    """A refund of {amount} returns nothing; {left} can still be refunded of {of}.

    Refund a positive amount, at most what is left.
    """

    param = "amount"


class LinesDoNotSum(Invalid):
    """The lines sum to {total}, which is not the refund's amount of {amount}.

    Send lines that sum to the amount, or the lines alone.
    """

    param = "lines"


async def refund(
    database: Database,
    door: Stripe,
    refund_id: str,
    payment_id: str,
    amount: Money | None = None,
    *,
    lines: Parts | None = None,
    reason: str = "",
    now: datetime,
) -> Refund:
    """Return money to the listener: the amount, or all that is left; repeatable by its id.

    ``lines`` says how much of which line; without them the amount is divided by what each has left.
    Raises NotFound, NotPaid, RefundTooLarge, NothingToRefund, LinesDoNotSum or RefundDiffers before
    anything is written; StripeRefused, and then nothing is reserved; StripeAway, and then it goes
    on later.
    """
    records.check_id(refund_id)
    ask = await database.run(_write, refund_id, payment_id, amount, lines, reason, now)
    if ask is None:
        ask = await asks.take(database, f"refund:{refund_id}", now)
    if ask is not None:
        await carry(database, door, ask, now=now)
    async with database.transaction() as session:
        found = await session.get_one(Refund, refund_id)
        if found.state == "asked":
            raise asks.InFlight
        return found


async def _write(  # the first step: all that can be refused is refused here
    session: AsyncSession,
    refund_id: str,
    payment_id: str,
    amount: Money | None,
    lines: Parts | None,
    reason: str,
    now: datetime,
) -> Ask | None:
    payment = await returns.lock(session, payment_id)
    known = await session.get(Refund, refund_id)
    if known is not None:
        await _check_same(session, known, payment_id, amount, lines)
        return None
    left = await returns.lines_left(session, payment)
    parts = _divide(payment, left, amount) if lines is None else _named(payment, left, lines)
    total = Money(sum(parts.values()), payment.currency)
    if amount is not None and amount != total:
        raise LinesDoNotSum(total=total, amount=amount)
    return await _ask(session, refund_id, payment, parts, reason, now)


async def rest(
    session: AsyncSession,
    refund_id: str,
    payment_id: str,
    lines: Mapping[str, bool],
    reason: str,
    now: datetime,
) -> Ask | None:
    """Write down a refund of all that these lines have left; answer what ``carry`` is to carry.

    With a line it says whether a covered card fee goes back also where the policy keeps that, as it
    does for what was not given.  None where they have nothing left; InFlight while another refund
    of one of them is under way, or the bank has not decided about the payment.
    """
    payment = await returns.lock(session, payment_id)
    mine = [line for line in await returns.lines_left(session, payment) if line.id in lines]
    if any(line.refunding for line in mine) or await returns.contested(session, payment_id):
        raise asks.InFlight
    left = {line.id: line.returnable if lines[line.id] else line.refundable for line in mine}
    parts = {line: minor for line, minor in left.items() if minor}
    return await _ask(session, refund_id, payment, parts, reason, now) if parts else None


async def directed(
    session: AsyncSession,
    refund_id: str,
    payment: Row[Any],
    parts: Parts,
    *,
    payee: str,
    now: datetime,
) -> Ask:
    """Write down a refund of what was parked for a payee; answer what ``carry`` is to carry."""
    return await _ask(session, refund_id, payment, parts, "unclaimed", now, payee=payee)


async def _ask(
    session: AsyncSession,
    refund_id: str,
    payment: Row[Any],
    parts: Parts,
    reason: str,
    now: datetime,
    *,
    payee: str | None = None,
) -> Ask:
    """Reserve the parts, and write down what is to be asked of Stripe."""
    why = (reason, payee)
    amount = await returns.reserve(session, refund_id, payment, parts.items(), why, now)
    params = {
        "payment_intent": payment.intent_id,
        "amount": amount.minor,
        "metadata": {"takings_refund": refund_id, "takings_payment": payment.id},
    }
    return await asks.write(session, f"refund:{refund_id}", CALL, params, now)


OF_LINES = "SELECT line_id, minor FROM refund_lines WHERE refund_id = $1"


async def _check_same(
    session: AsyncSession,
    known: Refund,
    payment_id: str,
    amount: Money | None,
    lines: Parts | None,
) -> None:
    """Nothing happens if the refund that is there is the one that is asked for."""
    same = amount is None or amount == Money(known.minor, known.currency)
    if same and lines is not None:
        rows = await fetch(session, OF_LINES, known.id)
        same = {row.line_id: row.minor for row in rows} == dict(lines)
    if known.payment_id != payment_id or not same:
        raise RefundDiffers(id=known.id)


def _divide(payment: Row[Any], left: Sequence[Row[Any]], amount: Money | None) -> Parts:
    """An amount over the lines, by what each has left of what can be refunded."""
    most = Money(sum(line.refundable for line in left), payment.currency)
    wanted = most if amount is None else amount
    _check(wanted, most, payment.id)
    parts = splits.divide(wanted.minor, [line.refundable for line in left])
    return {line.id: part for line, part in zip(left, parts, strict=True)}


def _named(payment: Row[Any], left: Sequence[Row[Any]], lines: Parts) -> Parts:
    """The lines that were named, each within what it has left."""
    most = {line.id: Money(line.refundable, payment.currency) for line in left}
    for line, minor in lines.items():
        if line not in most:
            raise NotFound(kind="line", id=f"{line} of {payment.id}")
        _check(Money(minor, payment.currency), most[line], line)
    if not lines:
        nothing = Money(0, payment.currency)
        raise NothingToRefund(amount=nothing, left=sum(most.values(), nothing), of=payment.id)
    return lines


def _check(wanted: Money, left: Money, of: str) -> None:
    if wanted > left:
        raise RefundTooLarge(amount=wanted, left=left, of=of)
    if wanted.minor <= 0:
        raise NothingToRefund(amount=wanted, left=left, of=of)


async def carry(database: Database, door: Stripe, ask: Ask, *, now: datetime) -> None:
    """Carry a refund's ask to Stripe and book the answer."""
    refund_id = ask.key.partition(":")[2]
    try:
        answer = await asks.answer(database, door, ask, now)
    except StripeRefused as error:
        await database.run(returns.refuse, refund_id, error.message, now)
        raise
    if answer is None:
        await database.run(returns.refuse, refund_id, "Stripe has no such refund", now)
    else:
        await database.run(returns.book, refund_id, answer, now)
