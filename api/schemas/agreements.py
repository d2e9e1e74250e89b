"""Agreements and the stage, as the API shows them."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field

from api.schemas.common import Input, Output, Seconds, Text
from takings.spaces import agreements, tables


class Claim(Input):
    """A share that waits for its payee: so many days, then it is the others' or the listener's."""

    days: Annotated[int, Field(strict=True, description="from when it was earned; 3650 at most")]
    unclaimed: agreements.Unclaimed


class Share(Input):
    """One payee's weight, in basis points: 6000 is 60 %.

    With a claim nobody waits for the payee's signature.
    """

    host: Text
    weight: Annotated[int, Field(strict=True, description="in basis points; 10000 in all")]
    claim: Claim | None = None

    def value(self) -> agreements.Share:
        """The share as the books know it."""
        claim = None if self.claim is None else agreements.Claim(**self.claim.model_dump())
        return agreements.Share(self.host, self.weight, claim)

    @classmethod
    def of(cls, share: agreements.Share) -> Self:
        """The share as the API shows it."""
        known = share.claim
        claim = None if known is None else Claim(days=known.days, unclaimed=known.unclaimed)
        return cls(host=share.host, weight=share.weight, claim=claim)


Shares = Annotated[list[Share], Field(min_length=1, max_length=100)]

TIPS = "whether a tip is shared by all, or by those who are on stage when it is given"
Tips = Annotated[agreements.Tips, Field(description=TIPS)]


class SharesInput(Input):
    """Who shares what from when all of them have signed; 10000 in all."""

    shares: Shares
    tips: Tips | None = None


class SignInput(Input):
    """Which payee agrees."""

    host: Text


class Signature(Output):
    """That a payee agrees; ``actor`` is who told it."""

    host: str
    actor: str
    signed_at: Seconds


class Agreement(Output):
    """One version of who shares what in a Space; it touches only what is sold under it."""

    object: Literal["agreement"] = "agreement"
    created: Seconds
    space: str
    version: int
    state: agreements.State
    tips: Tips
    shares: list[Share]
    signatures: list[Signature]
    waiting_for: Annotated[list[str], Field(description="who has to sign before it is in force")]
    signed_at: Seconds | None

    @classmethod
    def of(cls, known: agreements.Version) -> Self:
        """The version as the API shows it."""
        return cls(
            created=known.created_at,
            space=known.space,
            version=known.number,
            state=known.state,
            tips=known.tips,
            shares=[Share.of(share) for share in known.shares],
            signatures=[
                Signature(host=one.host, actor=one.actor, signed_at=one.signed_at)
                for one in known.signatures
            ],
            waiting_for=list(known.waiting_for),
            signed_at=known.signed_at,
        )


class SpeakerInput(Input):
    """Who comes on stage, or leaves it."""

    host: Text


class Speaker(Output):
    """That a host was on stage, from when until when; without an end they still are."""

    host: str
    joined_at: Seconds
    left_at: Seconds | None


class Stage(Output):
    """Who is on a Space's stage, and who has been when."""

    object: Literal["stage"] = "stage"
    space: str
    hosts: Annotated[list[str], Field(description="who is there now")]
    log: list[Speaker]

    @classmethod
    def of(cls, space: str, rows: Sequence[tables.Speaker]) -> Self:
        """The stage as the API shows it."""
        return cls(
            space=space,
            hosts=[row.host_id for row in rows if row.left_at is None],
            log=[
                Speaker(host=row.host_id, joined_at=row.joined_at, left_at=row.left_at)
                for row in rows
            ],
        )
