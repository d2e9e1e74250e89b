"""How hosts, Spaces and agreements are stored."""

from datetime import datetime

from sqlalchemy import (
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    SmallInteger,
    UniqueConstraint,
    text,
)
from sqlmodel import Field

from takings.records import Row, id_law, moment


class Host(Row, table=True):
    """Somebody who is paid: a host or a co-host."""

    __tablename__ = "hosts"
    __table_args__ = (
        id_law(),
        id_law("listener_id"),
        CheckConstraint(
            "capability IN ('none', 'pending', 'restricted', 'active', 'rejected', 'unsupported',"
            " 'closed')",
            name="capability_known",
        ),
    )

    id: str = Field(primary_key=True)
    name: str
    listener_id: str | None = Field(default=None, unique=True)  # who this host is as a listener
    stripe_account: str | None = Field(default=None, unique=True)
    capability: str = Field(sa_column_kwargs={"server_default": "none"})  # to be sent money
    created_at: datetime = Field(sa_column=moment())


class Space(Row, table=True):
    """A live audio room with a beginning and an end."""

    __tablename__ = "spaces"
    __table_args__ = (
        id_law(),
        CheckConstraint("state IN ('scheduled', 'live', 'ended', 'cancelled')", name="state_known"),
        CheckConstraint("state <> 'ended' OR ended_at IS NOT NULL", name="ended_at_a_time"),
        CheckConstraint("state = 'cancelled' OR NOT no_show", name="no_show_is_cancelled"),
        Index("spaces_scheduled_idx", "starts_at", postgresql_where=text("state = 'scheduled'")),
        Index("spaces_cancelled_idx", "id", postgresql_where=text("state = 'cancelled'")),
        ForeignKeyConstraint(["policy", "policy_version"], ["policies.name", "policies.version"]),
    )

    id: str = Field(primary_key=True)
    host_id: str = Field(foreign_key="hosts.id")
    title: str
    state: str
    policy: str
    policy_version: int = Field(sa_type=SmallInteger)
    agreement_version: int | None = Field(sa_type=SmallInteger)  # in force; None: not signed yet
    starts_at: datetime | None = Field(sa_column=moment(nullable=True))
    live_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))
    ended_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))
    rescheduled_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))
    no_show: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    created_at: datetime = Field(sa_column=moment())


class Agreement(Row, table=True):
    """One version of who shares what in a Space; it is never changed, only followed by another.

    It is in force from when the last payee has signed it, until a later one is.
    """

    __tablename__ = "agreements"
    __table_args__ = (CheckConstraint("tips IN ('shares', 'stage')", name="tips_known"),)

    space_id: str = Field(primary_key=True, foreign_key="spaces.id")
    version: int = Field(primary_key=True, sa_type=SmallInteger)
    tips: str = Field(sa_column_kwargs={"server_default": "shares"})  # or who is on stage
    created_at: datetime = Field(sa_column=moment())
    signed_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))


class Share(Row, table=True):
    """One payee's weight in an agreement, in basis points; earlier positions win ties."""

    __tablename__ = "shares"
    __table_args__ = (
        ForeignKeyConstraint(
            ["space_id", "version"], ["agreements.space_id", "agreements.version"]
        ),
        UniqueConstraint("space_id", "version", "host_id"),
        CheckConstraint("weight BETWEEN 1 AND 10000", name="weight_in_range"),
        CheckConstraint("unclaimed IN ('others', 'listener')", name="unclaimed_known"),
        CheckConstraint(
            "(claim_days IS NULL) = (unclaimed IS NULL) AND claim_days > 0", name="claimed_in_time"
        ),
    )

    space_id: str = Field(primary_key=True)
    version: int = Field(primary_key=True, sa_type=SmallInteger)
    position: int = Field(primary_key=True, sa_type=SmallInteger)
    host_id: str = Field(foreign_key="hosts.id", index=True)
    weight: int = Field(sa_type=SmallInteger)
    claim_days: int | None = Field(default=None, sa_type=SmallInteger)
    unclaimed: str | None = None


class Signature(Row, table=True):
    """That a payee agrees to one version, and who told us so."""

    __tablename__ = "signatures"
    __table_args__ = (
        ForeignKeyConstraint(
            ["space_id", "version", "host_id"],
            ["shares.space_id", "shares.version", "shares.host_id"],
        ),
    )

    space_id: str = Field(primary_key=True)
    version: int = Field(primary_key=True, sa_type=SmallInteger)
    host_id: str = Field(primary_key=True)
    actor: str
    signed_at: datetime = Field(sa_column=moment())


class Speaker(Row, table=True):
    """That somebody was on stage, from an instant to another."""

    __tablename__ = "speakers"
    __table_args__ = (
        CheckConstraint("left_at >= joined_at", name="left_after_joining"),
        Index(
            "speakers_on_stage_key",
            *("space_id", "host_id"),
            unique=True,
            postgresql_where=text("left_at IS NULL"),
        ),
    )

    space_id: str = Field(primary_key=True, foreign_key="spaces.id")
    host_id: str = Field(primary_key=True, foreign_key="hosts.id")
    joined_at: datetime = Field(sa_column=moment(primary_key=True))
    left_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))


class Standing(Row, table=True):
    """What the platform last stated of a host; what is unknown to it is NULL."""

    __tablename__ = "standings"
    __table_args__ = (
        CheckConstraint(
            "followers >= 0 AND age >= 0 AND spaces >= 0 AND spaces_within_days >= 0",
            name="not_negative",
        ),
        CheckConstraint("(spaces IS NULL) = (spaces_within_days IS NULL)", name="spaces_of_days"),
    )

    host_id: str = Field(primary_key=True, foreign_key="hosts.id")
    followers: int | None
    age: int | None
    spaces: int | None
    spaces_within_days: int | None
    stated_at: datetime = Field(sa_column=moment())
