"""Payouts, their lines, plans and batches, as the API hears and shows them."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field

from api.schemas.common import Currency, Input, Minor, Output, OwnId, Paging, Seconds, Text
from api.schemas.hosts import Host
from takings.money import Money
from takings.payouts import batches, lines, tables, upcoming
from takings.policies.rules import Schedule

State = Literal["waiting", "sending", "sent", "refused"]


class PayoutInput(Input):
    """A payout on request: all that the host could take in a currency."""

    id: OwnId | None = None
    host: Text
    currency: Currency


class RefuseInput(Input):
    """Why a payout is not let go."""

    why: Text


class PayoutFilter(Paging):
    """Which payouts are wanted."""

    host: Text | None = None
    currency: Text | None = None
    state: State | None = None
    batch: Text | None = None
    expand: list[Literal["data.host"]] = Field(default=[], alias="expand[]")


class Transfer(Output):
    """A payout's money on its way to the host's account at Stripe, and what came back of it."""

    id: str
    object: Literal["transfer"] = "transfer"
    amount: int
    state: Literal["asked", "sent", "refused"]
    reversed: Annotated[int, Field(description="how much of it has come back")]
    reversing: Annotated[int, Field(description="how much more Stripe is asked to take back")]
    stripe_transfer: str | None
    error: str | None
    sent_at: Seconds | None

    @classmethod
    def of(cls, row: tables.Transfer) -> Self:
        """The transfer as the API shows it."""
        return cls(
            id=row.id,
            amount=row.minor,
            state=row.state,
            reversed=row.reversed,
            reversing=row.reversing,
            stripe_transfer=row.stripe_id,
            error=row.error,
            sent_at=row.sent_at,
        )


class Payout(Output):
    """One decision to pay a host what is available in one currency.

    It pays what the payout before it left (``brought``), and all that has moved since, but for what
    the currency cannot pay out (``carried``).
    """

    id: str
    object: Literal["payout"] = "payout"
    created: Seconds
    host: str | Host
    amount: int
    currency: str
    state: State
    brought: int
    carried: int
    destination: Annotated[str, Field(description="the host's account at Stripe")]
    batch: str | None
    requested_by: str
    approved_by: str | None
    approved_at: Seconds | None
    ended_at: Annotated[Seconds | None, Field(description="when it was sent or refused")]
    error: Annotated[str | None, Field(description="why it was refused")]
    transfers: list[Transfer]

    @classmethod
    def of(cls, row: tables.Payout, transfers: Sequence[tables.Transfer]) -> Self:
        """The payout as the API shows it."""
        same = ("id", "state", "currency", "brought", "carried", "destination", "requested_by")
        then = ("approved_by", "approved_at", "ended_at", "error")
        return cls(
            **{name: getattr(row, name) for name in (*same, *then)},
            created=row.created_at,
            host=row.host_id,
            amount=row.minor,
            batch=row.batch_id,
            transfers=[Transfer.of(one) for one in transfers if one.payout_id == row.id],
        )


class Part(Output):
    """What all lines of a kind add to a payout."""

    kind: str
    amount: int


class ExplainedPayout(Payout):
    """A payout, and what each kind of line adds to it: all kinds together sum to its amount."""

    waterfall: list[Part]

    @classmethod
    def explained(cls, payout: Payout, parts: Mapping[str, Money]) -> Self:
        """The payout with what it is made of."""
        whole = [Part(kind=kind, amount=money.minor) for kind, money in parts.items()]
        return cls(**dict(payout), waterfall=whole)


class LinePaging(Input):
    """Which lines of a payout are wanted."""

    limit: int = Field(default=10, ge=1, le=100, description="how many of them")
    starting_after: Text | None = Field(default=None, description="the id that the page follows")


class PayoutLine(Output):
    """What one posting adds to a payout: negative is what it takes from it."""

    id: str
    object: Literal["payout_line"] = "payout_line"
    kind: Annotated[str, Field(description="earning, refund, fee …; brought and carried")]
    amount: int
    currency: str
    of: Annotated[str | None, Field(description="tip or ticket")]
    about: Annotated[str | None, Field(description="the id of that tip or ticket")]
    payment: str | None
    space: str | None
    entry: Annotated[str | None, Field(description="the entry in the books")]
    source: Annotated[str | None, Field(description="the payment, refund or dispute behind it")]
    happened_at: Seconds | None

    @classmethod
    def shown(cls, line: lines.Line) -> Self:
        """The line as the API shows it."""
        same = ("id", "kind", "of", "about", "payment", "space", "entry", "source", "happened_at")
        told = {name: getattr(line, name) for name in same}
        return cls(**told, amount=line.money.minor, currency=line.money.currency)


WHICH = "weekly: 1 is Monday, 7 Sunday; monthly: the day, 28 at most; else none"
Anchor = Annotated[int, Field(strict=True, description=WHICH)]
LEAST = "by currency, from how many minor units on the host is paid; without it as before"


class PlanInput(Input):
    """When a host is paid by itself, from tomorrow on; manual: on request alone."""

    schedule: Schedule
    anchor: Anchor | None = None
    minimums: Annotated[dict[Text, Minor], Field(description=LEAST)] | None = None


class PauseInput(Input):
    """Why a host is paid nothing for now."""

    why: Text


class PayoutPlan(Output):
    """When a host is paid out, from how much on, and whether that is paused."""

    object: Literal["payout_plan"] = "payout_plan"
    host: str
    version: int
    schedule: Schedule
    anchor: Annotated[int | None, Field(description=WHICH)]
    minimums: Annotated[dict[str, int], Field(description="by currency, in minor units")]
    next_on: date | None
    paused_at: Seconds | None
    paused_why: str | None
    paused_by: str | None

    @classmethod
    def of(cls, row: tables.Plan) -> Self:
        """The plan as the API shows it."""
        same = ("version", "schedule", "anchor", "minimums", "next_on")
        paused = ("paused_at", "paused_why", "paused_by")
        told = {name: getattr(row, name) for name in (*same, *paused)}
        return cls(**told, host=row.host_id)


Why = Literal["no_account", "paused", "on_request", "negative", "nothing", "below_minimum"]


class UpcomingPayout(Output):
    """The host's next payout in a currency; an estimate, if nobody asks anything back."""

    object: Literal["upcoming_payout"] = "upcoming_payout"
    currency: str
    on: Annotated[date | None, Field(description="its day; null: none comes by itself")]
    available: Annotated[int, Field(description="what there is now")]
    estimate: Annotated[int, Field(description="what it would be on that day")]
    why: Annotated[Why | None, Field(description="why none comes")]

    @classmethod
    def of(cls, found: upcoming.Upcoming) -> Self:
        """The announcement as the API shows it."""
        sums = {"available": found.available.minor, "estimate": found.estimate.minor}
        return cls(currency=found.currency, on=found.on, why=found.why, **sums)


class BatchInput(Input):
    """A batch by hand: all whose plan is not manual are paid now, whatever day it names."""

    id: OwnId | None = None


class PayoutBatch(Output):
    """All who are due on a day; the worker writes their payouts, some hundred hosts at a time."""

    id: str
    object: Literal["payout_batch"] = "payout_batch"
    created: Seconds
    due_on: date
    scheduled: Annotated[bool, Field(description="the day's own; false: begun by hand")]
    requested_by: str
    looked: Annotated[int, Field(description="how many hosts were looked at")]
    written: Annotated[int, Field(description="how many of them are paid")]
    written_at: Annotated[Seconds | None, Field(description="when the last was looked at")]

    @classmethod
    def of(cls, row: tables.Batch) -> Self:
        """The batch as the API shows it."""
        same = ("id", "due_on", "scheduled", "requested_by", "looked", "written", "written_at")
        return cls(**{name: getattr(row, name) for name in same}, created=row.created_at)


class Amount(Output):
    """A sum in one currency."""

    currency: str
    amount: int


class BatchPart(Output):
    """The payouts of a batch that are in one state."""

    state: State
    payouts: int
    amounts: list[Amount]


class BatchProgress(PayoutBatch):
    """A batch, and how far it has come; it is through when it is written and nothing is sending."""

    hosts: Annotated[int, Field(description="how many there are to be looked at")]
    payouts: list[BatchPart]

    @classmethod
    def told(cls, found: batches.Progress) -> Self:
        """The progress as the API shows it."""
        parts = [
            BatchPart(
                state=state,
                payouts=many,
                amounts=[
                    Amount(currency=money.currency, amount=money.minor)
                    for money in found.money[state]
                ],
            )
            for state, many in found.payouts.items()
        ]
        return cls(**dict(PayoutBatch.of(found.batch)), hosts=found.hosts, payouts=parts)
