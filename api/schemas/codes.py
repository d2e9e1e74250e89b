"""Codes of a run, as the API hears and shows them."""

from typing import Annotated, Literal, Self

from pydantic import Field

from api.schemas.common import Input, Instant, Minor, Output, OwnId, Seconds, Text
from api.schemas.runs import Count
from ticketing import codes

Promo = Annotated[Text, Field(description="what buyers type: 1 to 64 letters, digits, _ and -")]


class CodeInput(Input):
    """A code: it takes ``rate_bps`` or ``amount`` off each ticket of a tier, or of the run."""

    id: OwnId | None = None
    code: Promo
    tier: Text | None = None
    rate_bps: (
        Annotated[Count, Field(description="in basis points: 10000 is free; rounded down")] | None
    ) = None
    amount: Minor | None = None
    size: Annotated[Count, Field(description="for how many tickets; unset: all")] | None = None
    closes_at: Instant | None = None

    def wish(self, code_id: str, run: str) -> codes.CodeWish:
        """The code as the box office knows it."""
        told = self.model_dump(exclude={"id", "amount"})
        return codes.CodeWish(id=code_id, run=run, minor=self.amount, **told)


class Code(Output):
    """A code of a run, and how many tickets are held and sold with it."""

    id: str
    object: Literal["code"] = "code"
    created: Seconds
    run: str
    tier: str | None
    code: str
    rate_bps: int | None
    amount: int | None
    size: int | None
    held: int
    sold: int
    closes_at: Seconds | None

    @classmethod
    def of(cls, made: codes.Made) -> Self:
        """The code as the API shows it."""
        code, pool = made.code, made.pool
        return cls(
            id=code.id,
            created=code.created_at,
            run=code.run_id,
            tier=code.tier_id,
            code=code.code,
            rate_bps=code.rate_bps,
            amount=code.minor,
            size=pool.quota,
            held=pool.held,
            sold=pool.sold,
            closes_at=code.closes_at,
        )
