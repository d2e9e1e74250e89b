"""Stripe's objects in our words: what it tells us, and its lines of cash."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from takings.errors import Invalid

Object = dict[str, Any]
"""Any object as Stripe's API shows it."""


class NotFromStripe(Invalid):
    """The request is not a webhook of Stripe's: {reason}.

    Check the endpoint's signing secret, and that the body arrives byte for byte.
    """


@dataclass(frozen=True, slots=True)
class Notice:
    """A verified webhook: what happened, and the object as it was then."""

    id: str
    type: str
    api_version: str | None
    account: str | None
    live: bool
    created_at: datetime
    body: bytes


@dataclass(frozen=True, slots=True)
class CashLine:
    """One of Stripe's balance transactions, with the object that caused it."""

    id: str
    category: str
    minor: int
    fee: int
    net: int
    currency: str
    created_at: datetime
    available_on: datetime
    available: bool
    source: Object
    source_id: str | None


def notice(event: Object, body: bytes | None = None, *, thin: bool = False) -> Notice:
    """An event of Stripe's as a notice; a thin one only where thin ones are taken."""
    kind = event["object"]
    if kind != "event" and not (thin and kind == "v2.core.event"):
        raise NotFromStripe(reason=f"a {kind} does not belong here")
    created = event["created"]
    at = datetime.fromisoformat(created) if isinstance(created, str) else moment(created)
    return Notice(
        id=str(event["id"]),
        type=str(event["type"]),
        api_version=event.get("api_version"),
        account=_account(event),
        live=bool(event.get("livemode", False)),
        created_at=at,
        body=body or orjson.dumps(event),
    )


def _account(event: Object) -> str | None:
    """The connected account that an event is about; a thin one names it as its object."""
    about = event.get("related_object") or {}
    if about.get("type") == "v2.core.account":
        return str(about["id"])
    return event.get("account") or event.get("context")


def moment(seconds: int) -> datetime:
    """Stripe's seconds as an instant."""
    return datetime.fromtimestamp(seconds, UTC)


def cash_line(found: Object) -> CashLine:
    """A balance transaction in our words."""
    source = found["source"]
    return CashLine(
        id=found["id"],
        category=found["reporting_category"],
        minor=found["amount"],
        fee=found["fee"],
        net=found["net"],
        currency=found["currency"],
        created_at=moment(found["created"]),
        available_on=moment(found["available_on"]),
        available=found["status"] == "available",
        source=source if isinstance(source, dict) else {},
        source_id=source["id"] if isinstance(source, dict) else source,
    )
