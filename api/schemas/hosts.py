"""Hosts and their money, as the API shows them."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field

from api.schemas.common import Input, Output, OwnId, Seconds, Text
from takings.ledger.accounts import Drawer
from takings.money import Money
from takings.spaces import tables


class HostInput(Input):
    """A host to be registered."""

    id: OwnId | None = None
    name: Text
    listener: Text | None = Field(
        default=None, description="who the host is where they listen: nobody tips themselves"
    )


class Host(Output):
    """Somebody who is paid."""

    id: str
    object: Literal["host"] = "host"
    created: Seconds
    name: str
    listener: str | None
    stripe_account: str | None

    @classmethod
    def of(cls, host: tables.Host) -> Self:
        """The host as the API shows it."""
        return cls(
            id=host.id,
            created=host.created_at,
            name=host.name,
            listener=host.listener_id,
            stripe_account=host.stripe_account,
        )


class Drawers(Output):
    """A host's money in one currency: what we owe, by where it is on its way to the host."""

    currency: str
    held: int
    available: int
    reserved: int
    rolling: int
    in_transit: int


class HostBalance(Output):
    """A host's money, one row for each currency."""

    object: Literal["host_balance"] = "host_balance"
    host: str
    balances: list[Drawers]

    @classmethod
    def of(cls, host: str, found: Mapping[str, Mapping[Drawer, Money]]) -> Self:
        """The drawers as the API shows them; what we owe is positive."""
        rows = [
            Drawers(currency=currency, **{drawer: money.minor for drawer, money in drawers.items()})
            for currency, drawers in sorted(found.items())
        ]
        return cls(host=host, balances=rows)
