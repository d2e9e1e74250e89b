"""The words that stories about tickets are told in: a run, who claims, what is left of it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.commission import Tier
from takings.database import Database, fetch
from takings.errors import TakingsError
from takings.policies import policies
from takings.policies.presets import PRESETS
from takings.spaces import hosts, spaces
from takings.spaces.agreements import Share
from tests import stories
from ticketing import holds, purchases, runs
from ticketing.holds import Claim
from ticketing.purchases import Bought, PurchaseWish
from ticketing.wishes import RunWish, TierWish

TERMS = replace(
    PRESETS[stories.CLUBHOUSE].terms["eur"],
    tiers=(Tier(up_to=None, rate_bps=1_000),),
    maximum=100_000,
)
HOUSE = replace(
    PRESETS[stories.CLUBHOUSE],
    name="house",
    fee_bearer="platform",
    refund_fee_bearer="platform",
    terms={"eur": TERMS},
)
"""The platform keeps a tenth and bears the card fee; what is refunded is all that was paid."""


async def planned(
    runtime: Runtime, *, starts_at: datetime | None = None, space: str = "spc_one", **named: Any
) -> str:
    """A Space that is still to come, that Ada and Bob share 60/40, and a run of it."""
    database, now = runtime.database, runtime.now()
    await policies.publish(database, HOUSE, now=now)
    for host in ("ada", "bob"):
        await hosts.register(database, f"host_{host}", host.title(), now=now)
    shares = [Share("host_ada", 6000), Share("host_bob", 4000)]
    told = {"host": "host_ada", "title": "A talk", "shares": shares, "policy": HOUSE.name}
    await spaces.schedule(database, space, **told, starts_at=starts_at, now=now)  # type: ignore[arg-type]
    await stories.signed(database, space, now)
    return await run(database, now, space=space, **named)


async def ordered(
    runtime: Runtime, name: str, *, run: str = "run_one", now: datetime | None = None, **named: Any
) -> Bought:
    """A purchase of tickets that were held a moment ago, to be paid with a PaymentIntent."""
    at = now or runtime.now()
    assert await claim(runtime.database, name, now=at, run=run, **named) == "held"
    wish = PurchaseWish(f"pur_{name}", f"hold_{name}", f"lis_{name}", surface="intent")
    return await purchases.open(runtime.database, runtime.stripe, wish, now=at)


async def bought(runtime: Runtime, box: Sandbox, name: str, **named: Any) -> Bought:
    """The same, paid where it costs anything, and settled."""
    made = await ordered(runtime, name, **named)
    if made.payment is not None:
        box.pay(made.payment.intent_id)
        await stories.hear(runtime, box)
    return await purchases.get(runtime.database, f"pur_{name}")


async def run(
    database: Database,
    now: datetime,
    *,
    size: int = 10,
    tiers: Sequence[TierWish] = (TierWish("Seat", "fixed", 1000, "tier_seat"),),
    name: str = "run_one",
    space: str = "spc_one",
    currency: str = "eur",
    **named: Any,
) -> str:
    """An open run of a live Space, which is made unless it is there."""
    if not await database.fetch("SELECT id FROM spaces WHERE id = $1", space):
        await stories.room(database, now, space=space)
    wish = RunWish(name, space, size, tiers, currency, **named)
    return (await runs.open(database, wish, now=now)).run.id


def seat(name: object) -> Sequence[TierWish]:
    """The only tier of a run beside another one."""
    return [TierWish("Seat", "fixed", 1000, f"tier_{name}")]


async def claim(
    database: Database,
    name: str,
    *,
    listener: str | None = None,
    now: datetime,
    run: str = "run_one",
    **named: Any,
) -> str:
    """What becomes of a claim: the hold's state, or the code of the refusal."""
    wish = Claim(f"hold_{name}", run, listener or f"lis_{name}", **named)
    try:
        return (await holds.claim(database, wish, now=now)).state
    except TakingsError as error:
        return error.code


async def left(database: Database, pool: str = "run_one") -> tuple[int | None, int, int]:
    """How many there are of something, how many are held, how many sold."""
    rows = await database.fetch("SELECT quota, held, sold FROM pools WHERE id = $1", pool)
    return rows[0].quota, rows[0].held, rows[0].sold


async def sold(
    database: Database, names: Sequence[str], now: datetime, run: str = "run_one"
) -> None:
    """These holds are bought, a ticket ``tkt_<hold>_<n>`` for each place, without any money."""
    await database.fetch(BUY, [f"hold_{name}" for name in names], now)
    await database.fetch("SELECT sell_tickets($1, $2, $3)", run, [f"pur_{n}" for n in names], now)


BUY = """
WITH bought AS (
  INSERT INTO purchases (id, hold_id, run_id, listener_id, created_at)
  SELECT 'pur_' || substr(h.id, 6), h.id, h.run_id, h.listener_id, $2
    FROM holds h WHERE h.id = ANY ($1)
  RETURNING id, hold_id
)
INSERT INTO tickets (id, run_id, tier_id, purchase_id, listener_id, minor, state, secret,
                     created_at)
SELECT 'tkt_' || substr(h.id, 6) || '_' || n, h.run_id, h.tier_id, b.id, h.listener_id, h.minor,
       'pending', decode(md5(h.id || n), 'hex'), $2
  FROM bought b JOIN holds h ON h.id = b.hold_id, generate_series(1, h.quantity) AS n
"""


async def rewrite(owner: Database, function: str, *changes: tuple[str, str]) -> None:
    """A function of the database with some words changed: a wall of it is taken away."""
    (found,) = await owner.fetch("SELECT pg_get_functiondef($1::text::regproc) AS sql", function)
    sql = found.sql
    for before, after in changes:
        assert before in sql, sql
        sql = sql.replace(before, after)
    await owner.fetch(sql)


async def unlock(owner: Database) -> None:
    """Nobody waits for the others any more; who may have something takes their time."""
    await rewrite(owner, "lock_run", ("FOR NO KEY UPDATE OF p", ""), ("FOR NO KEY UPDATE", ""))
    takes = "IF 0 < ANY (takes) THEN"
    await rewrite(owner, "claim_tickets", (takes, f"{takes} PERFORM pg_sleep(0.05);"))


@asynccontextmanager
async def standing_still(database: Database, run: str = "run_one") -> AsyncIterator[None]:
    """Nobody can hold anything of the run, so that all who come have to wait."""
    async with database.transaction() as session:
        await fetch(session, "SELECT lock_run($1)", run)
        yield


WAITING = """
SELECT count(*) AS n FROM pg_stat_activity
 WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


async def in_flight(database: Database, many: int = 1) -> None:
    """Until so many statements wait for the run's lock."""
    async with asyncio.timeout(10):
        while (await database.fetch(WAITING))[0].n < many:
            await asyncio.sleep(0.005)
