"""The words that stories are told in: a room, its listeners, and the journal printed as text."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from api import worker
from api.checks import CHECKS
from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.database import Database, fetch
from takings.ledger import checks
from takings.money import Money
from takings.payments import objects, webhooks
from takings.records import new_id
from takings.spaces import agreements, hosts, spaces
from takings.spaces.agreements import Share
from tipping import tips
from tipping.tips import Sent, Wish

CLUBHOUSE = "clubhouse-2021"


async def room(
    database: Database,
    now: datetime,
    *,
    shares: Sequence[tuple[str, int]] = (("host_ada", 6000), ("host_bob", 4000)),
    policy: str = CLUBHOUSE,
    space: str = "spc_one",
) -> str:
    """A live Space whose money is shared like that."""
    for host, _ in shares:
        await hosts.register(database, host, host.removeprefix("host_").title(), now=now)
    parts = [Share(host, weight) for host, weight in shares]
    first = shares[0][0]
    await spaces.schedule(
        database, space, host=first, title="A room", shares=parts, policy=policy, now=now
    )
    await signed(database, space, now)
    await spaces.move(database, space, "live", now=now)
    return space


async def signed(database: Database, space: str, now: datetime) -> int:
    """All who have to sign the newest version of the Space's agreement do; its number."""
    version = await database.run(agreements.newest, space)
    for host in version.waiting_for:
        await agreements.sign(database, space, version.number, host, now=now)
    return version.number


async def agreed(
    database: Database,
    now: datetime,
    shares: Mapping[str, int],
    *,
    space: str = "spc_one",
    expected: int | None = None,
) -> int:
    """The Space is shared like that from now on, as all have signed; the version's number."""
    parts = [Share(host, weight) for host, weight in shares.items()]
    await agreements.amend(database, space, parts, expected=expected, now=now)
    return await signed(database, space, now)


async def tip(
    runtime: Runtime,
    minor: int,
    *,
    name: str | None = None,
    currency: str = "eur",
    space: str = "spc_one",
    now: datetime | None = None,
) -> Sent:
    """A listener tips, to pay with a PaymentIntent."""
    wish = Wish(
        id=name or new_id("tip"),
        space=space,
        listener="lis_zoe",
        money=Money(minor, currency),
        surface="intent",
    )
    return await tips.send(runtime.database, runtime.stripe, wish, now=now or runtime.now())


async def paid_tip(runtime: Runtime, box: Sandbox, minor: int, **named: object) -> Sent:
    """A tip that is sent, paid by card, and settled, its cash booked."""
    sent = await tip(runtime, minor, **named)  # type: ignore[arg-type]
    box.pay(sent.payment.intent_id)
    await hear(runtime, box)
    return await tips.get(runtime.database, sent.tip.id)


async def hear(runtime: Runtime, box: Sandbox, *, now: datetime | None = None) -> None:
    """Every event that the sandbox has, stored and handled; and what else is due."""
    moment = now or runtime.now()
    told = [objects.notice(event) for event in box.events]
    told += [objects.notice(event, thin=True) for event in box.notifications]
    notices = [("connect" if one.account else "account", one) for one in told]
    await webhooks.receive(runtime.database, notices, now=moment)
    await worker.drain(runtime, moment)


async def told(database: Database) -> str:
    """The journal as text: each entry's key, then its postings; in the order of the keys."""
    rows = await database.run(fetch, JOURNAL)
    lines: list[str] = []
    for row in rows:
        if row.n == 1:
            lines.append(row.key)
        lines.append(f"  {row.name} {row.minor:+d} {row.currency}")
    return "\n".join(lines)


JOURNAL = """
SELECT e.key, p.n, a.name, p.minor, p.currency
  FROM entries e
  JOIN postings p ON p.entry_id = e.id AND p.posted_at = e.posted_at
  JOIN accounts a ON a.id = p.account_id
 ORDER BY e.key, p.n
"""


async def guilty(
    database: Database, *, short: bool = False
) -> dict[str, tuple[tuple[str, str], ...]]:
    """What the books' own checks find wrong: nothing, if all is well.

    ``short``: the platform has borne fees or losses without money of its own, and the check that
    says so is right.
    """
    async with database.transaction() as session:
        return {
            found.check.name: found.guilty
            async for found in checks.run(session, CHECKS)
            if not (found.holds or (short and found.check.name == "covered"))
        }


def later(**delta: int) -> datetime:
    """An instant from now on."""
    return datetime.now(UTC) + timedelta(**delta)


async def many_paid(runtime: Runtime, box: Sandbox, many: int, minor: int = 500) -> list[str]:
    """That many tips of one amount, paid, settled and cashed; their payments."""
    sent = [await tip(runtime, minor) for _ in range(many)]
    for one in sent:
        box.pay(one.payment.intent_id)
    await hear(runtime, box)
    return [one.payment.id for one in sent]


async def end(runtime: Runtime, box: Sandbox, space: str = "spc_one") -> None:
    """The room ends, a month passes, and what was held is released."""
    await spaces.move(runtime.database, space, "ended", now=runtime.now())
    await hear(runtime, box, now=later(days=31))


async def owed(database: Database, currency: str) -> dict[str, int]:
    """What we owe each host in all, in minor units."""
    rows = await database.run(fetch, OWED, currency)
    return {row.host: row.minor for row in rows}


OWED = """
SELECT split_part(a.name, ':', 3) AS host, -sum(b.minor)::bigint AS minor
  FROM accounts a JOIN balances b ON b.account_id = a.id
 WHERE a.name LIKE 'liabilities:host:%' AND a.currency = $1 GROUP BY 1 ORDER BY 1
"""
