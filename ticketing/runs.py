"""Runs: limited issues of tickets for a Space, with price tiers, each with what is left of it.

What a run has left changes under its lock (``lock_run``): so do its size and its tiers, which is
why an edit and a claim that come at the same time never sell more than there is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import editions, records
from takings.database import Database, fetch
from takings.errors import Conflict, NotFound
from takings.policies import policies
from takings.policies.rules import Policy
from takings.spaces import agreements, standings
from takings.spaces.tables import Space
from ticketing import pools, wishes
from ticketing.tables import Pool, Run, Tier
from ticketing.wishes import BadRun, RunWish, TierWish

LIMITS: Final = ("per_listener", "per_address", "hold_s", "offer_s", "refund_until_h")
EDITABLE: Final = frozenset({"size", "opens_at", "closes_at", *LIMITS})


class RunDiffers(Conflict):
    """There is already a run {id}, and it is another one.

    Open the new run under an id of its own.
    """

    param = "id"


class SpaceIsOver(Conflict):
    """The Space {id} is {state}: tickets are for one that is still to come, or live.

    Schedule another Space.
    """

    param = "space"


class RunCalledOff(Conflict):
    """The run {id} is called off: nothing about it changes any more.

    Open another one.
    """


@dataclass(frozen=True, slots=True)
class Step:
    """A tier, and how many of it there are and are taken."""

    tier: Tier
    pool: Pool

    def wish(self) -> TierWish:
        """The tier as one would wish for it now."""
        row = self.tier
        kind: Any = row.kind
        opens, closes = row.opens_at, row.closes_at
        return TierWish(row.name, kind, row.minor, row.id, self.pool.quota, opens, closes)


@dataclass(frozen=True, slots=True)
class Opened:
    """A run, how many of it there are and are taken, and its tiers."""

    run: Run
    pool: Pool
    tiers: tuple[Step, ...]

    def wish(self) -> RunWish:
        """The run as one would wish for it now."""
        row = self.run
        told = {name: getattr(row, name) for name in (*EDITABLE - {"size"}, "draw_s")}
        return RunWish(
            id=row.id,
            space=row.space_id,
            size=self.pool.quota or 0,
            tiers=tuple(step.wish() for step in self.tiers),
            currency=row.currency,
            policy=row.policy,
            **told,
        )


async def open(database: Database, wish: RunWish, *, now: datetime) -> Opened:  # noqa: A001 - as tabs.open
    """Open a run under the policy of now; repeatable by its id, also when it was edited since.

    Raises what is wrong with the wish, NotFound for its Space or policy, SpaceIsOver,
    AgreementUnsigned, RuleNotKept, NotEligible where the Space's host is not what the policy asks
    for, RunTooLarge, RunDiffers.
    """
    wishes.check(wish)
    return await database.run(_open, wish, now)


async def _open(session: AsyncSession, wish: RunWish, now: datetime) -> Opened:
    known = await _known(session, wish)
    if known is not None:
        return known
    # Locked: a Space that is over, or capped, a moment later is so with its new run.
    space = await session.get(Space, wish.space, with_for_update={"read": True})
    if space is None:
        raise NotFound(kind="space", id=wish.space)
    if space.state not in ("scheduled", "live"):
        raise SpaceIsOver(id=space.id, state=space.state)
    await agreements.in_force(session, space)
    policy = await _rules(session, space, wish.policy)
    policy.terms_in(wish.currency)
    wishes.check_size(policy, wish.size)
    for tier in wish.tiers:
        wishes.check_tier(policy, wish.currency, tier)
    await standings.check(session, space.host_id, policy, now)
    try:
        pool = await pools.make(session, wish.id, wish.size)
    except pools.IdTaken:
        known = await _known(session, wish)  # somebody was quicker: with the same run?
        if known is None:
            raise
        return known
    told = {name: getattr(wish, name) for name in (*EDITABLE - {"size"}, "draw_s", "currency")}
    run = Run(
        id=wish.id,
        space_id=space.id,
        policy=policy.name,
        policy_version=policy.version,
        version=1,
        created_at=now,
        **told,
    )
    session.add(run)
    await session.flush()
    tiers = [await add(session, run.id, n, tier) for n, tier in enumerate(wish.tiers, 1)]
    return Opened(run, pool, tuple(tiers))


async def _rules(session: AsyncSession, space: Space, name: str | None) -> Policy:
    if name is None:
        policy = await policies.get(session, space.policy, space.policy_version)
    else:
        policy = await policies.latest(session, name)
    policies.check_kept(policy)
    return policy


async def _known(session: AsyncSession, wish: RunWish) -> Opened | None:
    """The run that is there under this id, if any; RunDiffers where it is another one.

    One that was edited is compared by what no edit changes.
    """
    run = await session.get(Run, wish.id)
    if run is None:
        return None
    (known,) = await shown(session, [run])
    there = known.wish()
    if _kept(there, wish, edited=run.version > 1) != _kept(wish, wish, edited=run.version > 1):
        raise RunDiffers(id=wish.id)
    return known


def _kept(one: RunWish, wish: RunWish, *, edited: bool) -> object:
    """What a repeated wish is compared by: no ids that were not told, nor what was edited."""
    policy = one.policy if wish.policy is not None else None
    if edited:
        return (one.space, one.currency, one.draw_s, policy)
    told = {n for n, tier in enumerate(wish.tiers) if tier.id is not None}
    tiers = [tier if n in told else replace(tier, id=None) for n, tier in enumerate(one.tiers)]
    return replace(one, tiers=tuple(tiers), policy=policy)


async def add(session: AsyncSession, run: str, position: int, wish: TierWish) -> Step:
    """Write a tier down at its place in the run; IdTaken if its id is something else's."""
    pool = await pools.make(session, wish.id or records.new_id("tier"), wish.size)
    tier = Tier(
        id=pool.id,
        run_id=run,
        position=position,
        name=wish.name,
        kind=wish.kind,
        minor=wish.minor,
        opens_at=wish.opens_at,
        closes_at=wish.closes_at,
    )
    session.add(tier)
    await session.flush()
    return Step(tier, pool)


OFFER = "SELECT offer_tickets($1, $2)"


async def locked(session: AsyncSession, run_id: str) -> Opened:
    """The run with its tiers, and nobody else takes from it or edits it; or NotFound."""
    await pools.lock(session, run_id)
    known = await of(session, run_id)
    if known.run.cancelled_at is not None:
        raise RunCalledOff(id=run_id)
    return known


async def edit(
    database: Database,
    run_id: str,
    changes: Mapping[str, Any],
    *,
    expected: int | None = None,
    now: datetime,
) -> Opened:
    """Change a run's size, times or limits, by their names in ``RunWish``; what grew is offered.

    Changing nothing is fine, whatever version was expected: it may be a repetition.  Raises
    EditedMeanwhile, SizeBelowTaken, RunTooLarge, RunCalledOff, or BadRun, as it does for what never
    changes.
    """
    for field in changes:
        if field not in EDITABLE:
            raise BadRun(field=field, problem="it never changes")

    async def step(session: AsyncSession) -> Opened:
        known = await locked(session, run_id)
        wish = replace(known.wish(), **changes)
        if wish == known.wish():
            return known
        editions.check(f"run {run_id}", known.run.version, expected)
        wishes.check(wish)
        rules = await policies.get(session, known.run.policy, known.run.policy_version)
        wishes.check_size(rules, wish.size)
        pools.resize(known.pool, wish.size)
        for field in changes.keys() - {"size"}:
            setattr(known.run, field, changes[field])
        return await edited(session, known.run, now)

    return await database.run(step)


async def edited(session: AsyncSession, run: Run, now: datetime) -> Opened:
    """Count an edit of a locked run, and offer what it made free to those who wait."""
    run.version += 1
    await session.flush()
    await fetch(session, OFFER, run.id, now)
    return await of(session, run.id)


async def get(database: Database, run_id: str) -> Opened:
    """The run of this id with its tiers and what is taken of each, or NotFound."""
    return await database.run(of, run_id)


async def of(session: AsyncSession, run_id: str) -> Opened:
    """The same, as a step."""
    run = await session.get(Run, run_id)
    if run is None:
        raise NotFound(kind="run", id=run_id)
    return (await shown(session, [run]))[0]


async def shown(session: AsyncSession, runs: Sequence[Run]) -> list[Opened]:
    """These runs with their tiers, and what is taken of each right now."""
    ids = [run.id for run in runs]
    ordered = select(Tier).where(col(Tier.run_id).in_(ids)).order_by(col(Tier.position))
    tiers = (await session.exec(ordered)).all()
    wanted = select(Pool).where(col(Pool.id).in_([*ids, *(tier.id for tier in tiers)]))
    found = await session.exec(wanted.execution_options(populate_existing=True))
    known = {pool.id: pool for pool in found}
    return [
        Opened(
            run,
            known[run.id],
            tuple(Step(tier, known[tier.id]) for tier in tiers if tier.run_id == run.id),
        )
        for run in runs
    ]
