"""The words for stories of payouts: evenings that were earned, and what is paid of them."""

import re
from collections.abc import Sequence
from datetime import datetime

from api import worker
from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.commission import FeeSchedule
from takings.database import Database, fetch
from takings.payments import objects, webhooks
from takings.payouts import lines, onboarding, payouts
from takings.payouts.tables import Payout
from takings.policies import policies
from takings.policies.rules import Policy, Schedule, Terms
from takings.records import new_id
from takings.spaces import spaces
from tests import stories

PAYING = ("payout_day", "payouts", "transfers", "recoveries")
"""The worker's duties that pay by themselves: these stories say when that happens."""

ADA = (("host_ada", 10_000),)
WORLD = "the-world"
ELSEWHERE = {"isk": 100, "kwd": 1000, "twd": 100, "huf": 100, "jpy": 1, "eur": 100}
AT_ONCE = "pm_card_bypassPending"  # a card whose money Stripe makes available at once


async def evening(
    runtime: Runtime,
    box: Sandbox,
    *minors: int,
    shares: Sequence[tuple[str, int]] = ADA,
    currency: str = "eur",
    policy: str = stories.CLUBHOUSE,
) -> list[str]:
    """A room whose tips are paid and released when it has ended; the payments."""
    space = new_id("spc")
    await stories.room(runtime.database, runtime.now(), shares=shares, policy=policy, space=space)
    sent = [await stories.tip(runtime, minor, currency=currency, space=space) for minor in minors]
    for one in sent:
        box.pay(one.payment.intent_id, payment_method=AT_ONCE)
    await hear(runtime, box)
    await spaces.move(runtime.database, space, "ended", now=runtime.now())
    await hear(runtime, box)
    return [one.payment.id for one in sent]


async def world(
    runtime: Runtime, box: Sandbox, *, schedule: Schedule = "daily", payout_minimum: int = 0
) -> str:
    """A policy that sells in currencies of every kind; nobody keeps anything of it, nor Stripe."""
    for currency in ELSEWHERE:
        box.fee(currency, basis_points=0, fixed=0)
    free = FeeSchedule(rate_bps=0, fixed=0)
    terms = {
        currency: Terms(fee=free, minimum=1, maximum=100_000 * unit, payout_minimum=payout_minimum)
        for currency, unit in ELSEWHERE.items()
    }
    policy = Policy(WORLD, 1, "For tests.", terms, fee_bearer="platform", payout_schedule=schedule)
    await policies.publish(runtime.database, policy, now=runtime.now())
    return WORLD


async def hear(runtime: Runtime, box: Sandbox, *, now: datetime | None = None) -> None:
    """Every event is handled, and whatever is due is done, but for the paying."""
    moment = now or runtime.now()
    told = [objects.notice(event) for event in box.events]
    told += [objects.notice(event, thin=True) for event in box.notifications]
    notices = [("connect" if one.account else "account", one) for one in told]
    await webhooks.receive(runtime.database, notices, now=moment)
    while await worker._events(runtime, moment):  # noqa: SLF001
        pass
    for duty in worker.DUTIES:
        if duty.name not in PAYING:
            await duty.act(runtime, moment)


async def paying(runtime: Runtime, now: datetime | None = None) -> None:
    """The worker's paying duties, once each."""
    for duty in worker.DUTIES:
        if duty.name in PAYING:
            await duty.act(runtime, now or runtime.now())


async def payee(runtime: Runtime, box: Sandbox, host: str = "host_ada") -> str:
    """The host has an account at Stripe that can be sent money; its id."""
    page = await onboarding.link(
        runtime.database,
        runtime.stripe,
        host,
        country="de",
        email="host@example.com",
        refresh_url="https://example.com/again",
        return_url="https://example.com/done",
        now=runtime.now(),
    )
    box.capability(page.account)
    await hear(runtime, box)
    return page.account


async def pay(
    runtime: Runtime,
    name: str = "po_1",
    *,
    host: str = "host_ada",
    currency: str = "eur",
    actor: str = "key_ada",
    approval: payouts.Approval = {},  # noqa: B006 - never changed
) -> Payout:
    """A payout on request."""
    return await payouts.request(
        runtime.database,
        runtime.stripe,
        name,
        host,
        currency,
        actor=actor,
        approval=approval,
        now=runtime.now(),
    )


async def journal(database: Database) -> str:
    """What payouts have posted, in order, and the cash of it; ids that nobody chose left out."""
    told: list[str] = []
    for row in await database.run(fetch, JOURNAL):
        if row.n == 1:
            told.append(re.sub(r"(trf|tr|trr|txn)_\w+", "<id>", row.key))
        told.append(f"  {row.name} {row.minor:+d} {row.currency}")
    return "\n".join(told)


JOURNAL = """
SELECT e.key, p.n, a.name, p.minor, p.currency
  FROM entries e
  JOIN postings p ON p.entry_id = e.id AND p.posted_at = e.posted_at
  JOIN accounts a ON a.id = p.account_id
 WHERE e.key LIKE 'payout:%' OR e.key LIKE 'transfer:%' OR e.key LIKE 'reversal:%'
    OR e.kind = 'cash' AND e.metadata ->> 'category' LIKE 'transfer%'
 ORDER BY e.posted_at, e.key, p.n
"""


async def paid(runtime: Runtime, payout_id: str, *, page: int = 100) -> list[tuple[str, int]]:
    """Every line of a payout, its kind and what it adds; they sum to it."""
    found: list[tuple[str, int]] = []
    async with runtime.database.transaction() as session:
        payout = await payouts.get(session, payout_id)
        after: str | None = None
        while True:
            some = await lines.of(session, payout, after=after, limit=page)
            found += [(line.kind, line.money.minor) for line in some]
            if len(some) < page:
                break
            after = some[-1].id
        sums = await lines.waterfall(session, payout)
    assert sum(minor for _, minor in found) == payout.minor
    assert sum(money.minor for money in sums.values()) == payout.minor
    return found


async def available(database: Database, host: str = "host_ada", currency: str = "eur") -> int:
    """What the host could take, in minor units; below zero the host owes us."""
    rows = await database.fetch(AVAILABLE, f"liabilities:host:{host}:available", currency)
    return rows[0].minor if rows else 0


AVAILABLE = """
SELECT -b.minor AS minor FROM accounts a JOIN balances b ON b.account_id = a.id
 WHERE a.name = $1 AND a.currency = $2
"""
