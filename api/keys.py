"""Keys to the service's door: random, shown once, stored as their hash, revoked at once."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy.engine import Row
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from api.tables import ApiKey
from takings.database import Database, fetch
from takings.errors import NotFound
from takings.records import new_id

RANDOM: Final = 24  # bytes: 192 bits
HINT: Final = 4


async def issue(
    database: Database, name: str, *, live: bool = False, now: datetime
) -> tuple[ApiKey, str]:
    """A new key and its secret, which nobody will see again."""
    secret = f"tk_{'live' if live else 'test'}_{secrets.token_hex(RANDOM)}"

    async def step(session: AsyncSession) -> ApiKey:
        key = ApiKey(
            id=new_id("key"),
            name=name,
            hash=digest(secret),
            hint=f"{secret[:8]}…{secret[-HINT:]}",
            created_at=now,
        )
        session.add(key)
        return key

    return await database.run(step), secret


async def revoke(database: Database, key_id: str, *, now: datetime) -> ApiKey:
    """The key opens nothing any more; revoking it again changes nothing."""

    async def step(session: AsyncSession) -> ApiKey:
        key = await session.get(ApiKey, key_id, with_for_update=True)
        if key is None:
            raise NotFound(kind="key", id=key_id)
        key.revoked_at = key.revoked_at or now
        return key

    return await database.run(step)


async def all(session: AsyncSession) -> Sequence[ApiKey]:  # noqa: A001 - read as keys.all
    """Every key there has been, newest first."""
    newest = col(ApiKey.created_at).desc(), col(ApiKey.id).desc()
    return (await session.exec(select(ApiKey).order_by(*newest))).all()


FIND = "SELECT id, name FROM api_keys WHERE hash = $1 AND revoked_at IS NULL"


async def find(session: AsyncSession, secret: str) -> Row[tuple[str, str]] | None:
    """The key with this secret, if it opens anything."""
    rows = await fetch(session, FIND, digest(secret))
    return rows[0] if rows else None


def digest(secret: str) -> bytes:
    """What is stored of a secret: enough to know it again, too little to use it.

    A plain hash is enough, because a key is random: there is nothing to guess.
    """
    return hashlib.sha256(secret.encode()).digest()
