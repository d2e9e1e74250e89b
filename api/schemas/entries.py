"""Entries of the journal, as the API shows them."""

from collections.abc import Sequence
from typing import Any, Literal, Self

from sqlalchemy.engine import Row

from api.schemas.common import Output, Paging, Seconds, Text
from takings.ledger import tables


class EntryFilter(Paging):
    """Which entries are wanted."""

    subject: Text | None = None
    account: Text | None = None
    kind: Text | None = None


class Posting(Output):
    """One leg of an entry: + debit, − credit."""

    account: str
    amount: int
    currency: str
    line: str | None


class Entry(Output):
    """One event in the books; its postings sum to zero per currency."""

    id: str
    object: Literal["entry"] = "entry"
    created: Seconds
    key: str
    kind: str
    subject: str
    source: str | None
    narration: str
    happened_at: Seconds
    posted_at: Seconds
    metadata: dict[str, str]
    postings: list[Posting]

    @classmethod
    def of(cls, entry: tables.JournalEntry, postings: Sequence[Row[Any]]) -> Self:
        """The entry as the API shows it."""
        legs = [
            Posting(account=row.account, amount=row.minor, currency=row.currency, line=row.line)
            for row in postings
            if row.entry_id == entry.id
        ]
        return cls(
            id=entry.id,
            created=entry.posted_at,
            key=entry.key,
            kind=entry.kind,
            subject=entry.subject,
            source=entry.source,
            narration=entry.narration,
            happened_at=entry.happened_at,
            posted_at=entry.posted_at,
            metadata=entry.facts,
            postings=legs,
        )
