"""Stripe's events, as the API shows them."""

from typing import Any, Literal, Self

import orjson

from api.schemas.common import Output, Paging, Seconds, Text
from takings.payments import stripe_tables as tables


class EventFilter(Paging):
    """Which events are wanted."""

    status: Literal["received", "done", "failed", "parked"] | None = None
    type: Text | None = None


class Event(Output):
    """One webhook of Stripe's: when it came, and what became of it."""

    id: str
    object: Literal["event"] = "event"
    created: Seconds
    type: str
    endpoint: str
    account: str | None
    livemode: bool
    api_version: str | None
    status: str
    attempts: int
    error: str | None
    received_at: Seconds
    next_at: Seconds
    handled_at: Seconds | None

    @classmethod
    def of(cls, row: tables.Event) -> Self:
        """The event as the API shows it in a list."""
        return cls(**cls.facts(row))

    @staticmethod
    def facts(row: tables.Event) -> dict[str, Any]:
        """The row's fields under their names in the API."""
        kept = row.model_dump(exclude={"payload", "created_at"})
        return kept | {"created": row.created_at}


class EventWithPayload(Event):
    """One webhook of Stripe's, and its body."""

    payload: dict[str, Any]

    @classmethod
    def of(cls, row: tables.Event) -> Self:
        """The event as the API shows it alone."""
        return cls(**cls.facts(row), payload=orjson.loads(row.payload))
