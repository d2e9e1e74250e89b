"""Hosts and their money, as the API shows them."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field

from api.schemas.common import Input, Output, OwnId, Seconds, Text
from takings.ledger.accounts import Drawer
from takings.money import Money
from takings.spaces import standings, tables


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


Fact = Annotated[int, Field(strict=True)]


class StandingInput(Input):
    """What the platform knows of a host today; what is not told counts as not known."""

    followers: Fact | None = None
    age: Annotated[Fact, Field(description="in years")] | None = None
    spaces: Annotated[Fact, Field(description="that the host held in the last days")] | None = None
    spaces_within_days: Annotated[Fact, Field(description="in how many days")] | None = None

    def standing(self) -> standings.Standing:
        """The facts as the gates know them; raises BadStanding."""
        return standings.Standing(**self.model_dump())


class Standing(Output):
    """What was last stated of a host, for policies that ask for it; null: not known."""

    object: Literal["standing"] = "standing"
    host: str
    followers: int | None
    age: int | None
    spaces: int | None
    spaces_within_days: int | None
    stated_at: Seconds | None

    @classmethod
    def of(cls, host: str, stated: tables.Standing | None) -> Self:
        """The facts as the API shows them."""
        facts = ("followers", "age", "spaces", "spaces_within_days", "stated_at")
        return cls(host=host, **{fact: getattr(stated, fact, None) for fact in facts})


class Drawers(Output):
    """A host's money in one currency: what we owe, by where it is on its way to the host.

    ``safe_to_spend`` is what is available, less what a refund or an open inquiry may yet take of
    it; never below zero.
    """

    currency: str
    held: int
    available: int
    reserved: int
    rolling: int
    in_transit: int
    safe_to_spend: int


class HostBalance(Output):
    """A host's money, one row for each currency."""

    object: Literal["host_balance"] = "host_balance"
    host: str
    balances: list[Drawers]

    @classmethod
    def of(
        cls, host: str, found: Mapping[str, Mapping[Drawer, Money]], exposed: Mapping[str, Money]
    ) -> Self:
        """The drawers as the API shows them; what we owe is positive."""
        rows = []
        for currency, drawers in sorted(found.items()):
            safe = drawers["available"] - exposed.get(currency, Money(0, currency))
            owed = {drawer: money.minor for drawer, money in drawers.items()}
            rows.append(Drawers(currency=currency, **owed, safe_to_spend=max(0, safe.minor)))
        return cls(host=host, balances=rows)
