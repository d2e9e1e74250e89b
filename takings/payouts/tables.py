"""How payout plans, batches, payouts, transfers and their reversals are stored."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import CHAR, CheckConstraint, Index, SmallInteger, text
from sqlmodel import BigInteger, Field

from takings.records import Row, amount, document, id_law, moment


class Plan(Row, table=True):
    """When a host is paid out, and from which amounts on."""

    __tablename__ = "payout_plans"
    __table_args__ = (
        CheckConstraint(
            "schedule IN ('manual', 'daily', 'weekly', 'monthly')", name="schedule_known"
        ),
        CheckConstraint(
            "CASE schedule WHEN 'weekly' THEN coalesce(anchor, 0) BETWEEN 1 AND 7"
            " WHEN 'monthly' THEN coalesce(anchor, 0) BETWEEN 1 AND 28 ELSE anchor IS NULL END",
            name="anchored",
        ),
        CheckConstraint("(schedule = 'manual') = (next_on IS NULL)", name="next_by_schedule"),
        CheckConstraint("(paused_at IS NULL) = (paused_by IS NULL)", name="paused_by_somebody"),
    )

    host_id: str = Field(primary_key=True, foreign_key="hosts.id")
    version: int
    schedule: str
    anchor: int | None = Field(default=None, sa_type=SmallInteger)  # weekday 1 to 7, day 1 to 28
    minimums: dict[str, Any] = Field(sa_column=document())
    next_on: date | None
    paused_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))
    paused_why: str | None = None
    paused_by: str | None = None
    updated_at: datetime = Field(sa_column=moment())


class Batch(Row, table=True):
    """All hosts who are due on a day: written in steps, each from where the last one ended."""

    __tablename__ = "payout_batches"
    __table_args__ = (
        id_law(),
        Index(
            "payout_batches_due_on_key",
            "due_on",
            unique=True,
            postgresql_where=text("scheduled"),
        ),
        Index(
            "payout_batches_open_idx",
            "created_at",
            postgresql_where=text("written_at IS NULL"),
        ),
    )

    id: str = Field(primary_key=True)
    due_on: date
    scheduled: bool
    requested_by: str
    upto: str  # the last host who was looked at
    looked: int
    written: int
    created_at: datetime = Field(sa_column=moment())
    written_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))


class Payout(Row, table=True):
    """One decision to pay a host what is available in one currency.

    It pays what moved on the host's available account after the last one: the postings numbered
    above ``after_seq`` up to ``upto_seq``, and what that one left (``brought``), less what this one
    leaves (``carried``).
    """

    __tablename__ = "payouts"
    __table_args__ = (
        id_law(),
        CheckConstraint("state IN ('waiting', 'sending', 'sent', 'refused')", name="state_known"),
        CheckConstraint("minor > 0", name="positive"),
        CheckConstraint("upto_seq > after_seq OR brought > 0", name="pays_something"),
        CheckConstraint("brought >= 0 AND carried >= 0", name="carries_no_debt"),
        CheckConstraint("approved_by <> requested_by", name="by_another_person"),
        Index(
            "payouts_under_way_key",
            *("host_id", "currency"),
            unique=True,
            postgresql_where=text("state IN ('waiting', 'sending')"),
        ),
        Index(None, "account_id", "upto_seq"),
        Index(None, "created_at", "id"),
        Index(None, "host_id", "created_at", "id"),
        Index("payouts_batch_id_idx", "batch_id", "id"),
    )

    id: str = Field(primary_key=True)
    host_id: str = Field(foreign_key="hosts.id")
    currency: str = Field(sa_type=CHAR(3))
    minor: int = amount()
    state: str
    batch_id: str | None = Field(default=None, foreign_key="payout_batches.id")
    requested_by: str
    approved_by: str | None = None
    approved_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))
    destination: str
    account_id: int = Field(sa_type=BigInteger, foreign_key="accounts.id")
    after_seq: int = Field(sa_type=BigInteger)
    upto_seq: int = Field(sa_type=BigInteger)
    after_at: datetime | None = Field(sa_column=moment(nullable=True))
    upto_at: datetime = Field(sa_column=moment())
    brought: int = amount()
    carried: int = amount()
    error: str | None = None
    created_at: datetime = Field(sa_column=moment())
    ended_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))


class Transfer(Row, table=True):
    """Money on its way to a host's Stripe account; what came back of it is counted."""

    __tablename__ = "transfers"
    __table_args__ = (
        CheckConstraint("state IN ('asked', 'sent', 'refused')", name="state_known"),
        CheckConstraint(
            "minor > 0 AND reversing >= 0 AND reversed >= 0 AND reversing + reversed <= minor",
            name="reverses_no_more_than_sent",
        ),
        Index(
            "transfers_host_id_currency_sent_at_idx",
            *("host_id", "currency", "sent_at"),
            postgresql_where=text("state = 'sent'"),
        ),
    )

    id: str = Field(primary_key=True)
    payout_id: str = Field(foreign_key="payouts.id", index=True)
    host_id: str
    currency: str = Field(sa_type=CHAR(3))
    minor: int = amount()
    state: str
    stripe_id: str | None = Field(default=None, unique=True)
    reversing: int = amount()  # asked of Stripe, not yet booked
    reversed: int = amount()
    error: str | None = None
    created_at: datetime = Field(sa_column=moment())
    sent_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))


class Reversal(Row, table=True):
    """Money that comes back of a transfer, asked for by us or taken at Stripe without us."""

    __tablename__ = "reversals"
    __table_args__ = (
        CheckConstraint("state IN ('asked', 'booked', 'refused')", name="state_known"),
        CheckConstraint("minor > 0", name="positive"),
    )

    id: str = Field(primary_key=True)
    transfer_id: str = Field(foreign_key="transfers.id", index=True)
    minor: int = amount()
    state: str
    cause: str
    stripe_id: str | None = Field(default=None, unique=True)
    error: str | None = None
    created_at: datetime = Field(sa_column=moment())
    booked_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))


class BankPayout(Row, table=True):
    """A payout to a bank, as Stripe tells of it: the platform's own, or a host's (only shown).

    One that we asked for has an id of ours, and Stripe's once it is made: ``asked`` before, or
    ``refused``.  Any other has Stripe's alone.
    """

    __tablename__ = "bank_payouts"
    __table_args__ = (
        id_law(),
        CheckConstraint(
            "(stripe_id IS NULL) = (status IN ('asked', 'refused'))", name="known_to_stripe"
        ),
        Index(
            "bank_payouts_asked_key",
            "currency",
            unique=True,
            postgresql_where=text("status = 'asked'"),
        ),
        Index(None, "host_id", "created_at"),
    )

    id: str = Field(primary_key=True)
    stripe_id: str | None = Field(default=None, unique=True)
    host_id: str | None = Field(default=None, foreign_key="hosts.id")
    minor: int = amount()
    currency: str = Field(sa_type=CHAR(3))
    status: str
    failure: str | None = None
    arrives_on: date | None = None
    created_at: datetime = Field(sa_column=moment())
    updated_at: datetime = Field(sa_column=moment())
