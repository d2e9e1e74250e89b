"""Payouts: what is available to a host in one currency is sent to the host's own account, once.

    waiting ──► sending ──► sent        above the platform's threshold another person approves first
       └───────────┴──────► refused     by a person, or by Stripe: the money is the host's to take

From the moment that a payout is written its money is in transit: nobody pays it a second time.  One
payout of a host and currency is under way at a time.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime
from operator import attrgetter
from typing import Any

from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import money, records
from takings.database import Database, fetch, plans_kept
from takings.errors import Conflict, NotFound, Refused, Unavailable
from takings.ledger import balances, journal
from takings.money import LIMIT, Money
from takings.payments import asks
from takings.payments.stripe import Stripe
from takings.payouts import funds, plans, transfers
from takings.payouts.plans import HostPaused
from takings.payouts.tables import Payout
from takings.payouts.transfers import Undecided
from takings.spaces import hosts

Approval = Mapping[str, int]
"""By currency the minor units above which a payout waits for another person; no other waits."""


class PayoutDiffers(Conflict):
    """There is already a payout {id}, and it is another one.

    Ask for the new payout under an id of its own.
    """

    param = "id"


class PayoutUnderWay(Conflict):
    """The payout {id} of {host} is under way.

    Wait until it is sent or refused: what is earned meanwhile is in the next one.
    """


class NothingToPay(Refused):
    """{host} has {available} available, of which nothing can be paid out.

    Money is available when its room is over and Stripe has it; a debt is repaid first.
    """


class BelowPayoutMinimum(Refused):
    """{amount} is less than the {minimum} from which on {host} is paid out.

    Wait for more, or lower the minimum in the host's payout plan.
    """


class HostNotPayable(Refused):
    """{host} has no account at Stripe that can be sent money.

    Have the host finish onboarding.
    """


class HostInDebt(Refused):
    """{host} owes {debt} by now: money of the payout {id} was taken back since it was asked for.

    Refuse the payout: what is left after the debt is in the next one.
    """


class SamePerson(Refused):
    """{actor} asked for the payout {id}, and cannot approve it.

    Another person has to look at it.
    """


class NotWaiting(Conflict):
    """The payout {id} is {state}: it does not wait for anybody's approval.

    Look at how it is, and decide anew.
    """


async def get(session: AsyncSession, payout_id: str) -> Payout:
    """The payout of this id, or NotFound."""
    payout = await session.get(Payout, payout_id)
    if payout is None:
        raise NotFound(kind="payout", id=payout_id)
    return payout


async def request(
    database: Database,
    door: Stripe,
    payout_id: str,
    host_id: str,
    currency: str,
    *,
    actor: str = "library",
    approval: Approval,
    now: datetime,
) -> Payout:
    """Pay a host all that is available in a currency, now; repeatable by its id.

    Raises NotFound, PayoutUnderWay, NothingToPay, BelowPayoutMinimum, HostPaused or HostNotPayable
    before anything is written; PayoutDiffers; StripeRefused, and then the payout is refused.  Where
    Stripe is away the payout is under way all the same.
    """
    records.check_id(payout_id)
    money.exponent(currency)

    async def step(session: AsyncSession) -> Sequence[str]:
        await funds.lock(session, [host_id])
        known = await session.get(Payout, payout_id)
        if known is not None:
            if (known.host_id, known.currency) != (host_id, currency):
                raise PayoutDiffers(id=payout_id)
            return []
        await hosts.get(session, host_id)
        await plans.get(session, host_id, now)
        found = {row.currency: row for row in await funds.of(session, [host_id], date.max)}
        row = found.get(currency)
        _check(host_id, currency, row)
        return await write(session, [row], [payout_id], None, actor, approval, now)

    return await _carried(database, door, payout_id, await database.run(step), now)


def _check(host_id: str, currency: str, row: Row[Any] | None) -> None:
    """Nothing happens if these funds can be paid out on request; else the error says why not."""
    zero = Money(0, currency)
    if row is None:
        raise NothingToPay(host=host_id, available=zero)
    amount = Money(row.minor, currency)
    if row.why == "no_account":
        raise HostNotPayable(host=host_id)
    if row.why == "paused":
        raise HostPaused(host=host_id, why=row.paused_why)
    if row.why == "under_way":
        raise PayoutUnderWay(id=row.under_way, host=host_id)
    if row.why in ("negative", "nothing"):
        raise NothingToPay(host=host_id, available=Money(row.available, currency))
    if row.why == "below_minimum":
        raise BelowPayoutMinimum(amount=amount, minimum=Money(row.minimum, currency), host=host_id)


async def _carried(
    database: Database, door: Stripe, payout_id: str, asked: Sequence[str], now: datetime
) -> Payout:
    """The payout as it is once what it asks of Stripe has been carried, as far as that goes."""
    for key in asked:
        ask = await asks.take(database, key, now)
        if ask is not None:  # else the worker was quicker
            with suppress(Unavailable, Undecided):  # it is written down, and goes on by itself
                await transfers.carry(database, door, ask, now=now)
    return await database.run(get, payout_id)


INSERT = """
INSERT INTO payouts (id, host_id, currency, minor, state, batch_id, requested_by, destination,
                     account_id, after_seq, upto_seq, after_at, upto_at, brought, carried,
                     created_at)
SELECT p.id, p.host_id, p.currency, p.minor,
       CASE WHEN p.minor > p.most THEN 'waiting' ELSE 'sending' END, $14, $15, p.destination,
       p.account_id, p.after_seq, p.upto_seq, p.after_at, p.upto_at, p.brought, p.carried, $16
  FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[],
              $7::bigint[], $8::bigint[], $9::bigint[], $10::timestamptz[], $11::timestamptz[],
              $12::bigint[], $13::bigint[])
    AS p (id, most, host_id, currency, minor, destination, account_id, after_seq, upto_seq,
          after_at, upto_at, brought, carried)
RETURNING id, minor, currency, destination, state
"""

COPIED = attrgetter(
    *("host_id", "currency", "minor", "destination", "account_id", "after_seq", "upto_seq"),
    *("after_at", "upto_at", "brought", "carried"),
)


async def write(
    session: AsyncSession,
    due: Sequence[Any],
    ids: Sequence[str],
    batch_id: str | None,
    actor: str,
    approval: Approval,
    now: datetime,
) -> Sequence[str]:
    """Write payouts of these funds, which are locked; answer the keys of what they ask of Stripe.

    Those above the threshold wait; of the others the transfers are written too.
    """
    if not due:
        return []
    rows = [
        (payout_id, approval.get(row.currency, LIMIT), *COPIED(row))
        for payout_id, row in zip(ids, due, strict=True)
    ]
    columns = map(list, zip(*rows, strict=True))
    async with plans_kept(session):
        written = await fetch(session, INSERT, *columns, batch_id, actor, now)
    requested = [
        funds.moved(payout_id, row.host_id, Money(row.minor, row.currency), "requested", now)
        for payout_id, row in zip(ids, due, strict=True)
    ]
    await journal.post(session, requested)
    return await transfers.write(session, [row for row in written if row.state == "sending"], now)


LOCK = """
SELECT id, host_id, currency, minor, state, requested_by, approved_by, destination
  FROM payouts WHERE id = $1 FOR NO KEY UPDATE
"""

APPROVE = """
UPDATE payouts SET state = 'sending', approved_by = $2, approved_at = $3 WHERE id = $1
"""


async def _locked(session: AsyncSession, payout_id: str) -> Row[Any]:
    for row in await fetch(session, LOCK, payout_id):
        return row
    raise NotFound(kind="payout", id=payout_id)


async def approve(
    database: Database, door: Stripe, payout_id: str, *, actor: str, now: datetime
) -> Payout:
    """Let a payout go that waits for another person than the one who asked for it; repeatable.

    Raises NotFound, NotWaiting, SamePerson, HostPaused, HostInDebt; StripeRefused, and then it is
    refused.
    """

    async def step(session: AsyncSession) -> Sequence[str]:
        row = await _locked(session, payout_id)
        if row.approved_by == actor:
            return []
        if row.state != "waiting":
            raise NotWaiting(id=payout_id, state=row.state)
        if row.requested_by == actor:
            raise SamePerson(actor=actor, id=payout_id)
        plan = await plans.get(session, row.host_id, now)
        if plan.paused_at is not None:
            raise HostPaused(host=row.host_id, why=plan.paused_why)
        await funds.lock(session, [row.host_id])
        owed = await balances.now(session, funds.available(row.host_id), row.currency)
        if owed.minor > 0:
            raise HostInDebt(host=row.host_id, debt=owed, id=payout_id)
        await fetch(session, APPROVE, payout_id, actor, now)
        return await transfers.write(session, [row], now)

    return await _carried(database, door, payout_id, await database.run(step), now)


REFUSE = """
UPDATE payouts SET state = 'refused', error = $2, ended_at = $3 WHERE id = $1
"""


async def refuse(database: Database, payout_id: str, *, why: str, now: datetime) -> Payout:
    """Do not let a payout go that waits; its money is the host's to take again.  Repeatable.

    Raises NotFound; NotWaiting if it is already on its way.
    """

    async def step(session: AsyncSession) -> Payout:
        row = await _locked(session, payout_id)
        if row.state not in ("waiting", "refused"):
            raise NotWaiting(id=payout_id, state=row.state)
        if row.state == "waiting":
            await fetch(session, REFUSE, payout_id, why, now)
            amount = Money(row.minor, row.currency)
            await journal.post(
                session, [funds.moved(payout_id, row.host_id, amount, "refused", now)]
            )
        return await get(session, payout_id)

    return await database.run(step)
