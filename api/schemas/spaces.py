"""Spaces, as the API shows them."""

from typing import Annotated, Literal, Self

from pydantic import Field

from api.schemas.agreements import Shares, Tips
from api.schemas.common import Input, Instant, Output, OwnId, Paging, Seconds, Text
from api.schemas.hosts import Host
from takings.spaces import tables
from takings.spaces.spaces import State

Policy = Annotated[Text, Field(description="whose rules its sales follow, in today's version")]


class SpaceInput(Input):
    """A Space to be scheduled; without shares all of its money is the host's.

    Nothing is sold before every payee but the host has signed.
    """

    id: OwnId | None = None
    host: Text
    title: Text
    policy: Policy = "clubhouse-2021"
    shares: Shares | None = None
    tips: Tips = "shares"
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
    agreement_version: Annotated[
        int | None, Field(description="what sales follow; null: not signed yet, nothing is sold")
    ]
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
