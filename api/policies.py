"""Policies: POST, GET list, GET one."""

from typing import Annotated

from fastapi import Query
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from api import operations
from api.dependencies import Here, Id
from api.operations import operation
from api.schemas.common import Listing
from api.schemas.policies import Policy, PolicyInput
from takings import commission
from takings.errors import NotFound
from takings.policies import policies, rules
from takings.policies.tables import StoredPolicy

router = operations.router("policies")

PUBLISHING = (
    *(rules.BadPolicy, commission.BadRate, commission.BadTiers, commission.NegativeAmount),
    *(policies.PolicyDiffers, policies.RuleNotKept),
)


@router.post("/policies", **operation("finance", raises=PUBLISHING))
async def publish(here: Here, given: PolicyInput) -> Policy:
    """Publish a version of a policy, which never changes; Spaces scheduled from now on take it."""
    policy = rules.Policy.from_dict(given.rules)
    policies.check_kept(policy)
    await policies.publish(here.database, policy, now=here.now())
    return await here.database.run(_one, policy.name, policy.version)


@router.get("/policies", **operation("spaces", "finance"))
async def every(here: Here) -> Listing[Policy]:
    """Every version of every policy, by name, newest version first."""
    return Listing.whole(await here.database.run(_every), "/v1/policies")


@router.get("/policies/{name}", **operation("spaces", "finance", raises=(NotFound,)))
async def one(
    here: Here, name: Id, version: Annotated[int | None, Query(ge=1, le=32767)] = None
) -> Policy:
    """One version of a policy: the newest, unless another is asked for."""
    return await here.database.run(_one, name, version)


async def _every(session: AsyncSession) -> list[Policy]:
    order = col(StoredPolicy.name), col(StoredPolicy.version).desc()
    return [Policy.of(row) for row in await session.exec(select(StoredPolicy).order_by(*order))]


async def _one(session: AsyncSession, name: str, version: int | None) -> Policy:
    query = select(StoredPolicy).where(StoredPolicy.name == name)
    if version is not None:
        query = query.where(StoredPolicy.version == version)
    newest = (await session.exec(query.order_by(col(StoredPolicy.version).desc()))).first()
    if newest is None:
        raise NotFound(kind="policy", id=name if version is None else f"{name} version {version}")
    return Policy.of(newest)
