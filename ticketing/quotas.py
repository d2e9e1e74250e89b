"""Quotas: what a run has, and how much of it is taken.

Reading takes no lock, so it holds up no buyer; what it tells may be gone a moment later.  What is
sold out here may be claimed all the same, where holds are over and nobody has swept them yet.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from takings.database import Database


@dataclass(frozen=True, slots=True)
class Part:
    """A tier's part of a run; its size is None where it has no limit of its own."""

    tier: str
    size: int | None
    sold: int
    held: int
    available: int


@dataclass(frozen=True, slots=True)
class Quota:
    """What a run has, and how much of it is taken, as it was read at an instant.

    ``waiting`` is how many tickets are waited for; ``frees_at`` is when the next hold may end.
    Two are equal if they tell the same, whenever they were read.
    """

    run: str
    size: int
    sold: int
    held: int
    waiting: int
    available: int
    parts: tuple[Part, ...]
    as_of: datetime = field(compare=False)
    frees_at: datetime | None = field(compare=False)


# Every row is found by its key, however much has been sold; only those who wait are counted.
QUOTAS = """
SELECT r.id, p.quota, p.sold, p.held, greatest(room, 0) AS available, t.parts,
       (SELECT coalesce(sum(w.quantity), 0) FROM waiting w
         WHERE w.run_id = r.id AND w.state = 'waiting') AS waiting,
       (SELECT min(h.expires_at) FROM holds h
         WHERE h.run_id = r.id AND h.state = 'held') AS frees_at
  FROM runs r
  JOIN spaces o ON o.id = r.space_id
  JOIN pools p ON p.id = r.id
  LEFT JOIN pools s ON s.id = 'space:' || r.space_id,
       LATERAL (SELECT CASE WHEN r.cancelled_at IS NULL AND o.state IN ('scheduled', 'live')
                            THEN least(p.quota - p.held - p.sold, s.quota - s.held - s.sold)
                            ELSE 0 END AS room) AS l,  -- of what is over nothing is left
       LATERAL (SELECT array_agg(ROW(t.id, q.quota, q.sold, q.held,
                                     greatest(least(room, q.quota - q.held - q.sold), 0))
                                 ORDER BY t.position) AS parts
                  FROM tiers t JOIN pools q ON q.id = t.id WHERE t.run_id = r.id) AS t
 WHERE r.id = ANY ($1::text[])
"""


async def of(database: Database, runs: Collection[str], *, now: datetime) -> dict[str, Quota]:
    """The quotas of these runs, by their ids, in one statement; what is no run is left out."""
    rows = await database.fetch(QUOTAS, list(runs))
    return {row.id: _quota(row, now) for row in rows}


def _quota(row: Row[Any], now: datetime) -> Quota:
    return Quota(
        run=row.id,
        size=row.quota,
        sold=row.sold,
        held=row.held,
        waiting=row.waiting,
        available=row.available,
        parts=tuple(Part(*part) for part in row.parts or ()),
        as_of=now,
        frees_at=row.frees_at,
    )
