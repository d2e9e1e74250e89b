"""The journal: entries are appended, many at a time, once each, and never changed.

One statement writes everything, whatever the number of entries.  In this order, which is also the
order of the locks: keys, accounts, balance slots, the clock, days, entries, postings.  Because the
clock is read after every slot is locked, ``posted_at`` never runs backwards within a slot, and the
running balance written beside each posting answers "as of" by one look into an index.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import database
from takings.errors import Conflict, NotFound
from takings.ledger import accounts
from takings.ledger.entries import Entry, Posting
from takings.money import Money


class KeyReused(Conflict):
    """The journal already holds an entry {key} with other postings.

    A key stands for one event. Give the new event its own key, or find out why the same event now
    has other amounts.
    """


class NotReversible(Conflict):
    """Entry {key} is itself a reversal.

    Post the original event again under a key of its own.
    """


class OutOfOrder(Conflict):
    """{account} has postings later than {posted_at}, or that instant is still to come.

    The journal is written in order. Say in happened_at when it was so.
    """


POST = """
WITH
given AS (
  SELECT *
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[],
                $6::text[], $7::text[], $8::text[])
      AS g (id, key, kind, subject, happened_at, source, narration, metadata)
),
claimed AS (
  INSERT INTO entry_keys (key, entry_id)
  SELECT key, id FROM given ORDER BY key
  ON CONFLICT (key) DO NOTHING
  RETURNING key, entry_id
),
needed AS (
  SELECT u.*, a.id
    FROM unnest($9::text[], $10::text[], $11::smallint[], $12::boolean[])
         WITH ORDINALITY AS u (name, currency, slots, owes_only, place)
    LEFT JOIN accounts a USING (name, currency)
),
opened AS (  -- DO UPDATE, so that one opened by someone else a moment ago is returned as well;
             -- of no key's column, or its lock would meet the foreign keys' and deadlock
  INSERT INTO accounts AS a (name, currency, slots, owes_only)
  SELECT name, currency, slots, owes_only FROM needed WHERE id IS NULL ORDER BY name, currency
  ON CONFLICT (name, currency) DO UPDATE SET slots = a.slots
  RETURNING id, name, currency
),
account AS (
  SELECT n.place, coalesce(n.id, o.id) AS id, n.currency,
         (pg_backend_pid() % n.slots)::smallint AS slot
    FROM needed n LEFT JOIN opened o USING (name, currency)
),
leg AS (
  SELECT p.entry_id, p.n, p.minor, p.line, p.place, g.happened_at,
         a.id AS account_id, a.slot, a.currency
    FROM unnest($13::text[], $14::smallint[], $15::bigint[], $16::bigint[], $17::text[])
         WITH ORDINALITY AS p (entry_id, n, account, minor, line, place)
    JOIN claimed c ON c.entry_id = p.entry_id
    JOIN given g ON g.id = p.entry_id
    JOIN account a ON a.place = p.account
),
moved AS (
  INSERT INTO balances AS b (account_id, slot, minor, seq)
  SELECT account_id, slot, sum(minor), count(*)
    FROM leg GROUP BY account_id, slot ORDER BY account_id, slot
  ON CONFLICT (account_id, slot)
  DO UPDATE SET minor = b.minor + excluded.minor, seq = b.seq + excluded.seq
  RETURNING account_id, slot, minor, seq
),
stamp AS MATERIALIZED (  -- read only when every slot above is locked
  SELECT coalesce($18::timestamptz, clock_timestamp()) AS posted_at, b.zone
    FROM (SELECT count(*) FROM moved) AS locked, books b
),
day AS (
  INSERT INTO day_balances AS d (account_id, day, slot, minor)
  SELECT l.account_id, (l.happened_at AT TIME ZONE 'UTC')::date, l.slot, sum(l.minor)
    FROM leg l, stamp GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
  ON CONFLICT (account_id, day, slot) DO UPDATE SET minor = d.minor + excluded.minor
),
entry AS (
  INSERT INTO entries
    (id, posted_at, key, kind, happened_at, period, subject, source, narration, metadata)
  SELECT g.id, s.posted_at, g.key, g.kind, g.happened_at,
         date_trunc('month', g.happened_at AT TIME ZONE s.zone)::date,
         g.subject, g.source, g.narration, g.metadata::jsonb
    FROM given g JOIN claimed c ON c.entry_id = g.id, stamp s
),
posting AS (
  INSERT INTO postings
    (entry_id, posted_at, n, account_id, slot, seq, happened_at, minor, balance, currency, line)
  SELECT l.entry_id, s.posted_at, l.n, l.account_id, l.slot,
         m.seq - count(*) OVER later, l.happened_at, l.minor,
         m.minor - coalesce(sum(l.minor) OVER later, 0), l.currency, l.line
    FROM leg l JOIN moved m USING (account_id, slot), stamp s
  WINDOW later AS (PARTITION BY l.account_id, l.slot ORDER BY l.place
                   ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)
)
SELECT key FROM claimed
"""


async def post(
    session: AsyncSession, entries: Iterable[Entry], *, posted_at: datetime | None = None
) -> frozenset[str]:
    """Write the entries whose keys are new, and answer with those keys.

    An entry whose key is already there is left as it is, if its postings are the same.

    ``posted_at`` is the database's clock unless it is given (an import, a test of another day).

    Raises KeyReused if a key comes with other postings than it has, OutOfOrder if ``posted_at`` is
    given and the accounts have later postings.
    """
    batch: dict[str, Entry] = {}
    for entry in entries:
        if batch.setdefault(entry.key, entry).postings != entry.postings:
            raise KeyReused(key=entry.key)
    if not batch:
        return frozenset()
    rows = await database.fetch(session, POST, *_columns(batch.values()), posted_at)
    new = frozenset(row.key for row in rows)
    old = [entry for key, entry in batch.items() if key not in new]
    if old:
        await _refuse_other_postings(session, old)
    if posted_at is not None:
        for row in await database.fetch(session, LATER, list(new), posted_at):
            raise OutOfOrder(account=row.name, posted_at=posted_at)
    return new


def _columns(batch: Collection[Entry]) -> tuple[list[Any], ...]:
    """The batch as PostgreSQL takes it: one array for each column."""
    places: dict[tuple[str, str], int] = {}
    legs: list[tuple[str, int, int, int, str | None]] = []
    for entry in batch:
        for n, posting in enumerate(entry.postings, 1):
            account = (posting.account, posting.money.currency)
            place = places.setdefault(account, len(places) + 1)
            legs.append((entry.id, n, place, posting.money.minor, posting.line))
    names = [name for name, _ in places]
    return (
        [entry.id for entry in batch],
        [entry.key for entry in batch],
        [entry.kind for entry in batch],
        [entry.subject for entry in batch],
        [entry.happened_at for entry in batch],
        [entry.source for entry in batch],
        [entry.narration for entry in batch],
        [orjson.dumps(dict(entry.metadata)).decode() for entry in batch],
        names,
        [currency for _, currency in places],
        [accounts.slots(name) for name in names],
        [accounts.owes_only(name) for name in names],
        *map(list, zip(*legs, strict=True)),
    )


KNOWN = """
SELECT e.key, e.id, a.name, p.minor, p.currency, p.line
  FROM entry_keys k
  JOIN entries e ON e.id = k.entry_id
  JOIN postings p ON p.entry_id = e.id AND p.posted_at = e.posted_at
  JOIN accounts a ON a.id = p.account_id
 WHERE k.key = ANY($1::text[])
 ORDER BY e.key, p.n
"""


async def _refuse_other_postings(session: AsyncSession, old: Sequence[Entry]) -> None:
    """Compare every entry that was not written with the one that holds its key."""
    known: dict[str, list[Posting]] = {entry.key: [] for entry in old}
    for row in await database.fetch(session, KNOWN, list(known)):
        known[row.key].append(Posting(row.name, Money(row.minor, row.currency), row.line))
    for entry in old:
        if tuple(known[entry.key]) != entry.postings:
            raise KeyReused(key=entry.key)


LATER = """
SELECT a.name
  FROM entry_keys k
  JOIN postings mine ON mine.entry_id = k.entry_id AND mine.posted_at = $2
  JOIN accounts a ON a.id = mine.account_id
 WHERE k.key = ANY($1::text[])
   AND (mine.posted_at > clock_timestamp()
        OR EXISTS (SELECT FROM postings p WHERE p.account_id = mine.account_id
                    AND p.slot = mine.slot AND p.posted_at > mine.posted_at))
 LIMIT 1
"""


async def reverse(
    session: AsyncSession, key: str, *, happened_at: datetime, narration: str = ""
) -> frozenset[str]:
    """Undo the entry of this key by its exact opposite, once however often it is asked.

    Raises NotFound if there is no such entry, NotReversible if it is a reversal itself.
    """
    rows = await database.fetch(session, ENTRY, key)
    if not rows:
        raise NotFound(kind="entry", id=key)
    if rows[0].kind == "reversal":
        raise NotReversible(key=key)
    opposite = tuple(Posting(row.name, -Money(row.minor, row.currency), row.line) for row in rows)
    entry = Entry(
        key=f"{key}:reversed",
        kind="reversal",
        subject=rows[0].subject,
        happened_at=happened_at,
        postings=opposite,
        source=rows[0].source,
        narration=narration,
        metadata={"reverses": rows[0].id},
    )
    return await post(session, [entry])


ENTRY = """
SELECT e.id, e.kind, e.subject, e.source, a.name, p.minor, p.currency, p.line
  FROM entry_keys k
  JOIN entries e ON e.id = k.entry_id
  JOIN postings p ON p.entry_id = e.id AND p.posted_at = e.posted_at
  JOIN accounts a ON a.id = p.account_id
 WHERE k.key = $1
 ORDER BY p.n
"""
