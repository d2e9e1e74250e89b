# ruff: noqa: INP001, T201
"""Verify the seals of a journal with nothing of Takings, as docs/decisions/seals.md tells.

    python verify_journal.py postgresql://user:password@host/database [file of anchors]

It needs asyncpg and the right to read, changes nothing, and exits with 1 at the first bad seal.
"""

import asyncio
import json
import sys
from hashlib import sha256
from itertools import groupby
from pathlib import Path

import asyncpg

US = "trunc(extract(epoch FROM {}) * 1000000)::text"  # microseconds since 1970, UTC
SEALS = f"""
SELECT s.n, s.digest, s.entry_id, e.id, {US.format("e.posted_at")}, e.key, e.kind,
       {US.format("e.happened_at")}, {US.format("e.period")}, e.subject, e.source, e.narration,
       e.metadata::text, p.n, p.account_id, a.name, a.currency, p.slot, p.seq,
       {US.format("p.happened_at")}, p.minor, p.balance, p.currency, p.line
  FROM (SELECT * FROM seals WHERE n > $1 ORDER BY n LIMIT 2000) s
  LEFT JOIN entries e ON e.id = s.entry_id AND e.posted_at = s.posted_at
  LEFT JOIN postings p ON p.entry_id = e.id AND p.posted_at = e.posted_at
  LEFT JOIN accounts a ON a.id = p.account_id ORDER BY s.n, p.n"""
STRAY = """
SELECT e.id FROM entries e WHERE e.posted_at < now() - interval '2 hours' AND NOT EXISTS
       (SELECT FROM seals s WHERE s.entry_id = e.id AND s.posted_at = e.posted_at AND s.n > 0)
 UNION ALL
SELECT p.entry_id FROM postings p WHERE NOT EXISTS
       (SELECT FROM entries e WHERE e.id = p.entry_id AND e.posted_at = p.posted_at) LIMIT 1"""


def line(row: tuple[object, ...]) -> bytes:  # noqa: D103
    return json.dumps(row, ensure_ascii=False).encode()


async def verify(url: str, anchors: str) -> str:  # noqa: D103
    published = {(one["n"], one["digest"]) for one in map(json.loads, anchors.splitlines())}
    connection, n, digest = await asyncpg.connect(url), 0, bytes(32)
    while rows := await connection.fetch(SEALS, n):
        for row, group in groupby(map(tuple, rows), key=lambda row: row[:13]):
            n += 1
            postings = [line(posting[13:]) for posting in group if posting[13] is not None]
            digest = sha256(digest + b"\n".join([line(row[3:]), *postings])).digest()
            if row[:2] != (n, digest):
                sys.exit(f"seal {n}, entry {row[2]}: not what was sealed")
            if {said for at, said in published if at == n} - {digest.hex()}:
                sys.exit(f"seal {n}, entry {row[2]}: not what was published")
    if max(published, default=(0,))[0] > n:
        sys.exit(f"seal {n + 1}: cut off, an anchor tells of it")
    if stray := await connection.fetchval(STRAY):
        sys.exit(f"entry {stray}: never sealed, or postings without an entry")
    return f"{n} seals hold, the last is {digest.hex()}"


print(asyncio.run(verify(sys.argv[1], "".join(Path(file).read_text() for file in sys.argv[2:]))))
