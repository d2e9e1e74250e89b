"""Door keys: what passes are signed with, and what every door may know to read them.

The first is made when it is asked for.  A key that another has followed signs no more, and what it
has signed stays good, unless it is withdrawn.
"""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database, fetch
from takings.errors import NotFound
from ticketing import passes
from ticketing.door_tables import SigningKey
from ticketing.passes import Pass
from ticketing.sale_tables import Ticket


@dataclass(frozen=True, slots=True)
class DoorKey:
    """A key as it is published: whoever has it can read passes, and nobody can sign with it."""

    id: str
    public: bytes
    signs: bool

    def jwk(self) -> Mapping[str, str]:
        """The same as a JSON Web Key (RFC 8037)."""
        x = urlsafe_b64encode(self.public).decode().rstrip("=")
        return {
            "kty": "OKP",
            "crv": "Ed25519",
            "alg": "EdDSA",
            "use": "sig",
            "kid": self.id,
            "x": x,
        }


async def published(session: AsyncSession, *, now: datetime) -> list[DoorKey]:
    """The keys that passes are read by, newest first."""
    await private(session, now=now)
    wanted = select(SigningKey).where(~col(SigningKey.withdrawn))
    found = await session.exec(wanted.order_by(col(SigningKey.created_at).desc()))
    return [DoorKey(row.id, row.public, row.retired_at is None) for row in found]


async def readable(session: AsyncSession) -> dict[str, bytes]:
    """The same by their ids, as ``passes.read`` takes them; none where no pass was ever made."""
    rows = await fetch(session, "SELECT id, public FROM signing_keys WHERE NOT withdrawn")
    return {row.id: row.public for row in rows}


async def private(session: AsyncSession, *, now: datetime) -> bytes:
    """The one that signs now."""
    signing = select(SigningKey.private).where(col(SigningKey.retired_at).is_(None))
    found = (await session.exec(signing)).first()
    if found is None:
        await _make(session, now)
        found = (await session.exec(signing)).one()
    if found is None:
        raise AssertionError  # pragma: no cover - the law retired_without_private
    return found


async def sign(session: AsyncSession, ticket_id: str, *, now: datetime) -> str:
    """The pass of a ticket, as its QR code says it; raises NotFound or NoPass."""
    ticket = await session.get(Ticket, ticket_id)
    if ticket is None:
        raise NotFound(kind="ticket", id=ticket_id)
    return passes.sign(Pass.of(ticket), await private(session, now=now))


RETIRE = """
UPDATE signing_keys
   SET private = NULL, retired_at = coalesce(retired_at, $2), withdrawn = withdrawn OR $1
 WHERE retired_at IS NULL OR $1
"""


async def rotate(database: Database, *, withdraw: bool = False, now: datetime) -> None:
    """Sign with a new key from now on; with ``withdraw`` no pass of before is read any more.

    Of rotations at the same time one is done.
    """

    async def step(session: AsyncSession) -> None:
        await private(session, now=now)
        await fetch(session, RETIRE, withdraw, now)
        await _make(session, now)

    await database.run(step)


MAKE = """
INSERT INTO signing_keys (id, public, private, created_at) VALUES ($1, $2, $3, $4)
ON CONFLICT DO NOTHING
"""


async def _make(session: AsyncSession, now: datetime) -> None:
    """A key to sign with, unless somebody made one a moment ago: there is one at a time."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes_raw()
    await fetch(session, MAKE, passes.name(public), public, key.private_bytes_raw(), now)
