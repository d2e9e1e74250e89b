"""Limits: what is refused at the moment when a tip is written, whoever else writes one just then.

    who       nobody tips a room whose money they share
    how much  a listener's cap in 24 hours, and in one room, as the policy has it
    how fast  so many tips in so many seconds, as the policy has it

What counts is what was given and may still be paid: pending tips too, cancelled ones not.  All
three are one listener's affair, so writers of one listener's tips take turns, and nobody else
waits for anybody.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import fetch
from takings.errors import Refused, Unavailable
from takings.money import Money
from takings.policies.rules import Policy, Velocity
from takings.spaces.tables import Space

DAY: Final = timedelta(hours=24)
"""The time that a listener's cap is for: any 24 hours, not the day of a calendar."""


class SelfTip(Refused):
    """The listener {listener} is {host}, who is paid in the Space {space}.

    Nobody tips themselves: tip other hosts.
    """

    param = "listener"


class ListenerCapReached(Refused):
    """{amount} is more than the {left} that the listener may still tip: {cap} in 24 hours.

    Tip at most what is left, or wait: what was tipped more than 24 hours ago counts no more.
    """

    param = "amount"


class RoomCapReached(Refused):
    """{amount} is more than the {left} that the listener may still tip here: {cap} in one room.

    Tip at most what is left.
    """

    param = "amount"


class TooManyTips(Unavailable):
    """The listener has tipped {tips} times in {seconds} seconds, and more is too fast.

    Send the same again in {retry_after_s} seconds.
    """

    param = "listener"


async def check(
    session: AsyncSession,
    space: Space,
    policy: Policy,
    tip: str,
    listener: str,
    money: Money,
    now: datetime,
) -> None:
    """Nothing happens if the listener may give this tip now; call it where the tip is written.

    From here to the end of the transaction no other tip of the listener is written, where the
    policy counts them.  Raises SelfTip, ListenerCapReached, RoomCapReached or TooManyTips.
    """
    for row in await fetch(session, PAYEE, space.id, space.agreement_version, listener):
        raise SelfTip(listener=listener, host=row.host_id, space=space.id)
    terms = policy.terms_in(money.currency)
    capped = terms.listener_maximum is not None or terms.room_maximum is not None
    if not capped and policy.velocity is None:
        return
    await fetch(session, TAKE_TURNS, listener)
    if policy.velocity is not None:
        await _check_velocity(session, policy.velocity, tip, listener, now)
    if capped:
        since = now - DAY
        about = (listener, money.currency, policy.name, space.id, since, tip)
        (given,) = await fetch(session, GIVEN, *about)
        for cap, so_far, error in (
            (terms.listener_maximum, given.by_day, ListenerCapReached),
            (terms.room_maximum, given.by_room, RoomCapReached),
        ):
            if cap is not None and so_far + money.minor > cap:
                left = Money(max(0, cap - so_far), money.currency)
                raise error(amount=money, left=left, cap=Money(cap, money.currency))


async def _check_velocity(
    session: AsyncSession, velocity: Velocity, tip: str, listener: str, now: datetime
) -> None:
    window = timedelta(seconds=velocity.seconds)
    nth = (listener, now - window, tip, velocity.tips - 1)
    for row in await fetch(session, NTH_NEWEST, *nth):
        wait = row.created_at + window - now
        raise TooManyTips(
            tips=velocity.tips,
            seconds=velocity.seconds,
            retry_after_s=max(1, -(-wait // timedelta(seconds=1))),
        )


PAYEE = """
SELECT s.host_id FROM shares s JOIN hosts h ON h.id = s.host_id
 WHERE s.space_id = $1 AND s.version = $2 AND $3 IN (h.id, h.listener_id)
"""

# The race: two tips that each fit, and together do not.  A lock on rows could not hold back the
# second, because the first has no row yet that it could see.
TAKE_TURNS = "SELECT pg_advisory_xact_lock(hashtextextended('tips of ' || $1::text, 0))"

# A tip's own id is left out: who writes the same tip at the same time is not over the cap for it.
GIVEN = """
SELECT coalesce(sum(t.minor) FILTER (WHERE s.policy = $3 AND t.created_at > $5), 0)::bigint
         AS by_day,
       coalesce(sum(t.minor) FILTER (WHERE t.space_id = $4), 0)::bigint AS by_room
  FROM tips t JOIN spaces s ON s.id = t.space_id
 WHERE t.listener_id = $1 AND t.currency = $2 AND (t.space_id = $4 OR t.created_at > $5)
   AND t.cancelled_at IS NULL AND t.id <> $6
"""

# Whatever became of them: who tries stolen cards has them declined, and is in haste.
NTH_NEWEST = """
SELECT created_at FROM tips
 WHERE listener_id = $1 AND created_at > $2 AND id <> $3
 ORDER BY created_at DESC OFFSET $4 LIMIT 1
"""
