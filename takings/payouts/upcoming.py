"""What comes next: the day of a host's next payout, how much it is likely to be, or why none comes.

An estimate: what is available now, and what rooms that have ended will have released by that day,
if nobody asks any of it back and no rolling reserve is kept of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import fetch
from takings.ledger import accounts, balances
from takings.money import Money, payout_step
from takings.payouts import plans
from takings.payouts.tables import Plan
from takings.spaces import hosts
from takings.spaces.tables import Host


@dataclass(frozen=True, slots=True)
class Upcoming:
    """A host's next payout in one currency; ``why`` says why there is none, as far as one knows."""

    currency: str
    on: date | None
    available: Money
    estimate: Money
    why: str | None


# The rooms that a host has a share of, their payments that nothing released, the host's parts.
COMING = """
SELECT l.currency, sum(a.held)::bigint AS minor
  FROM (SELECT coalesce($2::date::timestamp AT TIME ZONE zone, $3) AS at FROM books) AS day
 CROSS JOIN (SELECT DISTINCT space_id FROM shares WHERE host_id = $1) r
  JOIN spaces s ON s.id = r.space_id
  JOIN payments p ON p.space_id = s.id AND p.state = 'paid' AND p.released_at IS NULL
                 AND s.ended_at + p.release_days * interval '1 day' <= day.at
  JOIN lines l ON l.payment_id = p.id
  JOIN allotments a ON a.line_id = l.id AND a.host_id = $1 AND a.held > 0
 WHERE EXISTS (SELECT FROM cash c WHERE c.subject = p.id AND c.category = 'charge'
                                    AND c.available_on <= day.at)
 GROUP BY l.currency
"""


async def of(session: AsyncSession, host_id: str, now: datetime) -> Sequence[Upcoming]:
    """The host's next payouts, by currency; or NotFound."""
    host = await hosts.get(session, host_id)
    plan = await plans.get(session, host_id, now)
    drawers = await balances.of_host(session, host_id)
    coming = await _coming(session, host_id, plan, now)
    found = []
    for currency in sorted(drawers.keys() | coming.keys()):
        zero = Money(0, currency)
        available = drawers[currency][accounts.OWING] if currency in drawers else zero
        later = max(zero, available + coming.get(currency, zero))
        estimate = later - Money(later.minor % payout_step(currency), currency)
        why = _why_not(host, plan, available, estimate)
        on = plan.next_on if why is None else None
        found.append(Upcoming(currency, on, available, estimate, why))
    return found


def _why_not(host: Host, plan: Plan, available: Money, estimate: Money) -> str | None:
    if host.capability != "active":
        return "no_account"
    if plan.paused_at is not None:
        return "paused"
    if plan.next_on is None:
        return "on_request"
    if not estimate:
        return "negative" if available.minor < 0 else "nothing"
    minimum = plan.minimums.get(estimate.currency, 0)
    return "below_minimum" if estimate.minor < minimum else None


async def _coming(
    session: AsyncSession, host_id: str, plan: Plan, now: datetime
) -> Mapping[str, Money]:
    """What will have been released by the plan's next day; by now, where it names none."""
    rows = await fetch(session, COMING, host_id, plan.next_on, now)
    return {row.currency: Money(row.minor, row.currency) for row in rows}
