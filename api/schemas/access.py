"""Keys and acts, as the API shows them."""

from typing import Literal, Self

from api import tables
from api.schemas.common import Output, Paging, Seconds, Text


class Key(Output):
    """An API key, but not its secret, which nobody knows any more.

    ``actor`` is who acts with it: the same for a key and those that it was rotated into.
    """

    id: str
    object: Literal["key"] = "key"
    created: Seconds
    actor: str
    name: str
    hint: str
    scopes: list[str]
    live: bool
    version: str
    expires_at: Seconds | None
    revoked_at: Seconds | None

    @classmethod
    def of(cls, row: tables.ApiKey) -> Self:
        """The key as the API shows it."""
        return cls(created=row.created_at, **row.model_dump(exclude={"hash", "created_at"}))


class ActFilter(Paging):
    """Which acts are wanted."""

    actor: Text | None = None
    operation: Text | None = None


class Act(Output):
    """Something that was done: by whom, what, on what, and with which status it was answered.

    ``status`` is null where no answer is known: it is still going on, or it was left off.
    """

    id: str
    object: Literal["act"] = "act"
    created: Seconds
    actor: str
    operation: str
    target: str
    idempotency_key: str | None
    attempts: int
    status: int | None
    ended_at: Seconds | None

    @classmethod
    def of(cls, row: tables.Act) -> Self:
        """The act as the API shows it."""
        return cls(
            id=row.id,
            created=row.begun_at,
            actor=row.actor,
            operation=row.operation,
            target=row.target,
            idempotency_key=None if row.key == row.id else row.key,
            attempts=row.attempts,
            status=row.status,
            ended_at=row.ended_at,
        )
