"""What is open in clearing, and since when: found by reading only what is new.

An account in clearing, and suspense, must return to zero for every subject.  Which subjects have
not is a sum over all its postings; whoever keeps a ``Clearing`` pays for that once, and afterwards
for the postings since.  Within a slot ``seq`` has no gaps and follows the order of the commits, so
that what was read up to one number never has to be read again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from takings.database import Database

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that clearing is about, on one account and in one currency."""

    account: str
    currency: str
    id: str


@dataclass(frozen=True, slots=True)
class Open:
    """What has not returned to zero, and since when (effective time)."""

    minor: int
    since: datetime


SLOTS = """
SELECT a.name, a.currency, b.account_id, b.slot, b.seq,
       (SELECT max(p.posted_at) FROM postings p
         WHERE p.account_id = b.account_id AND p.slot = b.slot) AS posted_at
  FROM accounts a JOIN balances b ON b.account_id = a.id
 WHERE a.name LIKE 'clearing:%' OR a.name = 'suspense'
"""

MOVED = """
SELECT a.name, a.currency, e.subject, sum(p.minor)::bigint AS minor, min(e.happened_at) AS since
  FROM unnest($1::bigint[], $2::smallint[], $3::timestamptz[], $4::bigint[], $5::bigint[])
    AS s (account_id, slot, posted_at, after, upto)
  JOIN accounts a ON a.id = s.account_id
  JOIN postings p ON p.account_id = s.account_id AND p.slot = s.slot
                 AND p.posted_at >= s.posted_at AND p.seq > s.after AND p.seq <= s.upto
  JOIN entries e ON e.id = p.entry_id AND e.posted_at = p.posted_at
 GROUP BY a.name, a.currency, e.subject HAVING sum(p.minor) <> 0
"""


class Clearing:
    """What is open in clearing, as of the last reading.

    ``accounts`` are all that were ever used, by name and currency.
    """

    def __init__(self) -> None:
        self.accounts: tuple[tuple[str, str], ...] = ()
        self._open: dict[Subject, Open] = {}
        self._marks: dict[tuple[int, int], tuple[datetime, int]] = {}

    async def read(self, database: Database) -> Mapping[Subject, Open]:
        """Read on to now, and answer what is open; one reading at a time."""
        moved: list[Sequence[object]] = []
        marks: dict[tuple[int, int], tuple[datetime, int]] = {}
        slots = await database.fetch(SLOTS)
        for row in slots:
            slot = (row.account_id, row.slot)
            since, after = self._marks.get(slot, (EPOCH, 0))
            if row.seq > after:
                moved.append((*slot, since, after, row.seq))
                marks[slot] = (row.posted_at, row.seq)
        self.accounts = tuple(sorted({(row.name, row.currency) for row in slots}))
        if moved:
            for row in await database.fetch(MOVED, *map(list, zip(*moved, strict=True))):
                self._move(Subject(row.name, row.currency, row.subject), row.minor, row.since)
            self._marks |= marks
        return self._open

    def _move(self, subject: Subject, minor: int, since: datetime) -> None:
        """Forgotten where it is zero; else open since it first was."""
        known = self._open.pop(subject, None)
        left = minor + (known.minor if known else 0)
        if left:
            self._open[subject] = Open(left, known.since if known else since)
