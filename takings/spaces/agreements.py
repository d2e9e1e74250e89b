"""Agreements: who is paid which share of a Space's money, in versions that every payee signs.

    proposed ──► in force ──► superseded     when all have signed; when a later one is in force
        └──────────────────► superseded      a later one was proposed before

What is sold follows the version that is in force at that moment; nothing is sold before there is
one.  A version is never changed.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, Literal

from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import editions
from takings.database import Database, fetch
from takings.errors import Conflict, Invalid, NotFound
from takings.spaces import hosts, locking, tables

ALL = 10_000
CLAIM_DAYS_MAX = 3650

Unclaimed = Literal["others", "listener"]
Tips = Literal["shares", "stage"]
State = Literal["proposed", "in_force", "superseded"]


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


class BadClaim(Invalid):
    """The share of {host} cannot wait to be claimed: {problem}.

    Name 1 to 3650 days; and where it would go to the others, give somebody a share without a claim.
    """

    param = "shares"


class AgreementUnsigned(Conflict):
    """Nothing is sold for the Space {space} yet: its agreement is not signed by {waiting_for}.

    Have them sign its newest version.
    """

    param = "space"


class AgreementSuperseded(Conflict):
    """Version {version} of the agreement of {space} is not to be signed: version {newest} is newer.

    Sign the newest one.
    """


class NotAPayee(Invalid):
    """The host {host} has no share under version {version} of the agreement of {space}.

    Only those who are paid sign it.
    """

    param = "host"


@dataclass(frozen=True, slots=True)
class Claim:
    """How long a payee who cannot be paid yet has to claim a share, and whose it is afterwards."""

    days: int
    unclaimed: Unclaimed


@dataclass(frozen=True, slots=True)
class Share:
    """One payee's weight, in basis points.

    With a claim it is the share of somebody who need not be here yet, such as a charity: nobody
    waits for their signature.
    """

    host: str
    weight: int
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class Signature:
    """That a payee agrees, and who told us so."""

    host: str
    actor: str
    signed_at: datetime


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a Space's agreement, and how far it has come.

    With ``tips`` of "stage" a tip is shared by those payees alone who are on stage when it is given
    (``stages.py``).  ``signed_at`` is from when it was in force.
    """

    space: str
    number: int
    tips: Tips
    shares: tuple[Share, ...]
    signatures: tuple[Signature, ...]
    state: State
    created_at: datetime
    signed_at: datetime | None

    @property
    def waiting_for(self) -> tuple[str, ...]:
        """Who still has to sign it before it is in force."""
        if self.state != "proposed":
            return ()
        signed = {signature.host for signature in self.signatures}
        due = (share.host for share in self.shares if share.claim is None)
        return tuple(host for host in due if host not in signed)


def check(shares: Sequence[Share]) -> None:
    """Raise unless the shares are a whole: positive, one for each payee, 10 000 in all."""
    for share in shares:
        if share.weight < 1:
            raise ShareTooSmall(host=share.host, weight=share.weight)
        if share.claim is not None and not 1 <= share.claim.days <= CLAIM_DAYS_MAX:
            raise BadClaim(host=share.host, problem=f"{share.claim.days} days are no time for it")
    total = sum(share.weight for share in shares)
    if total != ALL:
        raise SharesDoNotSum(total=total)
    for payee, times in Counter(share.host for share in shares).items():
        if times > 1:
            raise PayeeTwice(host=payee)
    claims = {share.host: share.claim for share in shares if share.claim is not None}
    others = [host for host, claim in claims.items() if claim.unclaimed == "others"]
    if others and len(claims) == len(shares):
        raise BadClaim(host=others[0], problem="there are no others for sure")


EVERY = """
SELECT version, a.tips, a.created_at, a.signed_at,
       CASE WHEN version = p.agreement_version THEN 'in_force'
            WHEN version = max(version) OVER () THEN 'proposed' ELSE 'superseded' END AS state,
       s.host_id, s.weight, s.claim_days, s.unclaimed, g.actor, g.signed_at AS host_signed_at
  FROM agreements a
  JOIN shares s USING (space_id, version)
  LEFT JOIN signatures g USING (space_id, version, host_id)
  JOIN spaces p ON p.id = space_id
 WHERE space_id = $1 ORDER BY version DESC, s.position
"""


async def every(session: AsyncSession, space_id: str) -> list[Version]:
    """All versions of a Space's agreement, newest first; or NotFound."""
    rows = await fetch(session, EVERY, space_id)
    if not rows:
        raise NotFound(kind="space", id=space_id)
    return [_version(space_id, list(found)) for _, found in groupby(rows, attrgetter("version"))]


async def newest(session: AsyncSession, space_id: str) -> Version:
    """The version that was proposed last, in force or not; or NotFound."""
    return (await every(session, space_id))[0]


def _version(space_id: str, rows: Sequence[Row[Any]]) -> Version:
    first = rows[0]
    signed = [row for row in rows if row.actor is not None]
    return Version(
        space=space_id,
        number=first.version,
        tips=first.tips,
        shares=tuple(
            Share(row.host_id, row.weight, row.claim_days and Claim(row.claim_days, row.unclaimed))
            for row in rows
        ),
        signatures=tuple(Signature(row.host_id, row.actor, row.host_signed_at) for row in signed),
        state=first.state,
        created_at=first.created_at,
        signed_at=first.signed_at,
    )


async def in_force(session: AsyncSession, space: tables.Space) -> int:
    """Which version the Space's sales follow now, or AgreementUnsigned."""
    if space.agreement_version is None:
        waiting_for = ", ".join((await newest(session, space.id)).waiting_for)
        raise AgreementUnsigned(space=space.id, waiting_for=waiting_for)
    return space.agreement_version


WRITE = """
INSERT INTO shares (space_id, version, position, host_id, weight, claim_days, unclaimed)
SELECT $1, $2, position, host, weight, days, unclaimed
  FROM unnest($3::text[], $4::smallint[], $5::smallint[], $6::text[])
       WITH ORDINALITY AS s (host, weight, days, unclaimed, position)
"""


async def write(
    session: AsyncSession,
    space: tables.Space,
    number: int,
    shares: Sequence[Share],
    tips: Tips,
    now: datetime,
) -> Version:
    """Write the next version down; the earlier position wins ties.

    The Space is locked, or new.  Where nobody has to sign, it is in force.
    """
    check(shares)
    for host in sorted(await hosts.missing(session, {share.host for share in shares})):
        raise NotFound(kind="host", id=host)
    session.add(tables.Agreement(space_id=space.id, version=number, tips=tips, created_at=now))
    await session.flush()
    rows = [
        (one.host, one.weight, one.claim and one.claim.days, one.claim and one.claim.unclaimed)
        for one in shares
    ]
    await fetch(session, WRITE, space.id, number, *map(list, zip(*rows, strict=True)))
    return await _looked_at(session, space, now)


async def amend(
    database: Database,
    space_id: str,
    changed: Sequence[Share],
    *,
    tips: Tips | None = None,
    expected: int | None = None,
    now: datetime,
) -> Version:
    """Propose a next version, which touches only what is sold once all its payees have signed.

    Without ``tips`` that rule stays as it is.  Proposing what the newest version says changes
    nothing, whatever version was expected: it may be a repetition.  Otherwise raises
    EditedMeanwhile where the newest is not the expected one.  What was proposed before and is not
    in force never will be; so to withdraw it, propose what is in force.
    """

    async def step(session: AsyncSession) -> Version:
        space = await locking.space(session, space_id)
        known = await newest(session, space_id)
        rule = tips or known.tips
        if (known.shares, known.tips) == (tuple(changed), rule):
            return known
        editions.check(f"agreement of {space_id}", known.number, expected)
        return await write(session, space, known.number + 1, changed, rule, now)

    return await database.run(step)


async def sign(
    database: Database,
    space_id: str,
    number: int,
    host: str,
    *,
    actor: str = "library",
    now: datetime,
) -> Version:
    """A payee agrees to a version; when the last one does, it is in force.  Repeatable.

    ``actor`` is who tells us so.  Raises NotFound, NotAPayee, AgreementSuperseded.
    """

    async def step(session: AsyncSession) -> Version:
        return await agree(
            session, await locking.space(session, space_id), number, host, actor, now
        )

    return await database.run(step)


SIGN = """
INSERT INTO signatures (space_id, version, host_id, actor, signed_at) VALUES ($1, $2, $3, $4, $5)
"""


async def agree(
    session: AsyncSession, space: tables.Space, number: int, host: str, actor: str, now: datetime
) -> Version:
    """The same, as a step, for a Space that is locked or new."""
    known = {version.number: version for version in await every(session, space.id)}
    if number not in known:
        raise NotFound(kind="agreement", id=f"{space.id} version {number}")
    if host not in {share.host for share in known[number].shares}:
        raise NotAPayee(host=host, space=space.id, version=number)
    if host in {signature.host for signature in known[number].signatures}:
        return known[number]
    if number != max(known):
        raise AgreementSuperseded(space=space.id, version=number, newest=max(known))
    await fetch(session, SIGN, space.id, number, host, actor, now)
    return await _looked_at(session, space, now)


async def _looked_at(session: AsyncSession, space: tables.Space, now: datetime) -> Version:
    """The newest version, put in force where nobody has to sign it any more."""
    version = await newest(session, space.id)
    if version.state != "proposed" or version.waiting_for:
        return version
    row = await session.get_one(tables.Agreement, (space.id, version.number))
    row.signed_at = now
    await session.flush()  # the Space may follow only what is signed
    space.agreement_version = version.number
    await session.flush()
    return replace(version, state="in_force", signed_at=now)
