"""Policies in the database: a version is written once, and every line names its own."""

import json
from datetime import datetime
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import desc
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database, fetch
from takings.errors import Conflict, NotFound, Refused
from takings.policies.presets import PRESETS
from takings.policies.rules import Policy
from takings.policies.tables import StoredPolicy


class PolicyDiffers(Conflict):
    """The policy {name} version {version} exists with other rules.

    A version never changes: publish the new rules under the next version.
    """


class RuleNotKept(Refused):
    """The policy {name} asks for {rule}, which this version of Takings does not keep yet.

    Choose a policy without it: money is not promised by a rule that nothing carries out.
    """

    param = "policy"


def check_kept(policy: Policy) -> None:
    """Nothing happens if every rule of the policy for tips is carried out; else RuleNotKept."""
    rules = {
        "a tax on commission": policy.tax is not None,
    }
    for rule, asked in rules.items():
        if asked:
            raise RuleNotKept(name=policy.name, rule=rule)


# Whoever comes second at the same moment sees what the first one wrote.
WRITE = """
INSERT INTO policies (name, version, rules, created_at) VALUES ($1, $2, $3::text::jsonb, $4)
ON CONFLICT (name, version) DO NOTHING
"""


async def publish(database: Database, policy: Policy, *, now: datetime) -> None:
    """Write a version of a policy; writing the same again changes nothing.

    Raises PolicyDiffers.
    """

    async def step(session: AsyncSession) -> None:
        text = json.dumps(policy.to_dict())
        await fetch(session, WRITE, policy.name, policy.version, text, now)
        stored = await session.get_one(StoredPolicy, (policy.name, policy.version))
        if Policy.from_dict(stored.rules) != policy:
            raise PolicyDiffers(name=policy.name, version=policy.version)

    await database.run(step)


async def publish_presets(database: Database, *, now: datetime) -> None:
    """Make every preset ready to use."""
    for policy in PRESETS.values():
        await publish(database, policy, now=now)


async def latest(session: AsyncSession, name: str) -> Policy:
    """The newest version of a policy, or NotFound."""
    stored = await session.exec(
        select(StoredPolicy)
        .where(StoredPolicy.name == name)
        .order_by(desc(col(StoredPolicy.version)))
        .limit(1)
    )
    found = stored.first()
    if found is None:
        raise NotFound(kind="policy", id=name)
    return Policy.from_dict(found.rules)


_KNOWN: WeakKeyDictionary[Any, dict[tuple[str, int], Policy]] = WeakKeyDictionary()
"""What was read of each database, by its engine: a version never changes."""


async def get(session: AsyncSession, name: str, version: int) -> Policy:
    """One version of a policy, or NotFound; each process reads it once."""
    known = _KNOWN.setdefault(session.bind, {})
    if (name, version) not in known:
        stored = await session.get(StoredPolicy, (name, version))
        if stored is None:
            raise NotFound(kind="policy", id=f"{name} version {version}")
        known[name, version] = Policy.from_dict(stored.rules)
    return known[name, version]
