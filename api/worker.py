"""The worker: a loop of acts, woken by PostgreSQL, with polling as the safety net.

Any number of workers may run.  Each act can be repeated and finishes what another left behind.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from api import acts
from api.runtime import Runtime
from api.settlement import READERS, SETTLEMENT
from takings.errors import TakingsError
from takings.ledger import months, seals
from takings.payments import captures, cash, parked, releases, sweeps, webhooks
from takings.payouts import batches, capabilities, onboarding, platform, reversals, transfers
from ticketing import cancellations, endings, holds, returns, waitlist
from tipping import tabs

log = structlog.get_logger()

POLL_S = 1.0
OPEN_FOR = timedelta(minutes=10)
EVENTS_KEPT = timedelta(days=29)

Act = Callable[[Runtime, datetime], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Duty:
    """Something that the worker does, and how often at least."""

    name: str
    every: timedelta
    act: Act


async def _lost_events(runtime: Runtime, now: datetime) -> int:
    since = now - sweeps.LOOK_BACK
    return await sweeps.lost_events(runtime.database, runtime.stripe, since=since, now=now)


async def _all_lost_events(runtime: Runtime, now: datetime) -> int:
    since = now - EVENTS_KEPT
    return await sweeps.lost_events(runtime.database, runtime.stripe, since=since, now=now)


async def _open_payments(runtime: Runtime, now: datetime) -> int:
    before = now - OPEN_FOR
    return await sweeps.open_payments(
        runtime.database, runtime.stripe, SETTLEMENT, before=before, now=now
    )


async def _late_seals(runtime: Runtime, now: datetime) -> int:
    return await seals.seal(runtime.database, now=now, behind=seals.SLOW)


async def _tell_seal(runtime: Runtime, _: datetime) -> int:
    """A log that is kept elsewhere is an anchor too."""
    last = await runtime.database.run(seals.head)
    log.info("journal_sealed", n=last.n, digest=last.digest.hex())
    return 0


DUTIES = (
    Duty("months", timedelta(days=1), lambda r, now: months.open_ahead(r.database, now=now)),
    Duty(
        "captures",
        timedelta(seconds=1),
        lambda r, now: captures.due(r.database, r.stripe, SETTLEMENT, now=now),
    ),
    Duty(
        "tabs",
        timedelta(seconds=1),
        lambda r, now: tabs.close_ended(r.database, r.stripe, now=now),
    ),
    Duty(
        "new_cash",
        timedelta(seconds=1),
        lambda r, now: sweeps.new_cash(r.database, r.stripe, SETTLEMENT, now=now),
    ),
    Duty("holds", timedelta(seconds=1), lambda r, now: holds.sweep(r.database, now=now)),
    Duty(
        "endings",
        timedelta(seconds=1),
        lambda r, now: endings.carry(r.database, r.stripe, now=now),
    ),
    Duty("offers", timedelta(seconds=2), lambda r, now: waitlist.serve(r.database, now=now)),
    Duty(
        "no_shows",
        timedelta(minutes=1),
        lambda r, now: cancellations.no_shows(r.database, now=now),
    ),
    Duty(
        "called_off", timedelta(seconds=1), lambda r, now: cancellations.carry(r.database, now=now)
    ),
    Duty(
        "ticket_refunds",
        timedelta(seconds=1),
        lambda r, now: returns.pay(r.database, r.stripe, now=now),
    ),
    Duty("mature", timedelta(seconds=5), lambda r, now: cash.mature(r.database, now=now)),
    Duty("release", timedelta(seconds=5), lambda r, now: releases.release(r.database, now=now)),
    Duty("claim", timedelta(seconds=10), lambda r, now: parked.claim(r.database, now=now)),
    Duty(
        "unclaimed",
        timedelta(minutes=1),
        lambda r, now: parked.expire(r.database, r.stripe, now=now),
    ),
    Duty("roll", timedelta(minutes=1), lambda r, now: releases.roll(r.database, now=now)),
    Duty("payout_day", timedelta(minutes=1), lambda r, now: batches.of_today(r.database, now=now)),
    Duty(
        "payouts",
        timedelta(seconds=1),
        lambda r, now: batches.write(r.database, r.settings.payout_approval, now=now),
    ),
    Duty(
        "transfers",
        timedelta(seconds=1),
        lambda r, now: transfers.send(r.database, r.stripe, now=now),
    ),
    Duty(
        "recoveries",
        timedelta(seconds=10),
        lambda r, now: reversals.recover(r.database, r.stripe, now=now),
    ),
    Duty(
        "unanswered",
        timedelta(seconds=10),
        lambda r, now: sweeps.unanswered(r.database, r.stripe, SETTLEMENT, now=now),
    ),
    Duty(
        "accounts_asked",
        timedelta(seconds=10),
        lambda r, now: onboarding.unanswered(r.database, r.stripe, now=now),
    ),
    Duty(
        "accounts",
        timedelta(minutes=10),
        lambda r, now: capabilities.sweep(r.database, r.stripe, now=now),
    ),
    Duty(
        "platform_payouts",
        timedelta(seconds=10),
        lambda r, now: platform.unanswered(r.database, r.stripe, now=now),
    ),
    Duty("answers", timedelta(hours=1), lambda r, now: acts.forget_answers(r.database, now=now)),
    Duty("lost_events", timedelta(seconds=60), _lost_events),
    Duty("all_lost_events", timedelta(hours=1), _all_lost_events),
    Duty("open_payments", timedelta(seconds=60), _open_payments),
    Duty(
        "all_cash",
        timedelta(minutes=15),
        lambda r, now: sweeps.all_cash(r.database, r.stripe, SETTLEMENT, now=now),
    ),
    Duty("seal", timedelta(seconds=1), lambda r, now: seals.seal(r.database, now=now)),
    Duty("seal_late", timedelta(hours=1), _late_seals),
    Duty("tell_seal", timedelta(hours=1), _tell_seal),
)


async def work(runtime: Runtime, stop: asyncio.Event) -> None:
    """Work until told to stop: events as they come, duties as they fall due.

    A duty that fails is logged and falls due again; it does not hold up the others.
    """
    due: dict[str, datetime] = {}
    async with woken(runtime) as bell:
        while not stop.is_set():
            busy = await _guarded("events", _events(runtime, runtime.now()))
            for duty in DUTIES:
                now = runtime.now()
                if due.get(duty.name, now) <= now and not stop.is_set():
                    await _guarded(duty.name, duty.act(runtime, now))
                    due[duty.name] = runtime.now() + duty.every
            if not busy:
                await _wait(bell, stop)


async def drain(runtime: Runtime, now: datetime) -> None:
    """Do everything that is due at an instant, until nothing is left: a worker without a clock."""
    while await _events(runtime, now):
        pass
    for duty in DUTIES:
        await duty.act(runtime, now)


async def _events(runtime: Runtime, now: datetime) -> int:
    database, door = runtime.database, runtime.stripe
    return await webhooks.process(database, door, SETTLEMENT, readers=READERS, now=now)


async def _guarded(name: str, act: Awaitable[int]) -> int:
    try:
        done = await act
    except TakingsError as error:
        log.warning("duty_failed", duty=name, error=error.code, why=error.message)
        return 0
    except Exception:
        log.exception("duty_broke", duty=name)
        return 0
    if done:
        log.info("duty_done", duty=name, count=done)
    return done


async def _wait(bell: asyncio.Event, stop: asyncio.Event) -> None:
    """Sleep until an event comes in, the poll is due, or it is time to stop."""
    waits = [asyncio.create_task(bell.wait()), asyncio.create_task(stop.wait())]
    await asyncio.wait(waits, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
    for task in waits:
        task.cancel()
    bell.clear()


@asynccontextmanager
async def woken(runtime: Runtime) -> AsyncIterator[asyncio.Event]:
    """An event that is set whenever a webhook has been stored, by whichever process."""
    bell = asyncio.Event()
    async with runtime.database.listening({webhooks.CHANNEL: lambda _: bell.set()}):
        yield bell
