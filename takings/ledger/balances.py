"""What an account holds: now, or as of any instant on either of the two times.

*Now* is a sum over an account's slots, at most ``accounts.SLOTS`` rows whatever its history.
*As of recorded time* (``posted_at``) is the running balance beside the last posting of each slot.
*As of effective time* (``happened_at``) is the sum of the days before and the postings of the day.
Signs are the books' own: + debit, − credit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import fetch
from takings.ledger import accounts
from takings.money import Money


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a trial balance."""

    account: str
    money: Money

    @property
    def debit(self) -> Money:
        """What stands on the left: zero where the account is a credit."""
        return max(self.money, Money(0, self.money.currency))

    @property
    def credit(self) -> Money:
        """What stands on the right: zero where the account is a debit."""
        return max(-self.money, Money(0, self.money.currency))


NOW = """
SELECT a.name, a.currency, coalesce(sum(b.minor), 0)::bigint AS minor
  FROM accounts a LEFT JOIN balances b ON b.account_id = a.id
 WHERE a.name = ANY($1::text[])
 GROUP BY a.name, a.currency ORDER BY a.name, a.currency
"""

RECORDED = """
SELECT coalesce(sum(last.balance), 0)::bigint AS minor
  FROM accounts a
  JOIN balances b ON b.account_id = a.id
 CROSS JOIN LATERAL (
       SELECT balance FROM postings p
        WHERE p.account_id = b.account_id AND p.slot = b.slot AND p.posted_at <= $3
        ORDER BY p.posted_at DESC, p.seq DESC LIMIT 1) AS last
 WHERE a.name = $1 AND a.currency = $2
"""

EFFECTIVE = """
SELECT ((SELECT coalesce(sum(d.minor), 0) FROM day_balances d
          WHERE d.account_id = a.id AND d.day < ($3 AT TIME ZONE 'UTC')::date)
      + (SELECT coalesce(sum(p.minor), 0) FROM postings p
          WHERE p.account_id = a.id AND p.happened_at <= $3
            AND p.happened_at >= date_trunc('day', $3, 'UTC')))::bigint AS minor
  FROM accounts a WHERE a.name = $1 AND a.currency = $2
"""

ALL = """
SELECT a.name, a.currency, sum(b.minor)::bigint AS minor
  FROM accounts a JOIN balances b ON b.account_id = a.id
 GROUP BY a.name, a.currency HAVING sum(b.minor) <> 0 OR $1
 ORDER BY a.currency, a.name
"""


async def now(session: AsyncSession, account: str, currency: str) -> Money:
    """What the account holds now; zero if nothing was ever posted on it."""
    rows = await fetch(session, NOW, [account])
    return next(
        (Money(row.minor, row.currency) for row in rows if row.currency == currency),
        Money(0, currency),
    )


async def recorded(
    session: AsyncSession, account: str, currency: str, posted_at: datetime
) -> Money:
    """What the books said of the account at that instant, whatever they learned later."""
    rows = await fetch(session, RECORDED, account, currency, posted_at)
    return Money(rows[0].minor, currency)


async def effective(
    session: AsyncSession, account: str, currency: str, happened_at: datetime
) -> Money:
    """What the account held at that instant, as far as the books know today."""
    rows = await fetch(session, EFFECTIVE, account, currency, happened_at)
    return Money(rows[0].minor if rows else 0, currency)


async def lock(session: AsyncSession, names: Sequence[str]) -> Sequence[int]:
    """Nobody posts on these accounts, in any currency, until we have committed; answer which.

    An account that somebody opens meanwhile is not among them.  Locked in the order in which the
    journal locks them; what they hold is to be read afterwards.
    """
    rows = await fetch(session, "SELECT lock_balances($1) AS id", list(names))
    return [row.id for row in rows]


async def trial(session: AsyncSession, *, zeros: bool = False) -> Sequence[Line]:
    """Every account that is not zero, by currency and name; per currency they sum to zero."""
    rows = await fetch(session, ALL, zeros)
    return [Line(row.name, Money(row.minor, row.currency)) for row in rows]


async def of_host(session: AsyncSession, host_id: str) -> dict[str, dict[accounts.Drawer, Money]]:
    """A host's money by currency and drawer, as the host sees it: what we owe is positive."""
    names = {accounts.of_host(host_id, drawer): drawer for drawer in accounts.DRAWERS}
    found: dict[str, dict[accounts.Drawer, Money]] = {}
    for row in await fetch(session, NOW, list(names)):
        empty = {drawer: Money(0, row.currency) for drawer in accounts.DRAWERS}
        drawers = found.setdefault(row.currency, empty)
        drawers[names[row.name]] = -Money(row.minor, row.currency)
    return found
