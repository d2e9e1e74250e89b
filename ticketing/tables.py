"""How limited runs of tickets are stored: what is left, who holds, who bought, who waits."""

from datetime import datetime

from sqlalchemy import (
    CHAR,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    SmallInteger,
    UniqueConstraint,
    text,
)
from sqlmodel import Field

from takings.records import Row, amount, id_law, moment

NOTHING = {"server_default": "0"}

COUNTED = "state IN ('held', 'expiring', 'sold')"
"""The holds that count against what one may have."""


class Pool(Row, table=True):
    """How many there are of something, and how many of them are taken.

    Its id is a run's, a tier's or a code's; a Space's is ``space:`` and the Space's id, so that it
    is never another's.  Without a quota there is no end to it.
    """

    __tablename__ = "pools"
    __table_args__ = (
        CheckConstraint("held >= 0 AND sold >= 0 AND quota >= 0", name="not_negative"),
        CheckConstraint("held + sold <= quota", name="never_oversold"),
    )

    id: str = Field(primary_key=True)
    quota: int | None
    held: int = Field(default=0, sa_column_kwargs=NOTHING)
    sold: int = Field(default=0, sa_column_kwargs=NOTHING)
    issued: int = Field(default=0, sa_column_kwargs=NOTHING)  # ever: the next number is one more


class Run(Row, table=True):
    """A limited issue of tickets for one Space; every edit counts."""

    __tablename__ = "runs"
    __table_args__ = (
        id_law(),
        ForeignKeyConstraint(["policy", "policy_version"], ["policies.name", "policies.version"]),
        CheckConstraint("opens_at < closes_at", name="in_order"),
        CheckConstraint(
            "per_listener > 0 AND per_address > 0 AND hold_s > 0 AND offer_s > 0 AND draw_s > 0 "
            "AND refund_until_h >= 0",
            name="positive",
        ),
        CheckConstraint("draw_s IS NULL OR opens_at IS NOT NULL", name="draw_has_a_start"),
        Index(None, "created_at", "id"),
    )

    id: str = Field(primary_key=True)
    space_id: str = Field(foreign_key="spaces.id", index=True)
    policy: str
    policy_version: int = Field(sa_type=SmallInteger)
    currency: str = Field(sa_type=CHAR(3))
    opens_at: datetime | None = Field(sa_column=moment(nullable=True))
    closes_at: datetime | None = Field(sa_column=moment(nullable=True))
    per_listener: int | None
    per_address: int | None
    hold_s: int
    offer_s: int
    draw_s: int | None  # who arrives in so many seconds draws lots
    refund_until_h: int | None  # so many hours before the Space starts; None: not by wish
    version: int
    created_at: datetime = Field(sa_column=moment())
    cancelled_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))


class Tier(Row, table=True):
    """A price step inside a run; who names none is given the first that is open and has room."""

    __tablename__ = "tiers"
    __table_args__ = (
        id_law(),
        CheckConstraint("kind IN ('fixed', 'choice', 'free', 'comp')", name="kind_known"),
        CheckConstraint("(minor > 0) = (kind IN ('fixed', 'choice'))", name="priced"),
        CheckConstraint("opens_at < closes_at", name="in_order"),
        UniqueConstraint("run_id", "position", deferrable=True, initially="DEFERRED"),
    )

    id: str = Field(primary_key=True)
    run_id: str = Field(foreign_key="runs.id")
    position: int = Field(sa_type=SmallInteger)
    name: str
    kind: str
    minor: int = amount()  # the price, or the least of a choice
    opens_at: datetime | None = Field(sa_column=moment(nullable=True))
    closes_at: datetime | None = Field(sa_column=moment(nullable=True))


class Code(Row, table=True):
    """A promotion: who knows it pays less, so many tickets of a run or of one tier."""

    __tablename__ = "codes"
    __table_args__ = (
        id_law(),
        CheckConstraint("(rate_bps IS NULL) <> (minor IS NULL)", name="rate_or_minor"),
        CheckConstraint("rate_bps BETWEEN 1 AND 10000 AND minor > 0", name="in_range"),
        UniqueConstraint("run_id", "code"),
        Index(None, "created_at", "id"),
    )

    id: str = Field(primary_key=True)
    run_id: str = Field(foreign_key="runs.id")
    tier_id: str | None = Field(foreign_key="tiers.id")
    code: str
    rate_bps: int | None
    minor: int | None = amount()
    closes_at: datetime | None = Field(sa_column=moment(nullable=True))
    created_at: datetime = Field(sa_column=moment())


class Hold(Row, table=True):
    """Tickets set aside for one buyer until a time."""

    __tablename__ = "holds"
    __table_args__ = (
        id_law(),
        id_law("listener_id"),
        CheckConstraint("quantity > 0 AND minor >= 0", name="positive"),
        CheckConstraint("returned BETWEEN 0 AND quantity", name="returned_no_more"),
        CheckConstraint(
            "state IN ('held', 'expiring', 'sold', 'released', 'expired')", name="state_known"
        ),
        CheckConstraint(
            "(state IN ('held', 'expiring')) = (ended_at IS NULL)", name="ended_at_a_time"
        ),
        Index("holds_due_idx", "run_id", "expires_at", postgresql_where=text("state = 'held'")),
        Index("holds_expiring_idx", "expires_at", postgresql_where=text("state = 'expiring'")),
        Index("holds_listener_idx", "run_id", "listener_id", postgresql_where=text(COUNTED)),
        Index(
            "holds_origin_idx",
            *("run_id", "origin"),
            postgresql_where=text(f"{COUNTED} AND origin IS NOT NULL"),
        ),
    )

    id: str = Field(primary_key=True)
    run_id: str  # of its tier
    tier_id: str = Field(foreign_key="tiers.id")
    code_id: str | None = Field(foreign_key="codes.id")
    listener_id: str
    origin: bytes | None = Field(sa_column=Column(LargeBinary))  # a digest of the address
    quantity: int
    returned: int = Field(default=0, sa_column_kwargs=NOTHING)  # of those sold, refunded since
    minor: int = amount()  # what one costs, as it was when it was claimed
    remaining: int  # what the run had left then
    state: str
    paying: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    expires_at: datetime = Field(sa_column=moment())
    created_at: datetime = Field(sa_column=moment())
    ended_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))


class Waiting(Row, table=True):
    """Somebody in line for a run; the lowest rank comes first."""

    __tablename__ = "waiting"
    __table_args__ = (
        id_law(),
        id_law("listener_id"),
        CheckConstraint("0 < least AND least <= quantity", name="quantities"),
        CheckConstraint(
            "state IN ('waiting', 'offered', 'taken', 'lapsed', 'left')", name="state_known"
        ),
        Index(None, "run_id", "created_at", "id"),
        Index("waiting_hold_id_idx", "hold_id", postgresql_where=text("hold_id IS NOT NULL")),
        Index(
            "waiting_turn_idx",
            *("run_id", "tier_id", "rank", "id"),
            postgresql_where=text("state = 'waiting'"),
        ),
        Index(
            "waiting_once_idx",
            "run_id",
            "listener_id",
            unique=True,
            postgresql_where=text("state IN ('waiting', 'offered')"),
        ),
    )

    id: str = Field(primary_key=True)
    run_id: str = Field(foreign_key="runs.id")
    tier_id: str | None = Field(foreign_key="tiers.id")
    listener_id: str
    origin: bytes | None = Field(sa_column=Column(LargeBinary))
    quantity: int
    least: int
    rank: int = amount()
    state: str
    hold_id: str | None = Field(default=None, foreign_key="holds.id")  # what they were offered
    created_at: datetime = Field(sa_column=moment())
    ended_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))
