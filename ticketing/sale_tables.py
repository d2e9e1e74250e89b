"""How sales of tickets are stored: who bought, what they have, what is owed to them."""

from datetime import datetime

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    UniqueConstraint,
    text,
)
from sqlmodel import Field

from takings.records import Row, amount, id_law, moment
from ticketing.tables import NOTHING


class Purchase(Row, table=True):
    """What a buyer does with a hold: paid, it becomes tickets; a hold has one at a time."""

    __tablename__ = "purchases"
    __table_args__ = (
        id_law(),
        CheckConstraint("num_nonnulls(settled_at, unseated_at, cancelled_at) <= 1", name="one_end"),
        Index(None, "created_at", "id"),
        Index(None, "run_id", "created_at", "id"),
        Index(None, "listener_id", "created_at", "id"),
        Index(
            "purchases_one_at_a_time_idx",
            "hold_id",
            unique=True,
            postgresql_where=text("cancelled_at IS NULL AND unseated_at IS NULL"),
        ),
    )

    id: str = Field(primary_key=True)
    hold_id: str = Field(foreign_key="holds.id", index=True)
    run_id: str = Field(foreign_key="runs.id")  # of its hold, as is the listener: who claimed it
    listener_id: str
    payment_id: str | None = Field(  # it claims its id first, its payment follows
        sa_column=Column(
            ForeignKey("payments.id", deferrable=True, initially="DEFERRED"), unique=True
        )
    )
    created_at: datetime = Field(sa_column=moment())
    settled_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))
    unseated_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))
    cancelled_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))


class Ticket(Row, table=True):
    """A place, promised, sold or given back; the numbers of a run have no gap."""

    __tablename__ = "tickets"
    __table_args__ = (
        id_law("listener_id"),
        CheckConstraint("minor >= 0", name="not_negative"),
        CheckConstraint("state IN ('pending', 'valid', 'void')", name="state_known"),
        CheckConstraint("number IS NOT NULL OR state <> 'valid'", name="numbered"),
        CheckConstraint("octet_length(secret) = 16", name="secret_of_128_bits"),
        UniqueConstraint("run_id", "number"),
        Index(None, "created_at", "id"),
    )

    id: str = Field(primary_key=True)
    run_id: str = Field(foreign_key="runs.id")
    tier_id: str = Field(foreign_key="tiers.id")
    purchase_id: str = Field(foreign_key="purchases.id", index=True)
    listener_id: str = Field(index=True)  # whose it is now
    holder: str | None  # the name of who will come
    minor: int = amount()  # what was paid for it
    state: str
    number: int | None = None
    secret: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    serial: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    created_at: datetime = Field(sa_column=moment())
    issued_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))
    voided_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))


class TicketRefund(Row, table=True):
    """The money of a ticket that ended: owed from the moment it ended until Stripe has it."""

    __tablename__ = "ticket_refunds"
    __table_args__ = (
        CheckConstraint(
            "cause IN ('asked', 'cancelled', 'rescheduled', 'no_show', 'no_seat')",
            name="cause_known",
        ),
        Index(
            "ticket_refunds_due_idx",
            *("next_at", "ticket_id"),
            postgresql_where=text("done_at IS NULL"),
        ),
    )

    ticket_id: str = Field(primary_key=True, foreign_key="tickets.id")
    cause: str
    refund_id: str | None = Field(default=None, foreign_key="refunds.id")
    attempts: int = Field(default=0, sa_column_kwargs=NOTHING)
    next_at: datetime = Field(sa_column=moment())
    error: str | None = None
    created_at: datetime = Field(sa_column=moment())
    done_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))
