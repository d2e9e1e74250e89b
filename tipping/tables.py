"""How tips are stored."""

from datetime import datetime

from sqlalchemy import (
    ARRAY,
    CHAR,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    SmallInteger,
    text,
)
from sqlmodel import Field

from takings.records import Row, amount, id_law, moment


class Tip(Row, table=True):
    """Money that a listener gives to a Space's hosts, and what they say with it."""

    __tablename__ = "tips"
    __table_args__ = (
        id_law(),
        ForeignKeyConstraint(
            ["space_id", "agreement_version"], ["agreements.space_id", "agreements.version"]
        ),
        CheckConstraint("minor > 0", name="positive"),
        Index(None, "created_at", "id"),
        Index(None, "listener_id", "created_at"),
    )

    id: str = Field(primary_key=True)
    payment_id: str = Field(  # the tip claims its id first, its payment follows
        sa_column=Column(
            ForeignKey("payments.id", deferrable=True, initially="DEFERRED"),
            index=True,  # the tips of a tab share it
            nullable=False,
        )
    )
    space_id: str = Field(foreign_key="spaces.id", index=True)
    agreement_version: int = Field(sa_type=SmallInteger)
    listener_id: str
    minor: int = amount()
    currency: str = Field(sa_type=CHAR(3))
    message: str | None
    anonymous: bool
    created_at: datetime = Field(sa_column=moment())
    settled_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))
    cancelled_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))


class Tab(Row, table=True):
    """A listener's tips of one room, gathered into one charge of at most the cap."""

    __tablename__ = "tabs"
    __table_args__ = (
        id_law(),
        CheckConstraint("cap > 0", name="positive"),
        Index(None, "created_at", "id"),
        Index("tabs_open_idx", "space_id", postgresql_where=text("closed_at IS NULL")),
    )

    id: str = Field(primary_key=True)
    payment_id: str = Field(  # the tab claims its id first, its payment follows
        sa_column=Column(
            ForeignKey("payments.id", deferrable=True, initially="DEFERRED"),
            unique=True,
            nullable=False,
        )
    )
    space_id: str = Field(foreign_key="spaces.id")
    listener_id: str = Field(index=True)
    cap: int = amount()
    currency: str = Field(sa_type=CHAR(3))
    created_at: datetime = Field(sa_column=moment())
    closed_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))


class TipPresets(Row, table=True):
    """The amounts that a host suggests to listeners in one currency; every edit counts."""

    __tablename__ = "tip_presets"
    __table_args__ = (
        CheckConstraint("cardinality(amounts) BETWEEN 1 AND 6", name="one_to_six"),
        CheckConstraint("0 < ALL (amounts)", name="positive"),
    )

    host_id: str = Field(primary_key=True, foreign_key="hosts.id")
    currency: str = Field(primary_key=True, sa_type=CHAR(3))
    version: int
    amounts: list[int] = Field(sa_column=Column(ARRAY(BigInteger), nullable=False))
    updated_at: datetime = Field(sa_column=moment())
