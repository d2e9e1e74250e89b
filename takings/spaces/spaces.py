"""Spaces: live audio rooms, scheduled → live → ended, or cancelled."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from sqlmodel.ext.asyncio.session import AsyncSession

from takings import records
from takings.database import Database
from takings.errors import Conflict, Invalid, NotFound
from takings.policies import policies
from takings.spaces import agreements, hosts, stages, standings
from takings.spaces.agreements import Share, Tips
from takings.spaces.tables import Space

State = Literal["scheduled", "live", "ended", "cancelled"]

BEFORE: Mapping[State, frozenset[State]] = {
    "live": frozenset({"scheduled"}),
    "ended": frozenset({"live"}),
    "cancelled": frozenset({"scheduled", "live"}),
}
"""From which states a Space can come into one."""


class SpaceDiffers(Conflict):
    """There is already a Space {id}, and it is another one.

    Schedule the new Space under an id of its own.
    """

    param = "id"


class SpaceCannotMove(Conflict):
    """The Space {id} is {state}: it cannot become {to}.

    A Space is scheduled, then live, then ended; it can be cancelled until it has ended.
    """


class NotScheduled(Conflict):
    """The Space {id} is {state}: only one that is still to come can be moved to another time.

    Schedule another Space.
    """


class StartsInThePast(Invalid):
    """A Space cannot be moved to {starts_at}, which is over.

    Name a time that is still to come, with its zone.
    """

    param = "starts_at"


async def schedule(
    database: Database,
    space_id: str,
    *,
    host: str,
    title: str,
    shares: Sequence[Share] = (),
    policy: str,
    tips: Tips = "shares",
    starts_at: datetime | None = None,
    gate: str | None = None,
    actor: str = "library",
    now: datetime,
) -> Space:
    """Schedule a Space, with the policy of today and who shares its money; repeatable.

    Without shares all of it is the host's.  The host, where paid, agrees by scheduling it, as
    ``actor`` tells; nothing is sold before the other payees have signed.  A gate is a policy that
    the host has to be eligible under, whatever is sold under the other.

    Raises NotFound for an unknown host or policy, what is wrong with the shares, SpaceDiffers,
    RuleNotKept, NotEligible.
    """
    records.check_id(space_id)
    parts = tuple(shares) or (Share(host, agreements.ALL),)

    async def step(session: AsyncSession) -> Space:
        space = await session.get(Space, space_id)
        if space is not None:
            known = (await agreements.every(session, space_id))[-1]
            told = (space.host_id, space.title, space.policy, known.shares, known.tips)
            if told != (host, title, policy, parts, tips):
                raise SpaceDiffers(id=space_id)
            return space
        await hosts.get(session, host)
        rules = await policies.latest(session, policy)
        policies.check_kept(rules)
        if gate is not None:
            await standings.check(session, host, await policies.latest(session, gate), now)
        space = Space(
            id=space_id,
            host_id=host,
            title=title,
            state="scheduled",
            policy=policy,
            policy_version=rules.version,
            agreement_version=None,
            starts_at=starts_at,
            created_at=now,
        )
        session.add(space)
        await session.flush()
        await agreements.write(session, space, 1, parts, tips, now)
        if host in {share.host for share in parts}:
            await agreements.agree(session, space, 1, host, actor, now)
        return space

    return await database.run(step)


async def move(database: Database, space_id: str, to: State, *, now: datetime) -> Space:
    """Take the Space into its next state; being there already is fine.

    Raises SpaceCannotMove if its state does not lead there.
    """

    async def step(session: AsyncSession) -> Space:
        space = await session.get(Space, space_id, with_for_update=True)
        if space is None:
            raise NotFound(kind="space", id=space_id)
        if space.state == to:
            return space
        if space.state not in BEFORE.get(to, ()):
            raise SpaceCannotMove(id=space_id, state=space.state, to=to)
        space.state = to
        if to == "live":
            space.live_at = now
        else:
            space.ended_at = now
            await stages.clear(session, space_id, now)
        return space

    return await database.run(step)


async def reschedule(
    database: Database, space_id: str, starts_at: datetime, *, now: datetime
) -> Space:
    """Let a scheduled Space start at another time; it starts then already: nothing changes.

    Who has a ticket by now may give it back until it starts.  Raises NotFound, StartsInThePast or
    NotScheduled.
    """

    async def step(session: AsyncSession) -> Space:
        space = await session.get(Space, space_id, with_for_update=True)
        if space is None:
            raise NotFound(kind="space", id=space_id)
        if space.state != "scheduled":
            raise NotScheduled(id=space_id, state=space.state)
        if space.starts_at != starts_at:
            if starts_at <= now:
                raise StartsInThePast(starts_at=starts_at.isoformat())
            space.starts_at, space.rescheduled_at = starts_at, now
        return space

    return await database.run(step)


async def get(session: AsyncSession, space_id: str) -> Space:
    """The Space of this id, or NotFound."""
    space = await session.get(Space, space_id)
    if space is None:
        raise NotFound(kind="space", id=space_id)
    return space
