"""How the door is stored: who has come in, what two doors saw, and what passes are signed with."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Column, Index, LargeBinary, text
from sqlmodel import Field

from takings.records import Row, id_law, moment


class SigningKey(Row, table=True):
    """A pair of Ed25519 keys; one at a time signs, and what the others have signed stays good.

    Nothing that a withdrawn one has signed does.
    """

    __tablename__ = "signing_keys"
    __table_args__ = (
        CheckConstraint(
            "octet_length(public) = 32 AND octet_length(private) = 32", name="of_256_bits"
        ),
        CheckConstraint(
            "(retired_at IS NULL) = (private IS NOT NULL)", name="retired_without_private"
        ),
        CheckConstraint("retired_at IS NOT NULL OR NOT withdrawn", name="withdrawn_when_retired"),
        Index(
            "signing_keys_one_at_a_time_idx",
            text("(true)"),
            unique=True,
            postgresql_where=text("retired_at IS NULL"),
        ),
    )

    id: str = Field(primary_key=True)
    public: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    private: bytes | None = Field(sa_column=Column(LargeBinary))
    withdrawn: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    created_at: datetime = Field(sa_column=moment())
    retired_at: datetime | None = Field(default=None, sa_column=moment(nullable=True))


class Admission(Row, table=True):
    """A ticket's use at the door: where and when it was used first."""

    __tablename__ = "admissions"
    __table_args__ = (id_law(), Index(None, "created_at", "id"))

    ticket_id: str = Field(primary_key=True, foreign_key="tickets.id")
    id: str = Field(unique=True)
    space_id: str = Field(foreign_key="spaces.id", index=True)
    door: str  # the name of the device
    place: str | None
    happened_at: datetime = Field(sa_column=moment())
    created_at: datetime = Field(sa_column=moment())


class AdmissionConflict(Row, table=True):
    """Somebody was let in where nobody should have been: a ticket's other use, or a bad one's."""

    __tablename__ = "admission_conflicts"

    ticket_id: str = Field(primary_key=True, foreign_key="tickets.id")
    door: str = Field(primary_key=True)
    happened_at: datetime = Field(sa_column=moment(primary_key=True))
    space_id: str = Field(foreign_key="spaces.id", index=True)
    place: str | None
    cause: str
    created_at: datetime = Field(sa_column=moment())
