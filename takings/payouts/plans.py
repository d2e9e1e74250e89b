"""Plans: when a host is paid out, from which amounts on, and whether payouts are paused.

A host's plan begins with the rules of the first Space that they have a share of: its policy's
schedule and minimums.  Later policies change nothing of it; the host or the platform edits it.
Days are those of the books' own zone.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from takings import editions, money
from takings.database import Database, fetch
from takings.errors import Conflict, Invalid
from takings.money import LIMIT
from takings.payouts.tables import Plan
from takings.policies.rules import Schedule
from takings.spaces import hosts

DAY = timedelta(days=1)

ANCHORS: Final[Mapping[Schedule, range]] = {"weekly": range(1, 8), "monthly": range(1, 29)}
"""On which day of its week (1 is Monday) or month a schedule pays; a plan begins with the first."""

SCHEDULES: Final[tuple[Schedule, ...]] = ("manual", "daily", "weekly", "monthly")


class BadPayday(Invalid):
    """A {schedule} payout cannot be anchored to {anchor}.

    Name a weekday from 1 (Monday) to 7 for weekly, a day from 1 to 28 for monthly, else none.
    """

    param = "anchor"


class BadMinimum(Invalid):
    """{minor} is no minimum for payouts in {currency}.

    Name whole minor units, zero or more.
    """

    param = "minimums"


class HostPaused(Conflict):
    """Payouts of {host} are paused: {why}.

    Resume them first.
    """


def following(schedule: str, anchor: int | None, day: date) -> date | None:
    """The first day after this one on which the schedule pays; None if it never does by itself."""
    if schedule == "manual":
        return None
    found = day + DAY
    if schedule == "weekly":
        while found.isoweekday() != anchor:
            found += DAY
    if schedule == "monthly":
        while found.day != anchor:
            found += DAY
    return found


def calendar(day: date) -> tuple[list[str], list[int | None], list[date | None]]:
    """For every schedule and anchor the first day after this one: as columns for a statement."""
    all_of = [(name, anchor) for name in SCHEDULES for anchor in ANCHORS.get(name, (None,))]
    days = [following(name, anchor, day) for name, anchor in all_of]
    return [name for name, _ in all_of], [anchor for _, anchor in all_of], days


async def today(session: AsyncSession, now: datetime) -> date:
    """Which day it is where the books are kept."""
    sql = "SELECT ($1::timestamptz AT TIME ZONE zone)::date AS day FROM books"
    day: date = (await fetch(session, sql, now))[0].day
    return day


BEGIN = """
INSERT INTO payout_plans (host_id, version, schedule, anchor, minimums, next_on, updated_at)
SELECT h.id, 1, c.schedule, c.anchor, m.minimums, c.day, $5
  FROM unnest($1::text[]) AS h (id),
       LATERAL (SELECT s.policy, s.policy_version
                  FROM shares x JOIN spaces s ON s.id = x.space_id
                 WHERE x.host_id = h.id ORDER BY s.created_at, s.id LIMIT 1) AS first
  JOIN policies r ON r.name = first.policy AND r.version = first.policy_version
  JOIN unnest($2::text[], $3::smallint[], $4::date[]) AS c (schedule, anchor, day)
    ON c.schedule = r.rules ->> 'payout_schedule' AND coalesce(c.anchor, 1) = 1,
       LATERAL (SELECT coalesce(jsonb_object_agg(t.key, t.value -> 'payout_minimum'), '{}')
                  FROM jsonb_each(r.rules -> 'terms') AS t
                 WHERE (t.value ->> 'payout_minimum')::bigint > 0) AS m (minimums)
 ORDER BY h.id
ON CONFLICT (host_id) DO NOTHING
"""


async def start(session: AsyncSession, host_ids: Sequence[str], after: date, now: datetime) -> None:
    """Give those of the hosts a plan who have a share of some Space and no plan yet.

    It pays for the first time on its first day after the one that is given.
    """
    await fetch(session, BEGIN, list(host_ids), *calendar(after), now)


async def get(session: AsyncSession, host_id: str, now: datetime) -> Plan:
    """The host's plan; who has no share of anything has one at version 0, daily; or NotFound."""
    day = await today(session, now)
    plan = await session.get(Plan, host_id)
    if plan is None:
        await hosts.get(session, host_id)
        await start(session, [host_id], day, now)
        plan = await session.get(Plan, host_id)
    return plan or Plan(
        host_id=host_id,
        version=0,
        schedule="daily",
        minimums={},
        next_on=day + DAY,
        updated_at=now,
    )


async def _locked(session: AsyncSession, host_id: str, now: datetime) -> Plan:
    """The plan as it will be changed; written down if it was not."""
    plan = await get(session, host_id, now)
    if plan.version == 0:
        session.add(plan)
        await session.flush()
    await session.refresh(plan, with_for_update={"key_share": True})
    return plan


async def edit(
    database: Database,
    host_id: str,
    *,
    schedule: Schedule,
    anchor: int | None = None,
    minimums: Mapping[str, int] | None = None,
    expected: int | None = None,
    now: datetime,
) -> Plan:
    """Change when a host is paid, and from how much on in each currency; None leaves the minimums.

    It holds from tomorrow on.  Editing to what it is changes nothing; otherwise raises
    EditedMeanwhile where the version is not the expected one.  NotFound, BadPayday, BadMinimum.
    """
    if anchor not in ANCHORS.get(schedule, (None,)):
        raise BadPayday(schedule=schedule, anchor=anchor)
    for currency, minor in (minimums or {}).items():
        money.exponent(currency)
        if not 0 <= minor <= LIMIT:
            raise BadMinimum(minor=minor, currency=currency)

    async def step(session: AsyncSession) -> Plan:
        plan = await _locked(session, host_id, now)
        least = plan.minimums if minimums is None else dict(minimums)
        if (plan.schedule, plan.anchor, plan.minimums) != (schedule, anchor, least):
            editions.check(f"payout plan of {host_id}", plan.version, expected)
            plan.schedule, plan.anchor, plan.minimums = schedule, anchor, least
            plan.next_on = following(schedule, anchor, await today(session, now))
            plan.version, plan.updated_at = plan.version + 1, now
        return plan

    return await database.run(step)


async def pause(
    database: Database, host_id: str, *, why: str, actor: str = "library", now: datetime
) -> Plan:
    """Pay the host nothing until that is resumed; what is on its way goes on.  Repeatable."""

    async def step(session: AsyncSession) -> Plan:
        plan = await _locked(session, host_id, now)
        if plan.paused_at is None:
            plan.paused_at, plan.paused_why, plan.paused_by = now, why, actor
        return plan

    return await database.run(step)


async def resume(database: Database, host_id: str, *, now: datetime) -> Plan:
    """Pay the host again, from the plan's next day on; repeatable."""

    async def step(session: AsyncSession) -> Plan:
        plan = await _locked(session, host_id, now)
        plan.paused_at, plan.paused_why, plan.paused_by = None, None, None
        return plan

    return await database.run(step)


ADVANCE = """
UPDATE payout_plans p SET next_on = c.day
  FROM unnest($1::text[], $2::smallint[], $3::date[]) AS c (schedule, anchor, day)
 WHERE p.host_id = ANY($4::text[]) AND p.next_on <= $5
   AND p.schedule = c.schedule AND p.anchor IS NOT DISTINCT FROM c.anchor
"""


async def advance(session: AsyncSession, host_ids: Collection[str], day: date) -> None:
    """The day of these hosts has been, whether it paid them or not: on to their next one."""
    await fetch(session, ADVANCE, *calendar(day), list(host_ids), day)
