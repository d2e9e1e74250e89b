"""The seals: a hash chain over the journal, which finds every rewriting of it.

Each entry is sealed once, a moment after it was committed and never on the way of posting:

    digest of seal n = sha256(digest of seal n - 1, followed by the lines of its entry)

The first follows 32 zero bytes.  The lines are UTF-8: one JSON array for the entry, then one for
each posting in the order of n, with every column (``FORM``).  The chain's order is that of sealing:
an entry that was committed late is sealed late.  Who rewrites an entry and every seal after it is
found by an *anchor*: a seal that was published before, and kept where they cannot write.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import orjson
from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database, fetch
from takings.errors import Invalid

QUICK = timedelta(seconds=5)
"""How far before the newest seal the quick pass looks for entries that were committed late."""

SLOW = timedelta(days=1)
"""The same for the slow pass.  What is older, and was not sealed then, was not posted honestly."""

GRACE = timedelta(hours=2)
"""How long an entry may be without a seal: until the hourly slow pass had its chance."""

BATCH = 2_000
LISTED = 100_000
NAMED = 20


class BadAnchor(Invalid):
    """This is no anchor: {what}.

    An anchor is a line that "takings seals head" prints; a file may hold many of them.
    """


@dataclass(frozen=True, slots=True)
class Seal:
    """One link of the chain: its number and its digest, which stands for all entries up to it."""

    n: int
    digest: bytes

    def follow(self, lines: bytes) -> "Seal":
        """The next link, over an entry of these lines."""
        return Seal(self.n + 1, sha256(self.digest + lines).digest())

    def published(self, at: datetime) -> dict[str, Any]:
        """The seal as an anchor, for programs and files."""
        return {"object": "seal", "n": self.n, "digest": self.digest.hex(), "at": at}


START = Seal(0, bytes(32))


@dataclass(frozen=True, slots=True)
class Broken:
    """Where the chain does not hold: the seal's number, its entry if it is known, and why."""

    n: int | None
    entry: str | None
    why: str

    @property
    def place(self) -> str:
        """The row to look at."""
        named = {"seal": self.n, "entry": self.entry}
        return ", ".join(f"{what} {which}" for what, which in named.items() if which)


MICROSECONDS = "trunc(extract(epoch FROM {}) * 1000000)::text"

FORM = f"""
concat_ws(chr(10),
  json_build_array(
    e.id, {MICROSECONDS.format("e.posted_at")}, e.key, e.kind,
    {MICROSECONDS.format("e.happened_at")}, {MICROSECONDS.format("e.period")},
    e.subject, e.source, e.narration, e.metadata::text)::text,
  (SELECT string_agg(json_build_array(
            p.n, p.account_id, a.name, a.currency, p.slot, p.seq,
            {MICROSECONDS.format("p.happened_at")}, p.minor, p.balance, p.currency, p.line)::text,
            chr(10) ORDER BY p.n)
     FROM postings p
     LEFT JOIN LATERAL (SELECT * FROM accounts WHERE id = p.account_id OFFSET 0) AS a ON true
    WHERE p.entry_id = e.id AND p.posted_at = e.posted_at))
"""
"""An entry's lines: every column, instants and days as microseconds since 1970 in UTC.

It is built in the statement that asks for it: whoever owns the database could rewrite a function.
OFFSET 0, here and below: row after row, by index.  Left to itself PostgreSQL may read all accounts
for every entry, or all entries for every batch.
"""

HEAD = "SELECT n, digest FROM seals ORDER BY n DESC LIMIT 1"


async def head(session: AsyncSession) -> Seal:
    """The last seal, which stands for the whole chain; ``START`` where nothing is sealed yet."""
    rows = await fetch(session, HEAD)
    return Seal(rows[0].n, rows[0].digest) if rows else START


NEWEST = """
SELECT max(posted_at) AS posted_at
  FROM (SELECT posted_at FROM seals ORDER BY n DESC LIMIT 1000) AS s
"""

UNSEALED = """
SELECT e.id, e.posted_at
  FROM entries e
 WHERE ($1::timestamptz IS NULL OR e.posted_at > $1)
   AND NOT EXISTS (SELECT FROM seals s WHERE s.entry_id = e.id)
 ORDER BY e.posted_at, e.id LIMIT $2
"""


async def seal(database: Database, *, now: datetime, behind: timedelta | None = QUICK) -> int:
    """Seal the entries that are not sealed yet; answer how many.

    It looks at what was posted since the newest seal, and as far behind it as ``behind`` says; at
    everything if that is None, or if nothing is sealed yet.  One seals at a time: whoever finds
    another at it leaves it to them.
    """
    [newest] = await database.fetch(NEWEST)
    known = newest.posted_at is not None and behind is not None
    since = min(newest.posted_at, now) - behind if known else None
    sealed = 0
    while True:
        rows = await database.fetch(UNSEALED, since, LISTED)
        found = {row.id: row.posted_at for row in rows}  # one seal for an id, even if planted twice
        before, ids = sealed, list(found)
        for start in range(0, len(ids), BATCH):
            some = ids[start : start + BATCH]
            done = await database.run(_batch, some, [found[one] for one in some])
            if done is None:
                return sealed
            sealed += done
        if len(rows) < LISTED or sealed == before:  # what came meanwhile is the next run's
            return sealed


ALONE = "SELECT pg_try_advisory_xact_lock(hashtext('takings seals')) AS mine"

LINES = f"""
SELECT e.id, e.posted_at, convert_to({FORM}, 'UTF8') AS lines
  FROM unnest($1::text[], $2::timestamptz[]) WITH ORDINALITY AS g (id, posted_at, place)
 CROSS JOIN LATERAL (
       SELECT * FROM entries WHERE id = g.id AND posted_at = g.posted_at OFFSET 0) AS e
 WHERE NOT EXISTS (SELECT FROM seals s WHERE s.entry_id = g.id OFFSET 0)
 ORDER BY g.place
"""

APPEND = """
INSERT INTO seals (n, entry_id, posted_at, digest)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::bytea[])
"""


async def _batch(
    session: AsyncSession, ids: Sequence[str], posted_at: Sequence[datetime]
) -> int | None:
    """Append those still unsealed to the chain, and answer how many; None if another is sealing."""
    if not (await fetch(session, ALONE))[0].mine:
        return None
    last = await head(session)
    rows = await fetch(session, LINES, ids, posted_at)
    chain: list[Seal] = []
    for row in rows:
        last = last.follow(row.lines)
        chain.append(last)
    await fetch(
        session,
        APPEND,
        [link.n for link in chain],
        [row.id for row in rows],
        [row.posted_at for row in rows],
        [link.digest for link in chain],
    )
    return len(chain)


def anchors(text: str) -> tuple[Seal, ...]:
    """The seals that a file of anchors holds, one in a line.

    Raises BadAnchor if it holds anything else, or nothing.
    """
    found = tuple(_anchor(line) for line in text.splitlines() if line.strip())
    if not found:
        raise BadAnchor(what="an empty file")
    return found


def _anchor(line: str) -> Seal:
    try:
        plain = orjson.loads(line)
        seal = Seal(int(plain["n"]), bytes.fromhex(plain["digest"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BadAnchor(what=line[:80]) from error
    if seal.n < 0 or len(seal.digest) != len(START.digest) or (seal.n == 0 and seal != START):
        raise BadAnchor(what=line[:80])
    return seal


Read = Callable[..., Awaitable[Sequence[Any]]]
"""What runs one of our statements: ``Database.fetch``, or a connection's of any kind."""

CHAIN = f"""
WITH link AS (
  SELECT n, entry_id, posted_at, digest, lag(digest, 1, $2::bytea) OVER (ORDER BY n) AS before
    FROM (SELECT * FROM seals WHERE n > $1 ORDER BY n LIMIT $3) AS s
)
SELECT l.n, l.entry_id, l.digest, e.id IS NOT NULL AS there,
       l.digest = sha256(l.before || convert_to({FORM}, 'UTF8')) AS same
  FROM link l
  LEFT JOIN LATERAL (
       SELECT * FROM entries WHERE id = l.entry_id AND posted_at = l.posted_at OFFSET 0
       ) AS e ON true
 ORDER BY l.n
"""

NEVER_SEALED = """
SELECT e.id, e.posted_at::text FROM entries e
 WHERE e.posted_at < $1
   AND NOT EXISTS (SELECT FROM seals s
                    WHERE s.entry_id = e.id AND s.posted_at = e.posted_at AND s.n > 0)
 ORDER BY e.posted_at, e.id LIMIT $2
"""


async def verify(
    read: Read,
    published: Collection[Seal] = (),
    *,
    now: datetime,
    walked: Callable[[int], object] = lambda _: None,
) -> list[Broken]:
    """Nothing, or the first link that does not hold, and after it entries that have no seal.

    Every link is computed anew from the journal, and compared with what was published.
    ``walked`` hears now and then how many were.
    """
    first = await _first(read, published, walked)
    strays = await read(NEVER_SEALED, now - GRACE, NAMED)
    return ([first] if first else []) + [
        Broken(None, entry, f"posted at {posted_at} and never sealed: {STRAY}")
        for entry, posted_at in strays
    ]


MISSING = "the seal is missing: somebody removed it, with or without its entry"
GONE = "the entry was sealed, and is no longer in the journal at the time of its posting"
CHANGED = "the entry, one of its postings, its accounts' names or the seal itself was changed"
REWRITTEN = "the anchor says otherwise: the journal was rewritten, with its seals, after seal {}"
CUT = "the anchor tells of it, and the chain ends at {}: the end of the journal was cut off"
STRAY = "no worker runs, or somebody added it behind the journal's back"


async def _first(
    read: Read, published: Collection[Seal], walked: Callable[[int], object]
) -> Broken | None:
    """The first link that does not hold, in the chain itself or against what was published."""
    last, agreed = START, 0
    while rows := await read(CHAIN, last.n, last.digest, BATCH):
        known = {one for one in published if last.n < one.n <= last.n + BATCH}
        for n, entry, digest, there, same in rows:
            if n != last.n + 1:
                return Broken(last.n + 1, None, MISSING)
            if not same:
                return Broken(n, entry, CHANGED if there else GONE)
            last = Seal(n, digest)
            if said := {one for one in known if one.n == n}:
                if said != {last}:
                    return Broken(n, entry, REWRITTEN.format(agreed))
                agreed = n
        walked(last.n)
    beyond = min((one.n for one in published if one.n > last.n), default=None)
    return Broken(beyond, None, CUT.format(last.n)) if beyond else None
