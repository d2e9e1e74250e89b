"""Months: the journal's partitions, made before they are needed.

A posting in a month without a partition goes to the default one: correct, only slower to read.
"""

from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database, fetch

AHEAD = 3

OPEN = """
SELECT count(*) FILTER (WHERE open_month(
         (date_trunc('month', $1::timestamptz AT TIME ZONE 'UTC') + n * interval '1 month')::date
       )) AS opened
  FROM generate_series(0, $2::int) AS n
"""


async def open_ahead(database: Database, *, now: datetime) -> int:
    """Make the partitions of this month and the next three; answer how many were missing."""

    async def step(session: AsyncSession) -> int:
        rows = await fetch(session, OPEN, now, AHEAD)
        return int(rows[0].opened)

    return await database.run(step)
