"""Tiers: the price steps of a run, changed and added while it sells.

Every change counts as an edit of the run.  A new price is for later holds: a hold keeps the price
that it was claimed at.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlmodel.ext.asyncio.session import AsyncSession

from takings import editions
from takings.database import Database
from takings.errors import Conflict, NotFound
from takings.policies import policies
from ticketing import codes, pools, runs, wishes
from ticketing.runs import Opened
from ticketing.wishes import BadRun, TierWish

EDITABLE: Final = frozenset({"name", "minor", "size", "opens_at", "closes_at"})


class TierDiffers(Conflict):
    """There is already a tier {id}, and it is another one.

    Add the new tier under an id of its own.
    """

    param = "id"


async def add(
    database: Database, run_id: str, wish: TierWish, *, expected: int | None = None, now: datetime
) -> Opened:
    """Add a tier after the others; with an id of its own repeatable.

    Raises NotFound, RunCalledOff, EditedMeanwhile, TierDiffers, IdTaken, what is wrong with the
    tier, and CodeLeavesTooLittle where a code of the run would leave too little of its price.
    """

    async def step(session: AsyncSession) -> Opened:
        known = await runs.locked(session, run_id)
        for there in known.tiers:
            if there.tier.id == wish.id:
                if there.wish() != wish:
                    raise TierDiffers(id=wish.id)
                return known
        editions.check(f"run {run_id}", known.run.version, expected)
        rules = await policies.get(session, known.run.policy, known.run.policy_version)
        wishes.check_tier(rules, known.run.currency, wish)
        if len(known.tiers) == wishes.MOST_TIERS:
            raise BadRun(field="tiers", problem=f"it may have {wishes.MOST_TIERS}")
        added = await runs.add(session, run_id, len(known.tiers) + 1, wish)
        await codes.check_tier(session, known.run, added.tier, now)
        return await runs.edited(session, known.run, now)

    return await database.run(step)


async def edit(
    database: Database,
    run_id: str,
    tier_id: str,
    changes: Mapping[str, Any],
    *,
    expected: int | None = None,
    now: datetime,
) -> Opened:
    """Change a tier's name, price, size or times, by their names in ``TierWish``.

    Changing nothing is fine, whatever version was expected: it may be a repetition.  Raises as
    ``add`` does, SizeBelowTaken, and BadRun for what never changes.
    """
    for field in changes:
        if field not in EDITABLE:
            raise BadRun(field=field, problem="it never changes")

    async def step(session: AsyncSession) -> Opened:
        known = await runs.locked(session, run_id)
        for there in known.tiers:
            if there.tier.id == tier_id:
                break
        else:
            raise NotFound(kind="tier", id=tier_id)
        wish = replace(there.wish(), **changes)
        if wish == there.wish():
            return known
        editions.check(f"run {run_id}", known.run.version, expected)
        rules = await policies.get(session, known.run.policy, known.run.policy_version)
        wishes.check_tier(rules, known.run.currency, wish)
        pools.resize(there.pool, wish.size)
        for field in changes.keys() - {"size"}:
            setattr(there.tier, field, changes[field])
        await codes.check_tier(session, known.run, there.tier, now)
        return await runs.edited(session, known.run, now)

    return await database.run(step)
