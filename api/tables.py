"""How the service's own rows are stored: keys to its door, what was done through it, limits."""

from datetime import datetime

from sqlalchemy import (
    ARRAY,
    Column,
    Index,
    LargeBinary,
    SmallInteger,
    String,
    UniqueConstraint,
    text,
)
from sqlmodel import Field

from takings.records import Row, moment


class ApiKey(Row, table=True):
    """A key of the platform's backend: shown once, stored as its hash.

    ``actor`` is who acts with it: the first key of those that were rotated into one another.
    ``version`` is the API's version of the day it was made, which it is answered in.
    """

    __tablename__ = "api_keys"

    id: str = Field(primary_key=True)
    actor: str
    name: str
    hash: bytes = Field(unique=True)
    hint: str
    scopes: list[str] = Field(sa_column=Column(ARRAY(String), nullable=False))
    live: bool
    version: str
    created_at: datetime = Field(sa_column=moment())
    expires_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))
    revoked_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))


class Act(Row, table=True):
    """One thing that somebody did: who, what, under which idempotency key, and the answer.

    The answer is kept for some days, the rest for good.  Without an answer, whoever brings the same
    request may try again once the lease is over: acts finish what another try left behind.
    """

    __tablename__ = "acts"
    __table_args__ = (
        UniqueConstraint("actor", "key", name="acts_actor_key_key"),
        Index(None, "begun_at", "id"),
        Index("acts_answers_idx", "ended_at", postgresql_where=text("answer IS NOT NULL")),
    )

    id: str = Field(primary_key=True)
    actor: str
    key: str
    operation: str
    target: str
    fingerprint: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    begun_at: datetime = Field(sa_column=moment())
    leased_until: datetime = Field(sa_column=moment())
    attempts: int
    status: int | None = Field(default=None, sa_type=SmallInteger)
    media: str | None = None
    answer: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    etag: str | None = None
    ended_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))


class Limit(Row, table=True):
    """Until when an actor's requests are spent, at the pace that the limit allows."""

    __tablename__ = "limits"
    __table_args__ = ({"prefixes": ["UNLOGGED"]},)

    actor: str = Field(primary_key=True)
    spent_until: datetime = Field(sa_column=moment())
