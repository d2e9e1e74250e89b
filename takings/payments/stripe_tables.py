"""How what Stripe tells us is stored: its events, its cash, and how far we have read."""

from datetime import datetime

from sqlalchemy import CHAR, CheckConstraint, Column, Index, LargeBinary, text
from sqlmodel import Field

from takings.records import Row, amount, moment


class Event(Row, table=True):
    """One Stripe webhook, stored once as it came, handled once."""

    __tablename__ = "events"
    __table_args__ = (
        CheckConstraint("status IN ('received', 'done', 'failed', 'parked')", name="status_known"),
        CheckConstraint("status <> 'done' OR handled_at IS NOT NULL", name="done_at_a_time"),
        Index(
            "events_due_idx", "next_at", postgresql_where=text("status IN ('received', 'failed')")
        ),
        Index("events_parked_idx", "received_at", postgresql_where=text("status = 'parked'")),
        Index("events_received_at_id_idx", "received_at", "id"),
    )

    id: str = Field(primary_key=True)
    endpoint: str
    type: str
    api_version: str | None
    account: str | None
    livemode: bool
    created_at: datetime = Field(sa_column=moment())
    received_at: datetime = Field(sa_column=moment())
    payload: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    status: str
    attempts: int
    next_at: datetime = Field(sa_column=moment())
    handled_at: datetime | None = Field(sa_column=moment(nullable=True))
    error: str | None


class Cash(Row, table=True):
    """One of Stripe's balance transactions, as the books took it."""

    __tablename__ = "cash"
    __table_args__ = (
        Index("cash_pending_idx", "available_on", postgresql_where=text("matured_at IS NULL")),
        Index(
            "cash_transfer_reversals_idx",
            "created_at",
            postgresql_where=text("category = 'transfer_reversal'"),
        ),
        Index(None, "subject"),
        Index(None, "payment_id"),
    )

    id: str = Field(primary_key=True)
    category: str
    source: str | None
    subject: str
    payment_id: str | None  # the payment that it concerns, where it is one of ours
    currency: str = Field(sa_type=CHAR(3))
    minor: int = amount()
    fee: int = amount()
    net: int = amount()
    created_at: datetime = Field(sa_column=moment())
    available_on: datetime = Field(sa_column=moment())
    matured_at: datetime | None = Field(sa_column=moment(nullable=True))


class Cursor(Row, table=True):
    """How far a sweep has come."""

    __tablename__ = "cursors"

    name: str = Field(primary_key=True)
    value: str
    swept_at: datetime = Field(sa_column=moment())
