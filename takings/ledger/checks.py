"""The books check themselves: each check is a statement that names the guilty rows.

A check holds when it finds nothing.  Its SQL gives two columns: ``guilty``, the row to look at,
and ``why``.  Every package adds its own; the service gathers them.
"""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import fetch

AT_MOST = 20
"""How many guilty rows a check names; one is enough to stop, twenty to see a pattern."""


@dataclass(frozen=True, slots=True)
class Check:
    """A law of the books and the statement that finds who breaks it."""

    name: str
    promise: str
    sql: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found: nothing, or the rows that are wrong and why."""

    check: Check
    guilty: tuple[tuple[str, str], ...]

    @property
    def holds(self) -> bool:
        """Whether the law is kept."""
        return not self.guilty


async def run(session: AsyncSession, checks: Iterable[Check]) -> AsyncIterator[Finding]:
    """Run the checks one after the other, each answering as soon as it is done."""
    for check in checks:
        rows = await fetch(session, f"SELECT * FROM ({check.sql}) AS c LIMIT {AT_MOST}")
        yield Finding(check, tuple((str(row.guilty), str(row.why)) for row in rows))


ENTRIES_BALANCE = """
SELECT entry_id AS guilty, format('leaves %s %s', sum(minor), currency) AS why
  FROM postings GROUP BY entry_id, currency HAVING sum(minor) <> 0
"""

ENTRIES_ARE_WHOLE = """
SELECT coalesce(e.id, p.entry_id) AS guilty,
       CASE WHEN e.id IS NULL THEN 'postings without their entry'
            WHEN p.entry_id IS NULL THEN 'an entry without postings'
            ELSE format('postings are numbered %s to %s, there are %s', low, high, legs) END AS why
  FROM entries e
  FULL JOIN (SELECT entry_id, posted_at, min(n) AS low, max(n) AS high, count(*) AS legs
               FROM postings GROUP BY entry_id, posted_at) p
    ON p.entry_id = e.id AND p.posted_at = e.posted_at
 WHERE e.id IS NULL OR p.entry_id IS NULL OR low <> 1 OR high <> legs OR legs < 2
"""

KEYS_AGREE = """
SELECT coalesce(e.id, k.entry_id) AS guilty,
       format('the journal says %s, the keys say %s', e.key, k.key) AS why
  FROM entries e FULL JOIN entry_keys k ON k.entry_id = e.id
 WHERE e.key IS DISTINCT FROM k.key
 UNION ALL
SELECT id, format('stands in the journal %s times', count(*))
  FROM entries GROUP BY id HAVING count(*) > 1
"""

CURRENCIES_AGREE = """
SELECT p.entry_id AS guilty, format('posting %s is in %s on %s in %s', p.n, p.currency,
                                    coalesce(a.name, 'no account'), a.currency) AS why
  FROM postings p LEFT JOIN accounts a ON a.id = p.account_id
 WHERE a.currency IS DISTINCT FROM p.currency
"""

RUNNING_BALANCES = """
SELECT entry_id AS guilty,
       format('posting %s of %s: number %s after %s, balance %s after %s %s',
              n, minor, seq, was_seq, balance, was, currency) AS why
  FROM (SELECT p.*, lag(seq, 1, 0::bigint) OVER slot AS was_seq,
               lag(balance, 1, 0::bigint) OVER slot AS was
          FROM postings p
        WINDOW slot AS (PARTITION BY account_id, slot ORDER BY posted_at, seq)) q
 WHERE seq <> was_seq + 1 OR balance <> was + minor
"""

BALANCES = """
SELECT format('%s %s slot %s', a.name, a.currency, slot) AS guilty,
       format('the balance says %s after %s postings, the journal %s after %s',
              b.minor, b.seq, p.minor, p.legs) AS why
  FROM balances b
  FULL JOIN (SELECT account_id, slot, sum(minor) AS minor, count(*) AS legs
               FROM postings GROUP BY account_id, slot) p USING (account_id, slot)
  LEFT JOIN accounts a ON a.id = account_id
 WHERE b.minor IS DISTINCT FROM p.minor OR b.seq IS DISTINCT FROM p.legs
"""

DAYS = """
SELECT format('%s %s on %s', a.name, a.currency, day) AS guilty,
       format('the day says %s, the journal %s', d.minor, p.minor) AS why
  FROM (SELECT account_id, day, sum(minor) AS minor FROM day_balances GROUP BY 1, 2) d
  FULL JOIN (SELECT account_id, (happened_at AT TIME ZONE 'UTC')::date AS day, sum(minor) AS minor
               FROM postings GROUP BY 1, 2) p USING (account_id, day)
  LEFT JOIN accounts a ON a.id = account_id
 WHERE d.minor IS DISTINCT FROM p.minor
"""

TIMES_AGREE = """
SELECT p.entry_id AS guilty, format('posting %s happened at %s, its entry at %s',
                                    p.n, p.happened_at, e.happened_at) AS why
  FROM postings p JOIN entries e ON e.id = p.entry_id AND e.posted_at = p.posted_at
 WHERE p.happened_at <> e.happened_at
"""

OVERDRAWN = """
SELECT a.name AS guilty, format('owes us %s %s', sum(b.minor), a.currency) AS why
  FROM accounts a JOIN balances b ON b.account_id = a.id
 WHERE a.name LIKE 'liabilities:%' AND a.name NOT LIKE '%:available'
 GROUP BY a.id HAVING sum(b.minor) > 0
"""

CHECKS = (
    Check("entries balance", "Every entry sums to zero per currency.", ENTRIES_BALANCE),
    Check("entries whole", "Every entry has all its postings, and no others.", ENTRIES_ARE_WHOLE),
    Check("keys", "Every entry stands once, under the key that it was posted with.", KEYS_AGREE),
    Check("currencies", "Every posting is in its account's currency.", CURRENCIES_AGREE),
    Check("running balances", "Every posting follows from the one before it.", RUNNING_BALANCES),
    Check("balances", "Every balance is the sum of its postings.", BALANCES),
    Check("days", "Every day's movement is the sum of its postings.", DAYS),
    Check("times", "Every posting happened when its entry did.", TIMES_AGREE),
    Check("liabilities", "Nobody owes us but hosts, in their available money.", OVERDRAWN),
)
