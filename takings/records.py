"""The base of all rows: prefixed ids, UTC times, and a name for every constraint.

A constraint's name is the law's name: ``database.py`` turns it into an error of ours.
"""

import re
import secrets
import time
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, MetaData
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from takings.errors import Invalid

RANDOM = 10  # bytes of an id that nobody can guess

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
# To PostgreSQL a repetition with an end costs twenty times one without.
ID_LAW = "{column} ~ '^[A-Za-z0-9][A-Za-z0-9_.-]*$' AND length({column}) <= 64"


class BadId(Invalid):
    """{id!r} cannot be an id.

    An id has 1 to 64 letters, digits, underscores, dots and hyphens, and begins with one of the
    first two.
    """

    param = "id"


class Row(SQLModel):
    """What is stored; it describes storage and validates nothing."""

    metadata = MetaData(
        naming_convention={
            "pk": "%(table_name)s_pk",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
            "fk": "%(table_name)s_%(column_0_N_name)s_fk",
            "ck": "%(table_name)s_%(constraint_name)s",
        }
    )


def new_id(prefix: str) -> str:
    """A new public id, ``prefix_`` and 26 characters: 48 bits of time, then 80 random ones.

    The time only keeps neighbours together in an index, as UUIDv7 does; nothing reads it back.
    """
    return _id(prefix, time.time_ns() // 1_000_000, secrets.token_bytes(RANDOM))


def derived_id(prefix: str, at: datetime, cause: str) -> str:
    """The id of what a cause makes at an instant: of the same shape, and always the same."""
    return _id(prefix, int(at.timestamp() * 1000), sha256(f"{prefix}\n{cause}".encode()).digest())


DIGITS: Final = "0123456789abcdefghijklmnopqrstuv"  # their order is that of the numbers
PAIRS: Final = tuple(high + low for high in DIGITS for low in DIGITS)
SHIFTS: Final = tuple(range(120, -1, -10))


def _id(prefix: str, milliseconds: int, rest: bytes) -> str:
    """The 128 bits in base 32, ten at a time; two zeros fill the last digit."""
    bits = int.from_bytes(milliseconds.to_bytes(6) + rest[:RANDOM]) << 2
    return f"{prefix}_{''.join([PAIRS[bits >> shift & 1023] for shift in SHIFTS])}"


def check_id(*ids: str) -> None:
    """Nothing happens if all of these can be ids, and so part of a key or an account's name."""
    for one in ids:
        if not ID.fullmatch(one):
            raise BadId(id=one[:80])


def id_law(column: str = "id") -> CheckConstraint:
    """The same, as the database keeps it."""
    return CheckConstraint(ID_LAW.format(column=column), name=f"{column}_well_formed")


def moment(*, primary_key: bool = False, nullable: bool = False) -> Column[datetime]:
    """A column for an instant, always with its zone."""
    return Column(DateTime(timezone=True), primary_key=primary_key, nullable=nullable)


def amount(default: int | None = None) -> Any:
    """A field for an amount in minor units; the database knows its default too."""
    if default is None:
        return Field(sa_type=BigInteger)
    told = {"server_default": str(default)}
    return Field(default=default, sa_type=BigInteger, sa_column_kwargs=told)


def document(name: str | None = None) -> Column[dict[str, Any]]:
    """A column for JSON that is kept, not queried."""
    return Column(name, JSONB, nullable=False)
