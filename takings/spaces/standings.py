"""Standings: what the platform's backend states of its hosts, and the gates that look at it.

A policy says who may earn under it; whether a host is that, only the platform knows.  It states
the facts here, as often as they change, and a gate compares.
"""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database, fetch
from takings.errors import Invalid, Refused
from takings.policies.rules import Eligibility, Policy
from takings.spaces import hosts, tables


class BadStanding(Invalid):
    """The standing's {field} is wrong: {problem}.

    State whole numbers, and only what you know.
    """

    param = "standing"


class NotEligible(Refused):
    """The host {host} is not what the policy {policy} asks for: {lacking}.

    State the host's standing of today, or choose another policy.
    """

    param = "host"


MOST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Standing:
    """Facts about a host: followers, age in years, Spaces held in so many days; None: not told."""

    followers: int | None = None
    age: int | None = None
    spaces: int | None = None
    spaces_within_days: int | None = None

    def __post_init__(self) -> None:
        for field, value in asdict(self).items():
            if value is not None and not 0 <= value <= MOST:
                raise BadStanding(field=field, problem=f"it lies between 0 and {MOST}")
        if (self.spaces is None) != (self.spaces_within_days is None):
            raise BadStanding(field="spaces", problem="it is stated with spaces_within_days")


STATE = """
INSERT INTO standings (host_id, followers, age, spaces, spaces_within_days, stated_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (host_id) DO UPDATE
   SET followers = excluded.followers, age = excluded.age, spaces = excluded.spaces,
       spaces_within_days = excluded.spaces_within_days, stated_at = excluded.stated_at
 WHERE standings.stated_at <= excluded.stated_at
"""


async def state(
    database: Database, host_id: str, standing: Standing, *, now: datetime
) -> tables.Standing:
    """State a host's facts anew, all of them; an older statement never replaces a newer one.

    Raises NotFound for an unknown host.
    """
    facts = (standing.followers, standing.age, standing.spaces, standing.spaces_within_days)

    async def step(session: AsyncSession) -> tables.Standing:
        await hosts.get(session, host_id)
        await fetch(session, STATE, host_id, *facts, now)
        return await session.get_one(tables.Standing, host_id)

    return await database.run(step)


async def get(session: AsyncSession, host_id: str) -> tables.Standing | None:
    """What was last stated of a host, if anything; NotFound for an unknown host."""
    await hosts.get(session, host_id)
    return await session.get(tables.Standing, host_id)


async def check(session: AsyncSession, host_id: str, policy: Policy, now: datetime) -> None:
    """Nothing happens if the host is what the policy asks for; else NotEligible says what lacks."""
    asked = policy.eligibility
    stated = await session.get(tables.Standing, host_id)
    lacking = _lacking(asked, stated, now)
    if lacking:
        raise NotEligible(host=host_id, policy=policy.name, lacking=", ".join(lacking))


def _lacking(asked: Eligibility, stated: tables.Standing | None, now: datetime) -> list[str]:
    needs = {"followers": asked.followers_min, "age": asked.age_min, "spaces": asked.spaces_min}
    lacking = []
    for fact, least in needs.items():
        known = getattr(stated, fact) if stated is not None else None
        if fact == "spaces" and not _recent(asked, stated, now):
            known = None
        if known is None and least > 0:
            lacking.append(f"{fact} not stated, {_words(asked, fact, least)} needed")
        elif known is not None and known < least:
            lacking.append(f"{fact} {known}, {_words(asked, fact, least)} needed")
    return lacking


def _words(asked: Eligibility, fact: str, least: int) -> str:
    days = asked.spaces_within_days
    return f"{least} within {days} days" if fact == "spaces" and days else str(least)


def _recent(asked: Eligibility, stated: tables.Standing | None, now: datetime) -> bool:
    """Whether Spaces were counted over the asked days or fewer, and no longer ago than those."""
    days = asked.spaces_within_days
    if stated is None or stated.spaces_within_days is None:
        return False
    if not days:
        return True
    return stated.spaces_within_days <= days and now - stated.stated_at <= timedelta(days=days)
