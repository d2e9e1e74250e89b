"""A stage for many short plays about tickets: one database, one sandbox, a clock that goes on.

Each play has a Space of its own.  After one that failed everything is made anew, so that what it
has left behind is nobody else's trouble.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

import sandbox
from api.runtime import Runtime
from api.settings import sealed
from api.settlement import SETTLEMENT
from sandbox.control import Sandbox
from takings.database import Database
from takings.embedded import Server
from takings.errors import TakingsError
from takings.ledger import checks
from takings.payments import objects, webhooks
from takings.spaces import spaces
from takings.spaces.agreements import Share
from tests import box_office, conftest, stories
from tests.paper_office import Office
from tests.paper_pools import Code, Pool, Run, Tier
from ticketing import codes, pools, runs
from ticketing.checks import CHECKS
from ticketing.codes import CodeWish
from ticketing.wishes import RunWish, TierWish

Result = TypeVar("Result")
Thing = TypeVar("Thing")

GALA = (TierWish("Gala", "fixed", 90_000, "tier_gala"),)
"""What the platform earns with it pays Stripe's fees for all that is refunded."""


@dataclass
class Stage:
    """Where plays are played; ``bug`` is one that is planted: a function, a text, another text."""

    server: Server
    template: str
    bug: tuple[str, ...] = ()
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    clean: bool = False
    plays: int = 0
    heard: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    runtime: Runtime = field(init=False)
    box: Sandbox = field(init=False)
    now: datetime = field(init=False)

    def do(self, act: Coroutine[Any, Any, Result]) -> Result:
        """What comes of an act, from a thread beside the loop."""
        return asyncio.run_coroutine_threadsafe(act, self.loop).result(timeout=120)

    async def open(self) -> None:
        """Make everything anew."""
        await self.stack.aclose()
        name = f"stage_{os.getpid()}"
        await self.server.drop(name)
        await self.server.create(name, template=self.template)
        self.stack.push_async_callback(self.server.drop, name)
        if self.bug:
            await plant(self.server.url(name, "owner"), *self.bug)
        self.box = await self.stack.enter_async_context(sandbox.running())
        database = await self.stack.enter_async_context(Database(self.server.url(name, "app")))
        stripe = await self.stack.enter_async_context(conftest.door(self.box))
        self.runtime = Runtime(sealed(), database, stripe)
        told = {"space": "spc_gala", "name": "run_gala", "size": 10, "tiers": GALA}
        await box_office.planned(self.runtime, **told)
        await box_office.bought(self.runtime, self.box, "gala", run="run_gala", quantity=10)
        self.now = self.runtime.now().replace(microsecond=0) + timedelta(seconds=1)
        self.heard = len(self.box.events)

    async def hear(self, now: datetime) -> None:
        """What the sandbox has told since, stored and handled; and nothing else."""
        news = self.box.events[self.heard :]
        self.heard += len(news)
        notices = [("account", objects.notice(event)) for event in news]
        if notices:
            await webhooks.receive(self.runtime.database, notices, now=now)
        door, settlement = self.runtime.stripe, SETTLEMENT
        while await webhooks.process(self.runtime.database, door, settlement, now=now):
            pass

    async def begin(self) -> Office:
        """A play begins: a Space for six, with two runs, tiers and codes, in both offices."""
        if not self.clean:
            await self.open()
        self.clean, self.plays = False, self.plays + 1
        mark, database, now = f"s{self.plays}", self.runtime.database, self.now
        shares = [Share("host_ada", 6000), Share("host_bob", 4000)]
        told = {"host": "host_ada", "title": "A talk", "policy": box_office.HOUSE.name}
        start = now + timedelta(hours=12)
        await spaces.schedule(database, mark, shares=shares, starts_at=start, now=now, **told)  # type: ignore[arg-type]
        await stories.signed(database, mark, now)
        await pools.cap_space(database, mark, 6, now=now)
        office = Office(mark, now, start, Pool(6), [one(mark, now), two(mark)])
        for run in office.runs:
            await runs.open(database, wish(mark, run), now=now)
            for text, code in run.codes.items():
                named = {"rate_bps": code.rate_bps, "size": code.pool.quota}
                await codes.make(database, CodeWish(code.id, run.id, text, **named), now=now)  # type: ignore[arg-type]
        return office

    async def rows(self, mark: str) -> tuple[Sequence[Any], dict[str, Any]]:
        """All of a play, by its names on paper; and what the service's own checks find wrong."""
        rows = await self.runtime.database.fetch(TOLD, mark)
        async with self.runtime.database.transaction() as session:
            found = [check async for check in checks.run(session, CHECKS) if not check.holds]
        return rows, {check.check.name: check.guilty for check in found}

    async def missing(self, mark: str) -> list[str]:
        """Whoever has paid Stripe more than their tickets of a play cost, or less."""
        kept = await self.runtime.database.fetch(MONEY, mark)
        paid = {row.intent_id: 0 for row in kept}
        for charge in self.box.state.table("charge").rows:
            if charge["payment_intent"] in paid and charge["paid"]:
                paid[charge["payment_intent"]] += charge["amount"] - charge["amount_refunded"]
        return [row.listener for row in kept if paid[row.intent_id] != (row.kept or 0)]


def one(mark: str, now: datetime) -> Run:
    soon = now + timedelta(hours=1)
    tiers = [
        Tier(f"{mark}_early", "fixed", 600, Pool(2), soon),
        Tier(f"{mark}_seat", "fixed", 1000, Pool(None)),
        Tier(f"{mark}_free", "free", 0, Pool(1)),
        Tier(f"{mark}_comp", "comp", 0, Pool(2)),
    ]
    half, gift = Code(f"{mark}_half", 5000, Pool(2)), Code(f"{mark}_gift", 10_000, Pool(1))
    named = {"per_listener": 3, "hold_s": 600, "offer_s": 1800, "refund_until_h": 2}
    return Run(f"{mark}_one", Pool(4), tiers, {"HALF": half, "GIFT": gift}, **named)


def two(mark: str) -> Run:
    tiers = [Tier(f"{mark}_stalls", "fixed", 1500, Pool(None))]
    named = {"per_listener": None, "hold_s": 900, "offer_s": 900, "refund_until_h": None}
    return Run(f"{mark}_two", Pool(4), tiers, {}, **named)  # type: ignore[arg-type]


def wish(space: str, run: Run) -> RunWish:
    """A run of the paper office, as the real one is asked for it."""
    tiers = [
        TierWish(t.id, t.kind, t.minor, t.id, t.pool.quota, closes_at=t.closes_at)  # type: ignore[arg-type]
        for t in run.tiers
    ]
    limits = ("per_listener", "hold_s", "offer_s", "refund_until_h")
    named = {name: getattr(run, name) for name in limits}
    return RunWish(run.id, space, run.pool.quota or 0, tiers, "eur", **named)


async def plant(owner: str, function: str, old: str, new: str) -> None:
    """A function of the database's is another one from now on."""
    async with Database(owner, connections=1) as database:
        rows = await database.fetch("SELECT pg_get_functiondef($1::regproc) AS sql", function)
        assert old in rows[0].sql
        await database.fetch(rows[0].sql.replace(old, new))


def chosen(pick: int, good: Sequence[Thing], every: Sequence[Thing]) -> Thing:
    """One of the good, where there are any, and sometimes one of all."""
    some = every if not good or pick % 6 == 0 else good
    return some[pick // 6 % len(some)]


async def answer(act: Coroutine[Any, Any, Any], says: Callable[[Any], str]) -> str:
    """What comes of it, or the code of the refusal."""
    try:
        return says(await act)
    except TakingsError as error:
        return error.code


async def soon(act: Callable[..., Any], *args: Any) -> Any:
    return act(*args)


TOLD = """
SELECT 'pool ' || p.id AS name, p.id,
       format('%s held, %s sold of %s', held, sold, coalesce(quota::text, 'None')) AS said
  FROM pools p WHERE p.id LIKE $1 || '\\_%' OR p.id = 'space:' || $1
 UNION ALL
SELECT coalesce('offer:' || w.id, 'comp:' || b.id, h.id), h.id,
       format('%s %s × %s at %s by %s, %s back, %s%s', h.state, h.quantity, h.tier_id, h.minor,
              h.listener_id, h.returned, (extract(epoch FROM h.expires_at) * 1000000)::bigint,
              CASE WHEN h.paying THEN ', paying' END)
  FROM holds h
  JOIN runs r ON r.id = h.run_id AND r.space_id = $1
  JOIN tiers t ON t.id = h.tier_id
  LEFT JOIN waiting w ON w.hold_id = h.id
  LEFT JOIN purchases b ON b.hold_id = h.id AND t.kind = 'comp'
 UNION ALL
SELECT b.id, b.id, CASE WHEN b.settled_at IS NOT NULL THEN 'settled'
                        WHEN b.unseated_at IS NOT NULL THEN 'unseated'
                        WHEN b.cancelled_at IS NOT NULL THEN 'cancelled' ELSE 'open' END
  FROM purchases b JOIN holds h ON h.id = b.hold_id JOIN runs r ON r.id = h.run_id
 WHERE r.space_id = $1
 UNION ALL
SELECT t.purchase_id || '/' || row_number() OVER (PARTITION BY t.purchase_id ORDER BY t.id), t.id,
       format('%s %s of %s, %s, %s%s', t.state, coalesce(t.number::text, 'None'), t.listener_id,
              t.serial, coalesce(o.cause, 'None'), CASE WHEN a.id IS NOT NULL THEN ' used' END)
  FROM tickets t
  JOIN runs r ON r.id = t.run_id AND r.space_id = $1
  LEFT JOIN ticket_refunds o ON o.ticket_id = t.id
  LEFT JOIN admissions a ON a.ticket_id = t.id
 UNION ALL
SELECT w.id, w.id, w.state FROM waiting w JOIN runs r ON r.id = w.run_id WHERE r.space_id = $1
 UNION ALL
SELECT 'run ' || r.id, r.id, (r.cancelled_at IS NOT NULL)::text FROM runs r WHERE r.space_id = $1
 UNION ALL
SELECT 'space', s.id, s.state FROM spaces s WHERE s.id = $1
"""

MONEY = """
SELECT p.intent_id, h.listener_id AS listener, sum(t.minor) FILTER (WHERE t.state = 'valid') AS kept
  FROM purchases b
  JOIN payments p ON p.id = b.payment_id
  JOIN holds h ON h.id = b.hold_id
  JOIN runs r ON r.id = h.run_id
  JOIN tickets t ON t.purchase_id = b.id
 WHERE r.space_id = $1 GROUP BY p.id, h.listener_id
"""
