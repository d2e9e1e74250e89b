"""The journal: entries are appended, many at a time, once each, and never changed.

One statement writes everything, whatever the number of entries.  In this order, which is also the
order of the locks: keys, accounts, balance slots, the clock, days, entries, postings.  Because the
clock is read after every slot is locked, ``posted_at`` never runs backwards within a slot, and the
running balance written beside each posting answers "as of" by one look into an index.
"""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy.engine import Row
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
SELECT key FROM post($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
                     $18) AS key
"""
"""The database's own function, in the first migration."""


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
    rows = await database.fetch(session, POST, *columns(batch.values()), posted_at)
    new = frozenset(row.key for row in rows)
    old = [entry for key, entry in batch.items() if key not in new]
    if old:
        rows = await database.fetch(session, KNOWN, [entry.key for entry in old])
        for entry in differing(old, rows):
            raise KeyReused(key=entry.key)
    if posted_at is not None:
        for row in await database.fetch(session, LATER, list(new), posted_at):
            raise OutOfOrder(account=row.name, posted_at=posted_at)
    return new


def columns(batch: Collection[Entry]) -> tuple[list[Any], ...]:
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


def differing(old: Iterable[Entry], rows: Iterable[Row[Any]]) -> Iterator[Entry]:
    """Those of the entries whose key the journal holds with other postings, by KNOWN's rows."""
    known: dict[str, list[Posting]] = {}
    for row in rows:
        posting = Posting(row.name, Money(row.minor, row.currency), row.line)
        known.setdefault(row.key, []).append(posting)
    for entry in old:
        if tuple(known.get(entry.key, ())) != entry.postings:
            yield entry


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
