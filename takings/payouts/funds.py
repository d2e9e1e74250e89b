"""Funds: what a host can be paid right now in each currency, and if nothing, why.

All of what is available is paid, but for what the currency cannot pay out (``money.payout_step``).
Because a host's available money is one running balance, what a payout pays is a range of its
postings: those after the last payout's own, up to the last one that there is.
"""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Any, Final, Literal

from sqlalchemy.engine import Row
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import money
from takings.database import fetch
from takings.ledger import accounts, balances
from takings.ledger.entries import Entry, Posting
from takings.money import Money

Why = Literal[
    "no_account", "paused", "under_way", "negative", "nothing", "below_minimum", "not_due"
]
"""Why a host is not paid, the first that holds; NULL of those who are."""

STEPS: Final = {
    code: step for code in sorted(money.DECIMALS) if (step := money.payout_step(code)) > 1
}

# The range begins after the last payout that was not refused, which is one posting itself.  The
# requested and the refused posting of one that was cancel out within the range that holds them.
OF = """
SELECT f.*, f.available - f.minor AS carried,
       CASE WHEN f.destination IS NULL THEN 'no_account'
            WHEN f.paused THEN 'paused'
            WHEN f.under_way IS NOT NULL THEN 'under_way'
            WHEN f.available < 0 THEN 'negative'
            WHEN f.minor = 0 THEN 'nothing'
            WHEN f.minor < f.minimum THEN 'below_minimum'
            WHEN f.next_on > $4 OR f.next_on IS NULL AND f.planned THEN 'not_due' END AS why
  FROM (
SELECT h.id AS host_id, a.id AS account_id, a.currency, -b.minor AS available,
       greatest(0, -b.minor - -b.minor % coalesce(s.step, 1)) AS minor,
       b.seq AS upto_seq, clock_timestamp() AS upto_at,  -- locked: all of them are earlier
       coalesce(last.upto_seq + 1, 0) AS after_seq, last.upto_at AS after_at,
       coalesce(last.carried, 0) AS brought,
       CASE h.capability WHEN 'active' THEN h.stripe_account END AS destination,
       p.paused_at IS NOT NULL AS paused, p.paused_why, p.host_id IS NOT NULL AS planned,
       p.next_on, coalesce((p.minimums ->> a.currency::text)::bigint, 0) AS minimum,
       (SELECT id FROM payouts WHERE host_id = h.id AND currency = a.currency
                                 AND state IN ('waiting', 'sending')) AS under_way
  FROM unnest($1::text[], $5::text[]) AS one (host, account)
  JOIN accounts a ON a.name = one.account AND a.id = ANY($6::bigint[])
  JOIN balances b ON b.account_id = a.id AND b.slot = 0
  JOIN hosts h ON h.id = one.host
  LEFT JOIN payout_plans p ON p.host_id = h.id
  LEFT JOIN unnest($2::text[], $3::bigint[]) AS s (currency, step) ON s.currency = a.currency
  LEFT JOIN LATERAL (SELECT upto_seq, upto_at, carried FROM payouts
                      WHERE account_id = a.id AND state <> 'refused'
                      ORDER BY upto_seq DESC LIMIT 1) AS last ON true) AS f
"""

DUE = f"SELECT * FROM ({OF}) AS f WHERE why IS NULL ORDER BY account_id"


def available(host_id: str) -> str:
    """The account of what may be paid out."""
    return accounts.of_host(host_id, accounts.OWING)


async def lock(session: AsyncSession, host_ids: Collection[str]) -> Sequence[int]:
    """Nobody moves what is available to these hosts until we have committed; on which accounts."""
    return await balances.lock(session, [available(host) for host in host_ids])


async def of(session: AsyncSession, host_ids: Sequence[str], day: date) -> Sequence[Row[Any]]:
    """What can be paid out to each host in each currency on a day, and why not.

    It stays so until we have committed: the accounts are locked, and no others are looked at.
    """
    return await fetch(session, OF, *await _locked(session, host_ids, day))


async def due(session: AsyncSession, host_ids: Sequence[str], day: date) -> Sequence[Row[Any]]:
    """Only what can be paid out."""
    return await fetch(session, DUE, *await _locked(session, host_ids, day))


async def _locked(session: AsyncSession, host_ids: Sequence[str], day: date) -> tuple[object, ...]:
    steps, names = (list(STEPS), list(STEPS.values())), [available(host) for host in host_ids]
    return list(host_ids), *steps, day, names, await lock(session, host_ids)


def moved(payout_id: str, host_id: str, amount: Money, what: str, at: datetime) -> Entry:
    """The entry that puts a payout's money in transit (requested), or gives it back (refused)."""
    taken = amount if what == "requested" else -amount
    return Entry(
        key=f"payout:{payout_id}:{what}",
        kind=f"payout_{what}",
        subject=payout_id,
        happened_at=at,
        postings=(
            Posting(available(host_id), taken),
            Posting(accounts.of_host(host_id, "in_transit"), -taken),
        ),
    )
