"""The floors of posting: raw SQL that writes the same rows into plain copies of the tables.

The rows are worked out before the clock starts, ids of accounts and running balances included:
what is measured is PostgreSQL taking them, in one statement and one round trip.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from takings.ledger.entries import Entry

BATCH = """
WITH
key AS (
  INSERT INTO {schema}.entry_keys (key, entry_id) SELECT * FROM unnest($1::text[], $2::text[])
),
entry AS (
  INSERT INTO {schema}.entries
    (id, posted_at, key, kind, happened_at, period, subject, source, narration, metadata)
  SELECT id, $3, key, kind, happened_at, period, subject, NULL, '', '{{}}'
    FROM unnest($2::text[], $1::text[], $4::text[], $5::timestamptz[], $6::date[], $7::text[])
      AS e (id, key, kind, happened_at, period, subject)
),
posting AS (
  INSERT INTO {schema}.postings
    (posted_at, entry_id, n, account_id, slot, seq, happened_at, minor, balance, currency, line)
  SELECT $3::timestamptz, *
    FROM unnest($8::text[], $9::smallint[], $10::bigint[], $11::smallint[], $12::bigint[],
                $13::timestamptz[], $14::bigint[], $15::bigint[], $16::text[], $17::text[])
),
balance AS (
  INSERT INTO {schema}.balances AS b (account_id, slot, minor, seq)
  SELECT * FROM unnest($18::bigint[], $19::smallint[], $20::bigint[], $21::bigint[])
  ON CONFLICT (account_id, slot)
  DO UPDATE SET minor = b.minor + excluded.minor, seq = b.seq + excluded.seq
)
INSERT INTO {schema}.day_balances AS d (account_id, day, slot, minor)
SELECT * FROM unnest($18::bigint[], $22::date[], $19::smallint[], $20::bigint[])
ON CONFLICT (account_id, day, slot) DO UPDATE SET minor = d.minor + excluded.minor
"""

# The smallest double entry: 1 entry, 4 postings, 3 balance rows, none of them hot.
SMALLEST = """
WITH
entry AS (
  INSERT INTO {schema}.entries
    (id, posted_at, key, kind, happened_at, period, subject, source, narration, metadata)
  VALUES ($1::text, now(), $1::text, 'earned', now(), current_date, $1::text, NULL, '', '{{}}')
),
posting AS (
  INSERT INTO {schema}.postings
    (entry_id, posted_at, n, account_id, slot, seq, happened_at, minor, balance, currency, line)
  SELECT $1::text, now(), n, $2::bigint + n / 2, 0, $3::bigint + n, now(),
         CASE n WHEN 1 THEN 300 ELSE -100 END, 0, 'eur', NULL
    FROM generate_series(1, 4) AS n
)
INSERT INTO {schema}.balances AS b (account_id, slot, minor, seq)
SELECT $2::bigint + n, 0, 100, 1 FROM generate_series(0, 2) AS n
ON CONFLICT (account_id, slot) DO UPDATE SET minor = b.minor + excluded.minor, seq = b.seq + 1
"""


class Books:
    """Works out the rows that the journal would write, for one set of plain tables."""

    def __init__(self) -> None:
        self._ids: defaultdict[str, int] = defaultdict(itertools.count(1).__next__)
        self._seq: defaultdict[tuple[int, int], int] = defaultdict(int)
        self._minor: defaultdict[tuple[int, int], int] = defaultdict(int)

    def columns(self, batch: Sequence[Entry], *, slot: int = 0) -> list[Any]:
        """The arguments of BATCH: one array for each column."""
        now = datetime.now(UTC)
        legs, moved = [], defaultdict[int, list[int]](lambda: [0, 0])
        for entry in batch:
            for n, posting in enumerate(entry.postings, 1):
                account, minor = self._ids[posting.account], posting.money.minor
                place = account, slot
                self._seq[place] += 1
                self._minor[place] += minor
                moved[account][0] += minor
                moved[account][1] += 1
                seq, balance = self._seq[place], self._minor[place]
                leg = (n, account, slot, seq, entry.happened_at, minor, balance)
                legs.append((entry.id, *leg, posting.money.currency, posting.line))
        ids = sorted(moved)
        return [
            [entry.key for entry in batch],
            [entry.id for entry in batch],
            now,
            [entry.kind for entry in batch],
            [entry.happened_at for entry in batch],
            [entry.happened_at.date().replace(day=1) for entry in batch],
            [entry.subject for entry in batch],
            *transposed(legs),
            ids,
            [slot for _ in ids],
            [moved[account][0] for account in ids],
            [moved[account][1] for account in ids],
            [now.date() for _ in ids],
        ]


def transposed(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    """Rows as columns."""
    return [list(column) for column in zip(*rows, strict=True)]
