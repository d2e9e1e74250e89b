"""Allotments: who is credited what for a line, when it is earned.

A line is divided first over the hosts by the agreement's weights, then each host's share into
commission and the rest, at that host's own lifetime counter.  What is credited then is the weight
of everything that later comes back (``clawbacks.py``).

A line for which nothing could be given is on its way back before it is earned: its hosts are
credited all of it, gross zero, so that neither commission nor counter ever knew of it.  The share
of a payee who cannot be paid yet is parked.
"""

from collections.abc import Collection, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from takings import commission, splits
from takings.database import fetch, plans_kept
from takings.ledger import accounts
from takings.ledger.entries import Posting, moving
from takings.money import Money
from takings.payments.lines import Line

COMMISSION_OF: Mapping[str, str] = {
    "tip": accounts.TIP_COMMISSION,
    "ticket": accounts.DEFERRED_TICKETS,
}
"""Where the platform's part goes: a tip's is income at once, a ticket's when the room has been."""

RELEASED: Mapping[str, str] = {accounts.DEFERRED_TICKETS: accounts.TICKET_COMMISSION}
"""Where the platform's part goes on its release; what is not named here is where it stays."""


def later(host: str | None, account: str) -> str:
    """Where an allotment's money is once the line is released."""
    if host and not accounts.is_parked(account):
        return accounts.of_host(host, accounts.OWING)
    return RELEASED.get(account, account)


@dataclass(frozen=True, slots=True)
class Allotment:
    """What one account was credited for a line; ``host`` is set where it is a payee's share.

    ``waits`` is for how many days a parked share is kept for its payee.
    """

    line: str
    position: int
    host: str | None
    account: str
    gross: int
    credited: int
    waits: int | None = None

    @property
    def held(self) -> int:
        """What waits to be released."""
        return 0 if later(self.host, self.account) == self.account else self.credited

    def postings(self, currency: str) -> tuple[Posting, ...]:
        """The credit, as it is posted when the line is earned; none where commission ate it all."""
        return moving(self.account, Money(-self.credited, currency), self.line)


Counters = MutableMapping[tuple[str, str], int]
"""What each host has earned so far, by host and currency: where the commission's tiers stand."""

COUNT = """
INSERT INTO lifetime_sales AS l (host_id, currency, minor)
SELECT host_id, currency, sum(minor)
  FROM unnest($1::text[], $2::text[], $3::bigint[]) AS g (host_id, currency, minor)
 GROUP BY host_id, currency ORDER BY host_id, currency
ON CONFLICT (host_id, currency) DO UPDATE SET minor = l.minor + excluded.minor
RETURNING host_id, currency, minor
"""

WRITE = """
INSERT INTO allotments (line_id, position, host_id, account, gross, credited, taken, held,
                        parked_until)
SELECT line, position, host, account, gross, credited, 0, held, parked_until
  FROM unnest($1::text[], $2::smallint[], $3::text[], $4::text[], $5::bigint[], $6::bigint[],
              $7::bigint[], $8::timestamptz[])
    AS a (line, position, host, account, gross, credited, held, parked_until)
"""


async def earn(
    session: AsyncSession, lines: Sequence[Line], unserved: Collection[str], now: datetime
) -> dict[str, list[Allotment]]:
    """Divide the lines and write down who is credited what; by line, each summing to what it cost.

    Moves the hosts' lifetime counters under their locks, taken in the order of host and currency;
    not for the lines that are ``unserved``.
    """
    grosses = {line.id: splits.divide(line.minor, [w for _, w in line.shares]) for line in lines}
    counters = await _count(session, [one for one in lines if one.id not in unserved], grosses)
    allotted: dict[str, list[Allotment]] = {}
    for line in lines:
        known = None if line.id in unserved else counters
        allotted[line.id] = divide(line, grosses[line.id], known)
    rows = [a for parts in allotted.values() for a in parts]
    async with plans_kept(session):
        await fetch(session, WRITE, *columns(_row(a, now) for a in rows))
    return allotted


def _row(a: Allotment, now: datetime) -> tuple[object, ...]:
    until = now + timedelta(days=a.waits) if a.waits else None
    return (a.line, a.position, a.host, a.account, a.gross, a.credited, a.held, until)


async def _count(
    session: AsyncSession, lines: Sequence[Line], grosses: Mapping[str, Sequence[int]]
) -> Counters:
    """Move the counters by the lines' gross shares; answer where they stood before."""
    moved = [
        (host, line.currency, gross)
        for line in lines
        for (host, _), gross in zip(line.shares, grosses[line.id], strict=True)
    ]
    before: Counters = {}
    if not moved:
        return before
    for row in await fetch(session, COUNT, *columns(moved)):
        before[row.host_id, row.currency] = row.minor
    for host, currency, gross in moved:
        before[host, currency] -= gross
    return before


def divide(line: Line, grosses: Sequence[int], counters: Counters | None) -> list[Allotment]:
    """One line's allotments, hosts first; moves the counters along, None where it is unserved."""
    terms = line.policy.terms_in(line.currency)
    least = splits.divide(terms.commission_minimum, grosses) if sum(grosses) else grosses
    parts: list[Allotment] = []
    platform = 0
    for place, ((host, _), gross) in enumerate(zip(line.shares, grosses, strict=True), 1):
        kept, counted = 0, 0
        if counters is not None:
            counter = counters[host, line.currency]
            counters[host, line.currency] = counter + gross
            kept = commission.commission(gross, terms.tiers, counter, minimum=least[place - 1])
            counted = gross
        platform += kept
        if gross:
            waits = line.parked.get(host)
            account = accounts.parked(host) if waits else accounts.of_host(host, "held")
            parts.append(Allotment(line.id, place, host, account, counted, gross - kept, waits))
    place = len(grosses)
    for account, minor in (
        (COMMISSION_OF[line.kind], platform),
        (accounts.FEES_COVERED, line.fees_covered),
    ):
        place += 1
        if minor:
            parts.append(Allotment(line.id, place, None, account, 0, minor))
    return parts


def columns(rows: Any) -> list[list[Any]]:
    """Rows as the arrays that one statement takes."""
    return [list(column) for column in zip(*rows, strict=True)]
