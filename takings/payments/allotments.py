"""Allotments: who is credited what for a line, and where that money is.

A line is divided when it is earned: first over the hosts by the agreement's weights, then each
host's share into commission and the rest, at that host's own lifetime counter.  What is credited
then is the weight of everything that later comes back.

A line for which nothing could be given is on its way back before it is earned: its hosts are
credited all of it, gross zero, so that neither commission nor counter ever knew of it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel.ext.asyncio.session import AsyncSession

from takings import commission, splits
from takings.database import fetch
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
    return accounts.of_host(host, accounts.OWING) if host else RELEASED.get(account, account)


@dataclass(frozen=True, slots=True)
class Allotment:
    """What one account was credited for a line; ``host`` is set where it is a host's share."""

    line: str
    position: int
    host: str | None
    account: str
    gross: int
    credited: int

    @property
    def held(self) -> int:
        """What waits to be released."""
        return 0 if later(self.host, self.account) == self.account else self.credited

    def postings(self, currency: str) -> tuple[Posting, ...]:
        """The credit, as it is posted when the line is earned; none where commission ate it all."""
        return moving(self.account, Money(-self.credited, currency), self.line)


Counters = dict[tuple[str, str], int]

COUNT = """
INSERT INTO lifetime_sales AS l (host_id, currency, minor)
SELECT host_id, currency, sum(minor)
  FROM unnest($1::text[], $2::text[], $3::bigint[]) AS g (host_id, currency, minor)
 GROUP BY host_id, currency ORDER BY host_id, currency
ON CONFLICT (host_id, currency) DO UPDATE SET minor = l.minor + excluded.minor
RETURNING host_id, currency, minor
"""

# Our connections plan every statement anew; so they do for a foreign key's check, for every row.
PLANS = "SELECT set_config('plan_cache_mode', $1, true)"

WRITE = """
INSERT INTO allotments (line_id, position, host_id, account, gross, credited, taken, held)
SELECT line, position, host, account, gross, credited, 0, held
  FROM unnest($1::text[], $2::smallint[], $3::text[], $4::text[], $5::bigint[], $6::bigint[],
              $7::bigint[]) AS a (line, position, host, account, gross, credited, held)
"""


async def earn(
    session: AsyncSession, lines: Sequence[Line], unserved: Collection[str] = ()
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
        allotted[line.id] = _allot(line, grosses[line.id], known)
    rows = [a for parts in allotted.values() for a in parts]
    await fetch(session, PLANS, "auto")
    await fetch(
        session,
        WRITE,
        *columns(
            (a.line, a.position, a.host, a.account, a.gross, a.credited, a.held) for a in rows
        ),
    )
    await fetch(session, PLANS, "force_custom_plan")
    return allotted


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


def _allot(line: Line, grosses: Sequence[int], counters: Counters | None) -> list[Allotment]:
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
            account = accounts.of_host(host, "held")
            parts.append(Allotment(line.id, place, host, account, counted, gross - kept))
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


LOCK = """
SELECT a.line_id, a.position, a.host_id, a.account, a.gross, a.credited, a.taken, a.held,
       p.released_at IS NOT NULL AS released
  FROM allotments a JOIN lines l ON l.id = a.line_id JOIN payments p ON p.id = l.payment_id
 WHERE a.line_id = $1 ORDER BY a.position FOR UPDATE OF a
"""

MOVE = """
UPDATE allotments a SET taken = a.taken + m.taken, held = a.held + m.held
  FROM unnest($2::smallint[], $3::bigint[], $4::bigint[]) AS m (position, taken, held)
 WHERE a.line_id = $1 AND a.position = m.position
"""

UNCOUNT = """
UPDATE lifetime_sales l SET minor = l.minor + m.minor
  FROM unnest($1::text[], $2::bigint[]) AS m (host_id, minor)
 WHERE l.host_id = m.host_id AND l.currency = $3
"""


async def return_until(
    session: AsyncSession, line: str, currency: str, total: int, *, keep_fees: bool
) -> tuple[Posting, ...]:
    """Take from each, or give back to each, until ``total`` of the line has been returned.

    A host's part comes out of what the line still holds, then out of the host's available money,
    the only one that may go below zero; deferred commission out of what is deferred, then out of
    income.  What is given back goes where the line's money is now.
    ``keep_fees`` takes the covered card fee last: the listener bears it in a refund of ours, but
    a refund made at Stripe may return it all the same.
    Answers with the postings, which sum to what changed.
    """
    rows = await fetch(session, LOCK, line)
    deltas = _clawback(rows, total, keep_fees=keep_fees)
    before, whole = sum(row.taken for row in rows), sum(row.credited for row in rows)
    postings: list[Posting] = []
    moved: list[tuple[int, int, int]] = []
    counted: list[tuple[str, int]] = []
    for row, delta in zip(rows, deltas, strict=True):
        elsewhere = later(row.host_id, row.account)
        back = 0 if row.released or elsewhere == row.account else delta
        held = min(delta, row.held) if delta > 0 else back
        moved.append((row.position, delta, -held))
        postings += moving(row.account, Money(held, currency), line)
        postings += moving(elsewhere, Money(delta - held, currency), line)
        if row.host_id is not None:
            share = _share(row.gross, before, whole) - _share(row.gross, total, whole)
            counted.append((row.host_id, share))
    if moved:
        await fetch(session, MOVE, line, *columns(moved))
    if counted:
        await fetch(session, UNCOUNT, *columns(sorted(counted)), currency)
    return tuple(postings)


def _clawback(rows: Sequence[Any], total: int, *, keep_fees: bool) -> list[int]:
    """What each allotment still gives; all of them by their weights, or the covered fee last."""
    late = [keep_fees and row.account == accounts.FEES_COVERED for row in rows]
    early = [row for row, last in zip(rows, late, strict=True) if not last]
    base = sum(row.credited for row in early)
    weights, taken = [row.credited for row in early], [row.taken for row in early]
    shared = iter(splits.clawback(min(total, base), weights, taken))
    return [
        max(0, total - base) - row.taken if last else next(shared)
        for row, last in zip(rows, late, strict=True)
    ]


def _share(gross: int, returned: int, whole: int) -> int:
    """How much of a host's gross share went with what has been returned of the line."""
    return splits.divide(gross, (returned, whole - returned))[0]
