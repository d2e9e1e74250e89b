"""How tips are stored."""

from datetime import datetime

from sqlalchemy import CHAR, CheckConstraint, Column, ForeignKey, Index
from sqlmodel import Field

from takings.records import Row, amount, id_law, moment


class Tip(Row, table=True):
    """Money that a listener gives to a Space's hosts, and what they say with it."""

    __tablename__ = "tips"
    __table_args__ = (
        id_law(),
        CheckConstraint("minor > 0", name="positive"),
        Index(None, "created_at", "id"),
    )

    id: str = Field(primary_key=True)
    payment_id: str = Field(  # the tip claims its id first, its payment follows
        sa_column=Column(
            ForeignKey("payments.id", deferrable=True, initially="DEFERRED"),
            unique=True,
            nullable=False,
        )
    )
    space_id: str = Field(foreign_key="spaces.id", index=True)
    listener_id: str = Field(index=True)
    minor: int = amount()
    currency: str = Field(sa_type=CHAR(3))
    message: str | None
    anonymous: bool
    created_at: datetime = Field(sa_column=moment())
    settled_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))
    cancelled_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))
