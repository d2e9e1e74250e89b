"""How many requests an actor may make: one limit for all processes, kept in PostgreSQL.

A process takes requests from it in blocks, and the next block before the last is used up, so that a
request nearly never waits.  The one row of an actor says until when its requests are spent, each
pushing that instant on by its share of the window (the generic cell rate algorithm).
"""

import asyncio
import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from takings.database import Database
from takings.errors import Unavailable

WINDOW: Final = timedelta(seconds=10)
BLOCKS: Final = 100
"""Into how many blocks a window is cut: what a process that dies takes with it."""


class TooManyRequests(Unavailable):
    """More than {most} requests came within {seconds} seconds.

    Wait {retry_after_s} s, then send the same again; the RateLimit header says what is left.
    """


LEASE = """
INSERT INTO limits AS l (actor, spent_until) VALUES ($1, $2::timestamptz + $3::interval)
ON CONFLICT (actor) DO UPDATE SET spent_until = greatest(l.spent_until, $2) + $3
 WHERE greatest(l.spent_until, $2) + $3 <= $2 + $4::interval
RETURNING spent_until
"""

SPENT = "SELECT spent_until FROM limits WHERE actor = $1"


@dataclass(slots=True)
class Purse:
    """What one actor may still ask of this process, and what the limit held when it was filled."""

    left: int = 0
    full_until: datetime | None = None  # an old block is worth nothing
    spent_until: datetime | None = None
    filling: asyncio.Task[None] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left to an actor, for the headers of an answer."""

    most: int
    left: int
    reset_s: int

    def headers(self) -> dict[str, str]:
        """The IETF's fields (draft-ietf-httpapi-ratelimit-headers)."""
        return {
            "RateLimit-Policy": f'"default";q={self.most};w={WINDOW.seconds}',
            "RateLimit": f'"default";r={self.left};t={self.reset_s}',
        }


class Limits:
    """The purses of one process; ``most`` requests in ten seconds for each actor."""

    def __init__(self, database: Database, most: int) -> None:
        self._database = database
        self._most = most
        self._block = max(1, most // BLOCKS)
        self._each = WINDOW / most
        self._purses: dict[str, Purse] = {}

    async def take(self, actor: str, now: datetime) -> Allowance:
        """One request of an actor's; raises TooManyRequests."""
        purse = self._purses.setdefault(actor, Purse())
        if purse.full_until is not None and purse.full_until <= now:
            purse.left = 0
        if purse.left <= self._block // 2 and purse.filling is None:
            purse.filling = asyncio.create_task(self._fill(actor, purse, now))
        if purse.left == 0 and purse.filling is not None:
            await asyncio.shield(purse.filling)
        if purse.left == 0:
            raise TooManyRequests(
                most=self._most, seconds=WINDOW.seconds, retry_after_s=self._wait_s(purse, now)
            )
        purse.left -= 1
        return Allowance(self._most, self._left(purse, now), self._reset_s(purse, now))

    async def _fill(self, actor: str, purse: Purse, now: datetime) -> None:
        try:
            price = self._each * self._block
            rows = await self._database.fetch(LEASE, actor, now, price, WINDOW)
            if rows:
                purse.left += self._block
                purse.full_until = now + WINDOW
            else:
                rows = await self._database.fetch(SPENT, actor)
            purse.spent_until = rows[0].spent_until if rows else None
        except Unavailable:
            purse.left += 1  # nobody is refused for what we cannot know; the act itself will say
        finally:
            purse.filling = None

    def _left(self, purse: Purse, now: datetime) -> int:
        """What the limit and this process still hold together."""
        unspent = WINDOW - max((purse.spent_until or now) - now, timedelta())
        return min(self._most, purse.left + max(0, unspent // self._each))

    def _reset_s(self, purse: Purse, now: datetime) -> int:
        """When all of it is there again."""
        return max(0, math.ceil(((purse.spent_until or now) - now).total_seconds()))

    def _wait_s(self, purse: Purse, now: datetime) -> int:
        """When the next block is there."""
        spent = max(purse.spent_until or now, now)
        return max(1, math.ceil((spent + self._each * self._block - WINDOW - now).total_seconds()))
