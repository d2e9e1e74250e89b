"""How disputes are stored, and what was taken of a host after it had gone."""

from datetime import datetime

from sqlalchemy import CHAR, CheckConstraint, Index, SmallInteger, text
from sqlmodel import Field

from takings.records import Row, amount, moment


class Dispute(Row, table=True):
    """Money that the bank asks back, or takes; under Stripe's id, as Stripe last showed it.

    ``taken`` is withdrawn − reinstated; ``frozen`` is what may yet be taken.  ``moves`` counts
    Stripe's lines of it and ``stage`` how far it is: an older view of it is known by them.
    """

    __tablename__ = "disputes"
    __table_args__ = (
        CheckConstraint("kind IN ('dispute', 'charge_failure')", name="kind_known"),
        CheckConstraint(
            "minor > 0 AND taken >= 0 AND frozen >= 0 AND taken + frozen <= minor",
            name="takes_no_more_than_disputed",
        ),
        Index(None, "created_at", "id"),
        Index("disputes_inquiry_idx", "payment_id", postgresql_where=text("stage = 1")),
    )

    id: str = Field(primary_key=True)
    payment_id: str = Field(foreign_key="payments.id", index=True)
    kind: str
    status: str
    reason: str
    minor: int = amount()
    currency: str = Field(sa_type=CHAR(3))
    taken: int = amount()
    frozen: int = amount()
    stage: int = Field(sa_type=SmallInteger)
    moves: int = Field(sa_type=SmallInteger)
    due_by: datetime | None = Field(sa_column=moment(nullable=True))
    created_at: datetime = Field(sa_column=moment())
    closed_at: datetime | None = Field(sa_column=moment(nullable=True))


class Recovery(Row, table=True):
    """What was taken of a host after it had gone, to be asked back of the host's own account."""

    __tablename__ = "recoveries"
    __table_args__ = (
        CheckConstraint("minor > 0", name="positive"),
        Index("recoveries_open_idx", "created_at", postgresql_where=text("looked_at IS NULL")),
    )

    cause: str = Field(primary_key=True)
    host_id: str = Field(primary_key=True, foreign_key="hosts.id")
    currency: str = Field(primary_key=True, sa_type=CHAR(3))
    minor: int = amount()
    created_at: datetime = Field(sa_column=moment())
    looked_at: datetime | None = Field(sa_column=moment(nullable=True))
