"""Keys to the service's door: random, shown once, stored as their hash, revoked at once.

A key opens what its scopes name, in the mode that its prefix says.  A key and those that it was
rotated into are one actor, so that what was begun with one is repeated with the next, and nobody is
two people.  Keys are looked up many at a time and remembered for a second; PostgreSQL says when one
changes, and then all are forgotten.
"""

import hashlib
import secrets
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal, get_args

from sqlalchemy.engine import Row
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from api import versions
from api.tables import ApiKey
from takings.batching import Batcher
from takings.database import Database
from takings.errors import Conflict, Invalid, NotFound
from takings.records import new_id

Scope = Literal[
    "spaces",
    "tickets",
    "tips",
    "agreements",
    "payouts.read",
    "payouts.approve",
    "finance",
    "exports",
    "webhooks",
    "admin",
]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
"""What a key may open; ``admin`` opens everything."""

CHANNEL: Final = "takings_keys"
RANDOM: Final = 24  # bytes: 192 bits
HINT: Final = 4
REMEMBERED: Final = timedelta(seconds=1)
GRACE: Final = timedelta(hours=24)


class UnknownScope(Invalid):
    """There is no scope {scope}.

    Choose among: {known}.
    """


class KeyRevoked(Conflict):
    """The key {id} was revoked: nothing takes its place.

    Make a new one with "takings keys issue".
    """


async def issue(
    database: Database,
    name: str,
    *,
    scopes: Sequence[str] = ("admin",),
    live: bool = False,
    now: datetime,
) -> tuple[ApiKey, str]:
    """A new key and its secret, which nobody will see again."""
    for scope in scopes:
        if scope not in SCOPES:
            raise UnknownScope(scope=scope, known=", ".join(SCOPES))

    async def step(session: AsyncSession) -> tuple[ApiKey, str]:
        return _new(session, name, scopes, live, now)

    return await database.run(step)


async def rotate(
    database: Database, key_id: str, *, grace: timedelta = GRACE, now: datetime
) -> tuple[ApiKey, str]:
    """A key of the same actor, and its secret; the old one opens for a while longer.

    Raises NotFound or KeyRevoked.
    """

    async def step(session: AsyncSession) -> tuple[ApiKey, str]:
        old = await _locked(session, key_id)
        if old.revoked_at is not None:
            raise KeyRevoked(id=key_id)
        old.expires_at = min(old.expires_at or now + grace, now + grace)
        return _new(session, old.name, old.scopes, old.live, now, actor=old.actor)

    return await database.run(step)


async def revoke(database: Database, key_id: str, *, now: datetime) -> ApiKey:
    """The key opens nothing any more; revoking it again changes nothing."""

    async def step(session: AsyncSession) -> ApiKey:
        key = await _locked(session, key_id)
        key.revoked_at = key.revoked_at or now
        return key

    return await database.run(step)


def _new(
    session: AsyncSession,
    name: str,
    scopes: Sequence[str],
    live: bool,
    now: datetime,
    *,
    actor: str | None = None,
) -> tuple[ApiKey, str]:
    secret = f"tk_{'live' if live else 'test'}_{secrets.token_hex(RANDOM)}"
    key_id = new_id("key")
    key = ApiKey(
        id=key_id,
        actor=actor or key_id,
        name=name,
        hash=digest(secret),
        hint=f"{secret[:8]}…{secret[-HINT:]}",
        scopes=list(scopes),
        live=live,
        version=versions.NEWEST,
        created_at=now,
    )
    session.add(key)
    return key, secret


async def _locked(session: AsyncSession, key_id: str) -> ApiKey:
    key = await session.get(ApiKey, key_id, with_for_update=True)
    if key is None:
        raise NotFound(kind="key", id=key_id)
    return key


async def all(session: AsyncSession) -> Sequence[ApiKey]:  # noqa: A001 - read as keys.all
    """Every key there has been, newest first."""
    newest = col(ApiKey.created_at).desc(), col(ApiKey.id).desc()
    return (await session.exec(select(ApiKey).order_by(*newest))).all()


FIND = """
SELECT actor, hash, name, scopes, live, version, expires_at FROM api_keys
 WHERE hash = ANY($1::bytea[]) AND revoked_at IS NULL
"""

Found = Row[Any]


class Keyring:
    """The keys that open, as one process knows them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[bytes, tuple[Found, datetime]] = {}
        self._finding: Batcher[bytes, Found | None] = Batcher(self._find)

    def forget(self) -> None:
        """Something has changed: all are looked up again."""
        self._known.clear()

    async def find(self, secret: str, now: datetime) -> Found | None:
        """The key with this secret, if it opens anything at this instant."""
        hashed = digest(secret)
        found, looked_at = self._known.get(hashed, (None, now))
        if found is None or not looked_at <= now < looked_at + REMEMBERED:
            found = await self._finding.put(hashed)
            if found is None:
                self._known.pop(hashed, None)
            else:
                self._known[hashed] = found, now
        over = found is not None and found.expires_at is not None and found.expires_at <= now
        return None if over else found

    async def _find(self, hashes: Collection[bytes]) -> Sequence[Found | None]:
        rows = await self._database.fetch(FIND, list(set(hashes)))
        found = {bytes(row.hash): row for row in rows}
        return [found.get(one) for one in hashes]


def digest(secret: str) -> bytes:
    """What is stored of a secret: enough to know it again, too little to use it.

    A plain hash is enough, because a key is random: there is nothing to guess.
    """
    return hashlib.sha256(secret.encode()).digest()
