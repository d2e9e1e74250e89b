"""Agreements: who is paid which share of a Space's money, in versions that never change."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import editions
from takings.database import Database, fetch
from takings.errors import Invalid, NotFound
from takings.spaces import hosts, tables

ALL = 10_000


class SharesDoNotSum(Invalid):
    """The shares sum to {total} basis points, not to 10000.

    Give every payee a whole number of basis points from 1 on, 10000 in all.
    """

    param = "shares"


class ShareTooSmall(Invalid):
    """The share of {host} is {weight} basis points.

    Give every payee a whole number of basis points from 1 on, or leave them out.
    """

    param = "shares"


class PayeeTwice(Invalid):
    """The host {host} has more than one share.

    Add the shares of one payee together.
    """

    param = "shares"


@dataclass(frozen=True, slots=True)
class Share:
    """One payee's weight, in basis points."""

    host: str
    weight: int


def check(shares: Sequence[Share]) -> None:
    """Raise unless the shares are a whole: positive, one for each payee, 10 000 in all."""
    for share in shares:
        if share.weight < 1:
            raise ShareTooSmall(host=share.host, weight=share.weight)
    total = sum(share.weight for share in shares)
    if total != ALL:
        raise SharesDoNotSum(total=total)
    payees = [share.host for share in shares]
    for payee in payees:
        if payees.count(payee) > 1:
            raise PayeeTwice(host=payee)


WRITE = """
INSERT INTO shares (space_id, version, position, host_id, weight)
SELECT $1, $2, position, host, weight
  FROM unnest($3::text[], $4::smallint[]) WITH ORDINALITY AS s (host, weight, position)
"""


async def write(
    session: AsyncSession, space_id: str, version: int, shares: Sequence[Share], now: datetime
) -> None:
    """Write one version of who shares what; the earlier position wins ties."""
    check(shares)
    for host in sorted(await hosts.missing(session, {share.host for share in shares})):
        raise NotFound(kind="host", id=host)
    session.add(tables.Agreement(space_id=space_id, version=version, created_at=now))
    await session.flush()
    columns = ([share.host for share in shares], [share.weight for share in shares])
    await fetch(session, WRITE, space_id, version, *columns)


async def shares(session: AsyncSession, space_id: str, version: int) -> list[Share]:
    """Who shares what under this version, in the agreement's order."""
    found = await session.exec(
        select(tables.Share)
        .where(tables.Share.space_id == space_id, tables.Share.version == version)
        .order_by(tables.Share.position)  # type: ignore[arg-type]
    )
    return [Share(row.host_id, row.weight) for row in found]


async def amend(
    database: Database,
    space_id: str,
    changed: Sequence[Share],
    *,
    expected: int | None = None,
    now: datetime,
) -> int:
    """Agree anew: a next version that touches only later sales.  Answers with its number.

    Amending to what already holds changes nothing, whatever version was expected: it may be a
    repetition.  Otherwise raises EditedMeanwhile where the version is not the expected one.
    """

    async def step(session: AsyncSession) -> int:
        space = await session.get(tables.Space, space_id, with_for_update=True)
        if space is None:
            raise NotFound(kind="space", id=space_id)
        if await shares(session, space_id, space.agreement_version) != list(changed):
            what = f"agreement of {space_id}"
            editions.check(what, space.agreement_version, expected)
            await write(session, space_id, space.agreement_version + 1, changed, now)
            space.agreement_version += 1
        return space.agreement_version

    return await database.run(step)
