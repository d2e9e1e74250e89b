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
NEVER: Final = 2 * WINDOW
"""So far ahead nothing is spent: some clock was, and nobody waits until it is that late."""

BLOCKS: Final = 100
"""Into how many blocks a window is cut: what a process that dies takes with it."""


class TooManyRequests(Unavailable):
    """More than {most} requests came within {seconds} seconds.

    Wait {retry_after_s} s, then send the same again; the RateLimit header says what is left.
    """


LEASE = """
INSERT INTO limits AS l (actor, spent_until) VALUES ($1, $2::timestamptz + $3::interval)
ON CONFLICT (actor) DO UPDATE
   SET spent_until = CASE WHEN l.spent_until > $2 + $5::interval THEN $2
                          ELSE greatest(l.spent_until, $2) END + $3
 WHERE greatest(l.spent_until, $2) + $3 <= $2 + $4::interval OR l.spent_until > $2 + $5
RETURNING spent_until
"""

SPENT = "SELECT spent_until FROM limits WHERE actor = $1"


@dataclass(slots=True)
class Purse:
    """What one actor may still ask of this process, and what the limit held when it was filled."""

    left: int = 0
    full_until: datetime | None = None  # an old block is worth nothing
    spent_until: datetime | None = None
    filling: asyncio.Task[bool] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left to an actor, for the headers of an answer; nothing, if they have to wait."""

    most: int
    left: int
    reset_s: int
    wait_s: int = 0

    def headers(self) -> dict[str, str]:
        """The IETF's fields (draft-ietf-httpapi-ratelimit-headers)."""
        return {
            "RateLimit-Policy": f'"default";q={self.most};w={WINDOW.seconds}',
            "RateLimit": f'"default";r={self.left};t={self.reset_s}',
        }

    def check(self) -> None:
        """Nothing happens if the request may be made; else TooManyRequests."""
        if self.wait_s:
            raise TooManyRequests(most=self.most, seconds=WINDOW.seconds, retry_after_s=self.wait_s)


class Limits:
    """The purses of one process; ``most`` requests in ten seconds for each actor."""

    def __init__(self, database: Database, most: int) -> None:
        self._database = database
        self._most = most
        self._block = max(1, most // BLOCKS)
        self._each = WINDOW / most
        self._purses: dict[str, Purse] = {}

    async def take(self, actor: str, now: datetime) -> Allowance:
        """One request of an actor's, or how long to wait for it."""
        purse = self._purses.setdefault(actor, Purse())
        if purse.full_until is not None and purse.full_until <= now:
            purse.left = 0
        if purse.spent_until is not None and purse.spent_until > now + NEVER:
            purse.spent_until = None
        if purse.left <= self._block // 2:
            self._filling(actor, purse, now)
        while purse.left == 0:  # whoever waits longest may find the block used up by others
            filling = self._filling(actor, purse, now)
            if filling is None or not await asyncio.shield(filling):
                return Allowance(self._most, 0, self._reset_s(purse, now), self._wait_s(purse, now))
        purse.left -= 1
        return Allowance(self._most, self._left(purse, now), self._reset_s(purse, now))

    def _filling(self, actor: str, purse: Purse, now: datetime) -> asyncio.Task[bool] | None:
        """The next block on its way; None where we know already that there is none."""
        if purse.filling is None and self._opens_at(purse, now) <= now:
            purse.filling = asyncio.create_task(self._fill(actor, purse, now))
        return purse.filling

    async def _fill(self, actor: str, purse: Purse, now: datetime) -> bool:
        """Whether there was another block."""
        try:
            price = self._each * self._block
            rows = await self._database.fetch(LEASE, actor, now, price, WINDOW, NEVER)
            if filled := bool(rows):
                purse.left += self._block
                purse.full_until = now + WINDOW
            else:
                rows = await self._database.fetch(SPENT, actor)
            purse.spent_until = rows[0].spent_until if rows else None
        except Unavailable:
            purse.left += 1  # nobody is refused for what we cannot know; the act itself will say
            return True
        else:
            return filled
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
        return max(1, math.ceil((self._opens_at(purse, now) - now).total_seconds()))

    def _opens_at(self, purse: Purse, now: datetime) -> datetime:
        """Before that there is no block: others can only have spent more than we know of."""
        return (purse.spent_until or now) + self._each * self._block - WINDOW
