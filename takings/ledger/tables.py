"""How the books are stored.

Entries and postings are partitioned by month of ``posted_at``; a unique constraint on them would
have to contain that instant, so the uniqueness of keys lives in a small table of its own.  What
the database enforces beyond constraints (zero sum, whole entries, nothing changed) stands in the
first migration.
"""

from datetime import date, datetime
from typing import Any

from sqlalchemy import CHAR, CheckConstraint, Identity, Index, SmallInteger, UniqueConstraint
from sqlmodel import BigInteger, Column, Field

from takings.records import Row, amount, document, moment

PARTITIONED = {"postgresql_partition_by": "RANGE (posted_at)"}


class Book(Row, table=True):
    """The one row that says in which zone a month begins."""

    __tablename__ = "books"
    __table_args__ = (CheckConstraint("id = 1", name="only_one"),)

    id: int = Field(default=1, primary_key=True, sa_type=SmallInteger)
    zone: str


class Account(Row, table=True):
    """A named place in the books, in one currency."""

    __tablename__ = "accounts"
    __table_args__ = (
        UniqueConstraint("name", "currency"),
        CheckConstraint("slots BETWEEN 1 AND 64", name="slots_in_range"),
        CheckConstraint(
            "owes_only = (name LIKE 'liabilities:host:%' AND name NOT LIKE '%:available'"
            " OR name LIKE 'liabilities:parked:%') AND (NOT owes_only OR slots = 1)",
            name="hosts_are_owed",
        ),
    )

    id: int = Field(sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    name: str
    currency: str = Field(sa_type=CHAR(3))
    slots: int = Field(sa_type=SmallInteger)
    owes_only: bool


class EntryKey(Row, table=True):
    """The reason why an entry may exist only once."""

    __tablename__ = "entry_keys"

    key: str = Field(primary_key=True)
    entry_id: str


class JournalEntry(Row, table=True):
    """One event in the books."""

    __tablename__ = "entries"
    __table_args__ = (
        Index(None, "subject"),
        Index(
            None,
            "posted_at",
            postgresql_using="brin",
            postgresql_with={"autosummarize": "on"},
        ),
        PARTITIONED,
    )

    id: str = Field(primary_key=True)
    posted_at: datetime = Field(sa_column=moment(primary_key=True))
    key: str
    kind: str
    happened_at: datetime = Field(sa_column=moment())
    period: date
    subject: str
    source: str | None
    narration: str
    # ``metadata`` is the column's name; SQLModel keeps the attribute for itself.
    facts: dict[str, Any] = Field(sa_column=document("metadata"))


class JournalPosting(Row, table=True):
    """One leg of an entry, and the running balance of its account's slot after it."""

    __tablename__ = "postings"
    __table_args__ = (
        UniqueConstraint("account_id", "slot", "posted_at", "seq", name="postings_order_key"),
        Index(None, "account_id", "happened_at"),
        CheckConstraint("minor <> 0", name="not_zero"),
        PARTITIONED,
    )

    entry_id: str = Field(primary_key=True)
    posted_at: datetime = Field(sa_column=moment(primary_key=True))
    n: int = Field(primary_key=True, sa_type=SmallInteger)
    account_id: int = Field(sa_type=BigInteger)
    slot: int = Field(sa_type=SmallInteger)
    seq: int = Field(sa_type=BigInteger)
    happened_at: datetime = Field(sa_column=moment())
    minor: int = amount()
    balance: int = amount()
    currency: str = Field(sa_type=CHAR(3))
    line: str | None


class Balance(Row, table=True):
    """What an account's slot holds now, and how many postings made it so."""

    __tablename__ = "balances"

    account_id: int = Field(primary_key=True, sa_type=BigInteger, foreign_key="accounts.id")
    slot: int = Field(primary_key=True, sa_type=SmallInteger)
    minor: int = amount()
    seq: int = Field(sa_type=BigInteger)


class DayBalance(Row, table=True):
    """What moved on an account on one day of effective time (UTC); a late fact adds to its day."""

    __tablename__ = "day_balances"

    account_id: int = Field(primary_key=True, sa_type=BigInteger, foreign_key="accounts.id")
    day: date = Field(primary_key=True)
    slot: int = Field(primary_key=True, sa_type=SmallInteger)
    minor: int = amount()


class JournalSeal(Row, table=True):
    """A link in the hash chain over the journal: one entry's, and through it all before."""

    __tablename__ = "seals"
    __table_args__ = (
        CheckConstraint("n > 0", name="counted_from_one"),
        CheckConstraint("octet_length(digest) = 32", name="digest_is_sha256"),
    )

    n: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    entry_id: str = Field(unique=True)
    posted_at: datetime = Field(sa_column=moment())
    digest: bytes
