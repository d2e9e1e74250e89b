"""Words for crash points: a process that dies at any boundary, and the one that comes after it.

A boundary is a commit of ours that wrote, or a call to Stripe.  A play performs a flow of several
acts on a fresh stage, and at one boundary the process dies, or is told that nobody answered.  Then
another process starts once all leases are over, is told all events again and works until nothing
moves.  Whoever asked is told an error and asks again, or is told nothing: then what left a trace
has to go on by itself, and what left none is asked for again.
"""

import asyncio
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any, Literal

import stripe
from sqlmodel.ext.asyncio.session import AsyncSession

from api import worker
from api.runtime import Runtime
from api.settings import Settings
from api.worker import Duty
from sandbox.control import Sandbox
from takings.database import Database, DatabaseAway, fetch
from takings.errors import Unavailable
from takings.payments import objects, webhooks
from takings.payments.asks import LEASE
from takings.payments.stripe import Stripe
from tests import stories

Way = Literal["before", "after", "lost"]
"""Nothing of it happens; or all of it, and then nothing more; or we are told that nobody answers.

What is lost had its effect.
"""

ROUNDS = 6
"""A process that still finds something to do after as many rounds will never be done."""


class Died(BaseException):
    """The process is no more: nothing catches this, and nothing is done after it."""


@dataclass
class Fate:
    """At which boundary the process dies, and how; the boundaries that it has met until then."""

    at: int | None = None
    way: Way = "before"
    met: list[str] = field(default_factory=list)
    kept: int = 0  # those of them that had an effect
    on: bool = False  # whether boundaries count
    dead: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def struck(self) -> bool:
        """Whether it has come true."""
        return self.at is not None and len(self.met) >= self.at

    def comes(self, what: str) -> bool:
        """A boundary comes; say whether it is the one."""
        if self.dead.is_set():
            raise Died
        if not self.on:
            return False
        mine = not self.struck and len(self.met) + 1 == self.at
        self.met.append(what)
        if mine and self.way == "before":
            self.die()
        return mine

    def passed(self, mine: bool, lost: Exception, *, effect: bool) -> None:
        """It has had its effect."""
        self.kept += effect
        if mine and self.way == "lost":
            raise lost
        if mine or self.dead.is_set():
            self.die()

    def die(self) -> None:
        """From here on nothing that this process begins has any effect."""
        self.dead.set()
        raise Died


class Mortal(Database):
    """A database that can be the last thing that a process has seen; all that writes commits."""

    fate: Fate

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """One transaction, and a boundary if it has written anything."""
        wrote = mine = False
        async with super().transaction() as session:
            yield session
            await session.flush()
            wrote = (await fetch(session, WROTE))[0].wrote
            if wrote:
                mine = self.fate.comes(f"commit of {owner()}")
        if wrote:
            self.fate.passed(mine, DatabaseAway(), effect=True)

    async def fetch(self, sql: str, *args: Any) -> Any:
        """A statement of its own commits as well."""
        return await self.run(fetch, sql, *args)


def owner() -> str:
    """Whose transaction is about to be committed."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001
    while frame is not None:
        floor, _, module = frame.f_globals["__name__"].rpartition(".")
        if floor.startswith(("takings.", "tipping")):
            return f"{module}.{frame.f_code.co_name}"
        frame = frame.f_back
    return "somebody"


WROTE = "SELECT pg_current_xact_id_if_assigned() IS NOT NULL AS wrote"


def mortal(door: Stripe, fate: Fate) -> Stripe:
    """The door, each call through which is a boundary."""
    calling = door._http.request_with_retries_async  # noqa: SLF001

    async def call(method: str, url: str, *args: Any, **named: Any) -> Any:
        path = re.sub(r"_\w{14,}", "_…", url.partition("/v")[2].partition("?")[0])
        mine = fate.comes(f"{method.upper()} /v{path}")
        answer = await calling(method, url, *args, **named)
        effect = method.upper() == "POST"
        fate.passed(mine, stripe.APIConnectionError("lost"), effect=effect)
        return answer

    door._http.request_with_retries_async = call  # type: ignore[method-assign] # noqa: SLF001
    return door


@dataclass
class Play:
    """One performance of a flow on a stage of its own, in which the process may die once.

    The worker that comes after the dead one lacks the duties ``without``; so do those after it.
    """

    settings: Settings
    box: Sandbox
    fate: Fate
    without: Collection[str] = ()
    clock: datetime = field(default_factory=lambda: datetime.now(UTC))
    wrong: list[str] = field(default_factory=list)
    runtime: Runtime = field(init=False)
    _life: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def begin(self) -> None:
        """A process starts."""
        database = Mortal(self.settings.database_url or "", connections=12)
        database.fate = self.fate
        door = Stripe("sk_test_takings", base=self.box.url)
        await self._life.enter_async_context(database)
        await self._life.enter_async_context(mortal(door, self.fate))
        self.runtime = Runtime(self.settings, database, door, clock=lambda: self.clock)

    async def end(self) -> None:
        """The process is gone; its connections are too."""
        await self._life.aclose()

    async def act(self, what: Callable[[Runtime], Awaitable[object]]) -> None:
        """Somebody asks for something; told of an error, or nothing being there, once more."""
        kept = self.fate.kept
        if not await self._survives(what(self.runtime)):
            left_nothing = self.fate.kept == kept
            await self.recover()
            if left_nothing or self.fate.way == "lost":
                await what(self.runtime)

    async def hear(self, **later: int) -> None:
        """Time passes, and the worker does what is due."""
        self.pass_time(timedelta(**later))
        if not await self._survives(self._work()):
            await self.recover()

    def pass_time(self, time: timedelta) -> None:
        """It is later, here and at Stripe."""
        self.clock += time
        self.box.advance(int(time.total_seconds()))

    async def _survives(self, what: Awaitable[object]) -> bool:
        """Whether it came to its end, as far as we have heard."""
        others = asyncio.all_tasks()
        dead = asyncio.ensure_future(self.fate.dead.wait())
        doing = asyncio.ensure_future(what)
        await asyncio.wait({dead, doing}, return_when=asyncio.FIRST_COMPLETED)
        dead.cancel()
        if self.fate.dead.is_set():
            await _buried(asyncio.all_tasks() - others)
            return False
        try:
            await doing
        except Unavailable:
            if not self.fate.struck:
                raise
            return False
        return True

    async def recover(self) -> None:
        """Another process starts when all leases are over, and carries on what was left behind."""
        await self.end()
        self._life, self.fate.dead = AsyncExitStack(), asyncio.Event()
        self.pass_time(LEASE + timedelta(seconds=5))
        await self.begin()
        if self.fate.at and self.fate.at % 2:  # Stripe is slow to tell, and duties have no order
            await self._do(reversed(worker.DUTIES))
        await self.quiet()
        await self.check("after the restart")

    async def quiet(self) -> None:
        """The worker works until nothing moves."""
        before = None
        now = await self.runtime.database.fetch(MOVING)
        for _ in range(ROUNDS):
            if now == before and not now[0].asks and not now[0].due:
                return
            before = now
            await self._work()
            self.pass_time(LEASE + timedelta(seconds=5))
            now = await self.runtime.database.fetch(MOVING)
        self.wrong.append(f"still at it after {ROUNDS} rounds: {before}")

    async def _work(self) -> None:
        """Every event is told, and everything that is due is done once."""
        if not (self.fate.struck and "events" in self.without):
            told = [objects.notice(event) for event in self.box.events]
            told += [objects.notice(event, thin=True) for event in self.box.notifications]
            notices = [("connect" if one.account else "account", one) for one in told]
            await webhooks.receive(self.runtime.database, notices, now=self.clock)
            while await worker._events(self.runtime, self.clock):  # noqa: SLF001
                pass
        await self._do(worker.DUTIES)

    async def _do(self, duties: Iterable[Duty]) -> None:
        for duty in duties:
            if not (self.fate.struck and duty.name in self.without):
                await duty.act(self.runtime, self.clock)

    async def check(self, when: str) -> None:
        """Nothing is wrong in the books."""
        found = await stories.guilty(self.runtime.database, short=True)
        self.wrong += [f"{when}: {name}: {rows}" for name, rows in found.items()]

    async def last_look(self) -> Counter[str]:
        """Nothing moves any more, and nothing is wrong; all that there is in the end."""
        self.fate.on = False
        await self.quiet()
        await self.check("in the end")
        return await self.seen()

    async def seen(self) -> Counter[str]:
        """All that there is in the end, here and at Stripe, without the ids that nobody chose."""
        journal = (await stories.told(self.runtime.database)).replace("\n  ", " | ").split("\n")
        rows = await self.runtime.database.fetch(ROWS)
        at_stripe = [
            " ".join([kind, *(f"{name}={row[name]}" for name in SHOWN if name in row)])
            for (_, kind), table in self.box.state.tables.items()
            for row in table.rows
            if kind in KINDS
        ]
        return Counter(map(nameless, [*journal, *(row.seen for row in rows), *at_stripe]))


async def _buried(tasks: Collection[asyncio.Task[Any]]) -> None:
    """What the dead process had under way is over: answered in vain, or waiting for nobody."""
    if tasks:
        _, waiting = await asyncio.wait(tasks, timeout=1)
        for one in waiting:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def nameless(text: str) -> str:
    """What is told, without the ids that are made anew every time."""
    return re.sub(r"\b[a-z]+_\w{14,}", "…", text)


KINDS = ("payment_intent", "charge", "refund", "dispute", "transfer", "transfer_reversal")
SHOWN = ("amount", "currency", "status", "amount_refunded", "amount_reversed", "transfer_group")

MOVING = """
SELECT (SELECT count(*) FROM entries) AS entries,
       (SELECT count(*) FROM asks WHERE answered_at IS NULL) AS asks,
       (SELECT count(*) FROM events WHERE status IN ('received', 'failed')) AS due
"""

ROWS = """
SELECT format('%s %s %s', a.name, sum(b.minor), a.currency) AS seen
  FROM accounts a JOIN balances b ON b.account_id = a.id GROUP BY a.name, a.currency
HAVING sum(b.minor) <> 0
 UNION ALL SELECT format('payment %s %s', state, minor) FROM payments
 UNION ALL SELECT format('refund %s %s %s', state, minor, reason) FROM refunds
 UNION ALL SELECT format('dispute %s %s %s', status, taken, frozen) FROM disputes
 UNION ALL SELECT format('payout %s %s %s', host_id, state, minor) FROM payouts
 UNION ALL SELECT format('transfer %s %s %s', state, minor, reversed) FROM transfers
 UNION ALL SELECT format('reversal %s %s', state, minor) FROM reversals
 UNION ALL SELECT format('ask %s %s', call, answered_at IS NOT NULL) FROM asks
 UNION ALL SELECT format('event %s %s', type, status) FROM events
"""
