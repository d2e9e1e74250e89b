"""Spaces and who shares what in them, as the API shows them."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field

from api.schemas.common import Input, Instant, Output, OwnId, Paging, Seconds, Text
from api.schemas.hosts import Host
from takings.spaces import agreements, tables
from takings.spaces.spaces import State


class Share(Input):
    """One payee's weight, in basis points: 6000 is 60 %."""

    host: Text
    weight: Annotated[int, Field(strict=True, description="in basis points; 10000 in all")]

    def value(self) -> agreements.Share:
        """The share as the books know it."""
        return agreements.Share(self.host, self.weight)


Shares = Annotated[list[Share], Field(min_length=1, max_length=100)]


class SharesInput(Input):
    """Who shares what from now on; 10000 in all."""

    shares: Shares


Policy = Annotated[Text, Field(description="whose rules its sales follow, in today's version")]


class SpaceInput(Input):
    """A Space to be scheduled; without shares all of its money is the host's."""

    id: OwnId | None = None
    host: Text
    title: Text
    policy: Policy = "clubhouse-2021"
    shares: Shares | None = None
    starts_at: Instant | None = None


class RescheduleInput(Input):
    """When a scheduled Space will start instead."""

    starts_at: Instant


class SpaceFilter(Paging):
    """Which Spaces are wanted."""

    host: Text | None = None
    state: State | None = None
    expand: list[Literal["data.host"]] = Field(default=[], alias="expand[]")


class Space(Output):
    """A live audio room with a beginning and an end."""

    id: str
    object: Literal["space"] = "space"
    created: Seconds
    host: str | Host
    title: str
    state: str
    policy: str
    policy_version: int
    agreement_version: int
    starts_at: Seconds | None
    live_at: Seconds | None
    ended_at: Seconds | None
    rescheduled_at: Seconds | None
    no_show: Annotated[bool, Field(description="cancelled because nobody opened it")]

    @classmethod
    def of(cls, space: tables.Space) -> Self:
        """The Space as the API shows it."""
        return cls(
            id=space.id,
            created=space.created_at,
            host=space.host_id,
            title=space.title,
            state=space.state,
            policy=space.policy,
            policy_version=space.policy_version,
            agreement_version=space.agreement_version,
            starts_at=space.starts_at,
            live_at=space.live_at,
            ended_at=space.ended_at,
            rescheduled_at=space.rescheduled_at,
            no_show=space.no_show,
        )


class Agreement(Output):
    """One version of who shares what in a Space; it touches only what is sold under it."""

    object: Literal["agreement"] = "agreement"
    space: str
    version: int
    shares: list[Share]

    @classmethod
    def of(cls, space: str, version: int, shares: Sequence[agreements.Share]) -> Self:
        """The agreement as the API shows it."""
        parts = [Share(host=share.host, weight=share.weight) for share in shares]
        return cls(space=space, version=version, shares=parts)
