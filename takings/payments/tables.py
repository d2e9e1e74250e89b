"""How payments, their lines and shares, refunds and what we ask of Stripe are stored."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    CHAR,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    SmallInteger,
    text,
)
from sqlmodel import Field

from takings.records import Row, amount, document, id_law, moment


class Payment(Row, table=True):
    """What a listener owes or has paid, in our words."""

    __tablename__ = "payments"
    __table_args__ = (
        CheckConstraint(
            "state IN ('open', 'processing', 'authorised', 'capturing', 'paid', 'cancelled')",
            name="state_known",
        ),
        CheckConstraint("capture IN ('at_once', 'after_undo', 'at_close')", name="capture_known"),
        CheckConstraint("surface IN ('checkout', 'intent', 'saved')", name="surface_known"),
        CheckConstraint("minor > 0", name="positive"),
        CheckConstraint("(state = 'paid') = (paid_at IS NOT NULL)", name="paid_at_a_time"),
        CheckConstraint("release_days >= 0", name="not_negative"),
        CheckConstraint("lost >= 0", name="lost_not_negative"),
        Index("payments_rolls_idx", "rolls_at", postgresql_where=text("rolls_at IS NOT NULL")),
        Index(
            "payments_release_idx",
            *("space_id", "release_days", "id"),
            postgresql_where=text("state = 'paid' AND released_at IS NULL"),
        ),
        Index("payments_capture_idx", "capture_at", postgresql_where=text("state = 'authorised'")),
        Index("payments_open_idx", "created_at", postgresql_where=text("state <> 'paid'")),
        Index(None, "created_at", "id"),
    )

    id: str = Field(primary_key=True)
    listener_id: str = Field(index=True)
    space_id: str = Field(foreign_key="spaces.id")
    release_days: int = Field(sa_type=SmallInteger)  # so long after its Space at least
    surface: str
    state: str
    minor: int = amount()
    currency: str = Field(sa_type=CHAR(3))
    fees_covered: int = amount()
    lost: int = amount(0)  # what the bank took beyond what the lines had left
    intent_id: str | None = Field(default=None, unique=True)
    session_id: str | None = Field(default=None, unique=True)
    charge_id: str | None = Field(default=None, unique=True)
    client_secret: str | None = None
    url: str | None = None
    capture: str = Field(sa_column_kwargs={"server_default": "at_once"})  # when it is taken
    capture_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))
    created_at: datetime = Field(sa_column=moment())
    paid_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))
    released_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))
    rolls_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))
    looked_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))


class Line(Row, table=True):
    """What a payment pays for: one tip or one ticket, with the rules frozen when it was sold."""

    __tablename__ = "lines"
    __table_args__ = (
        ForeignKeyConstraint(
            ["space_id", "agreement_version"], ["agreements.space_id", "agreements.version"]
        ),
        ForeignKeyConstraint(["policy", "policy_version"], ["policies.name", "policies.version"]),
        CheckConstraint("minor > 0", name="positive"),
        CheckConstraint(
            "returned >= 0 AND refunding >= 0 AND returned + refunding <= minor + fees_covered",
            name="returns_no_more_than_paid",
        ),
        CheckConstraint(
            "disputed >= 0 AND frozen >= 0"
            " AND returned + disputed + frozen <= minor + fees_covered",
            name="disputes_no_more_than_paid",
        ),
    )

    id: str = Field(primary_key=True)
    payment_id: str = Field(foreign_key="payments.id", index=True)
    kind: str
    subject: str
    space_id: str
    agreement_version: int = Field(sa_type=SmallInteger)
    policy: str
    policy_version: int = Field(sa_type=SmallInteger)
    currency: str = Field(sa_type=CHAR(3))
    minor: int = amount()
    fees_covered: int = amount()
    refunding: int = amount()  # asked of Stripe, not yet booked
    returned: int = amount()  # booked: refunds − failed refunds
    disputed: int = amount(0)  # its part of what the bank has taken back
    frozen: int = amount(0)  # its part of what the bank may yet take back
    on_stage: list[int] | None = Field(sa_column=Column(ARRAY(SmallInteger)))  # None: all shares


class Allotment(Row, table=True):
    """Who was credited what for a line when it was earned, and where that money is now.

    ``credited`` is the weight of every later clawback; ``taken`` is what came back of it; ``held``,
    ``reserved`` and ``rolling`` are what still lies there of the host's money.  ``fee`` is what the
    host has borne of the card fee, ``fee_back`` what came back of that.  ``parked_until`` is set
    while the money waits for a payee who cannot be paid; ``directed`` is what goes back to the
    listener instead, before anybody else gives.
    """

    __tablename__ = "allotments"
    __table_args__ = (
        CheckConstraint("credited >= 0", name="not_negative"),
        CheckConstraint("taken BETWEEN 0 AND credited", name="takes_no_more_than_credited"),
        CheckConstraint("held BETWEEN 0 AND credited", name="holds_no_more_than_credited"),
        CheckConstraint(
            "reserved >= 0 AND rolling >= 0 AND dispute_fee >= 0", name="drawers_not_negative"
        ),
        CheckConstraint("fee_back BETWEEN 0 AND fee", name="gives_back_no_more_than_the_fee"),
        Index(
            "allotments_parked_idx",
            "parked_until",
            postgresql_where=text("parked_until IS NOT NULL"),
        ),
        Index(
            "allotments_parked_host_idx",
            "host_id",
            postgresql_where=text("parked_until IS NOT NULL"),
        ),
    )

    line_id: str = Field(primary_key=True, foreign_key="lines.id")
    position: int = Field(primary_key=True, sa_type=SmallInteger)
    host_id: str | None = Field(default=None, foreign_key="hosts.id")
    account: str  # where it was credited
    gross: int = amount()  # the host's share before commission, as the lifetime counter counts it
    credited: int = amount()
    taken: int = amount()
    held: int = amount()
    reserved: int = amount(0)
    rolling: int = amount(0)
    fee: int = amount(0)
    fee_back: int = amount(0)
    dispute_fee: int = amount(0)  # borne of a dispute's fee, and not given back
    parked_until: datetime | None = Field(default=None, sa_column=moment(nullable=True))
    directed: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})


class Refund(Row, table=True):
    """Money that we return to a listener, or that was returned at Stripe without us."""

    __tablename__ = "refunds"
    __table_args__ = (
        id_law(),
        CheckConstraint("state IN ('asked', 'booked', 'failed', 'refused')", name="state_known"),
        CheckConstraint("minor > 0", name="positive"),
        Index("refunds_asked_idx", "payment_id", postgresql_where=text("state = 'asked'")),
    )

    id: str = Field(primary_key=True)
    payment_id: str = Field(foreign_key="payments.id", index=True)
    state: str
    minor: int = amount()
    currency: str = Field(sa_type=CHAR(3))
    reason: str
    payee: str | None = Field(default=None, foreign_key="hosts.id")  # whose parked share it is
    stripe_id: str | None = Field(default=None, unique=True)
    error: str | None = None
    created_at: datetime = Field(sa_column=moment())
    booked_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))


class RefundLine(Row, table=True):
    """How much of a refund is for which line."""

    __tablename__ = "refund_lines"
    __table_args__ = (CheckConstraint("minor > 0", name="positive"),)

    refund_id: str = Field(primary_key=True, foreign_key="refunds.id")
    line_id: str = Field(primary_key=True, foreign_key="lines.id")
    minor: int = amount()


class Ask(Row, table=True):
    """Something that we ask of Stripe, once: committed before the call, answered after it.

    The key is Stripe's idempotency key.  Whoever holds the lease is the one who calls.
    """

    __tablename__ = "asks"
    __table_args__ = (
        Index("asks_due_idx", "leased_until", postgresql_where=text("answered_at IS NULL")),
    )

    key: str = Field(primary_key=True)
    call: str
    params: dict[str, Any] = Field(sa_column=document())
    first_asked_at: datetime = Field(sa_column=moment())
    leased_until: datetime = Field(sa_column=moment())
    attempts: int
    answered_at: datetime | None = Field(sa_column=moment(nullable=True))
