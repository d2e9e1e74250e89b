"""How policies are stored: a version is written once, and counters only count."""

from datetime import datetime
from typing import Any

from sqlalchemy import CHAR, CheckConstraint, SmallInteger
from sqlmodel import Field

from takings.records import Row, amount, document, moment


class StoredPolicy(Row, table=True):
    """One version of a policy; lines refer to it, so it never changes."""

    __tablename__ = "policies"

    name: str = Field(primary_key=True)
    version: int = Field(primary_key=True, sa_type=SmallInteger)
    rules: dict[str, Any] = Field(sa_column=document())
    created_at: datetime = Field(sa_column=moment())


class LifetimeSales(Row, table=True):
    """What a host has earned in a currency over all tips and tickets: the tiers' counter.

    It counts gross shares less what was returned of them.
    """

    __tablename__ = "lifetime_sales"
    __table_args__ = (CheckConstraint("minor >= 0", name="not_negative"),)

    host_id: str = Field(primary_key=True, foreign_key="hosts.id")
    currency: str = Field(primary_key=True, sa_type=CHAR(3))
    minor: int = amount()
