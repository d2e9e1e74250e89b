"""Scarcity: many claims at once, each a statement of its own; and what each wall keeps out.

With the lock nobody is refused without need; without it the law still refuses what is too much.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from takings.database import Database
from tests import box_office, stories
from tests.conftest import PROVE, Fresh
from ticketing import holds
from ticketing.holds import HoldOver

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ROUNDS = 100 if PROVE else 3
BUYERS, SIZE, AT_ONCE = 300, 10, 20


@pytest.fixture
async def owner(fresh: Fresh) -> AsyncIterator[Database]:
    """Who may change the functions and the laws."""
    async with Database(fresh.owner, connections=1) as found:
        yield found


async def rush(database: Database, names: Sequence[str], **named: Any) -> Counter[str]:
    """What so many are answered who claim at once, as many at a time as there are connections."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> str:
        async with turn:
            return await box_office.claim(database, name, **{"now": NOON, **named})

    return Counter(await asyncio.gather(*map(one, names)))


def buyers(many: int, prefix: str = "") -> list[str]:
    return [f"{prefix}{n}" for n in range(many)]


TAKEN = """
SELECT coalesce(sum(quantity - returned), 0)::integer AS tickets FROM holds
 WHERE run_id = $1 AND (state IN ('expiring', 'sold') OR state = 'held' AND expires_at > $2)
"""


async def taken(database: Database, now: datetime = NOON, run: str = "run_one") -> int:
    """How many tickets are of use to somebody: bought, or held by one who can still buy them."""
    (row,) = await database.fetch(TAKEN, run, now)
    return int(row.tickets)


async def test_of_three_hundred_buyers_exactly_ten_hold_one_of_ten_tickets(
    database: Database,
) -> None:
    for turn in range(ROUNDS):
        run = await box_office.run(database, NOON, name=f"run_{turn}", tiers=box_office.seat(turn))
        answers = await rush(database, buyers(BUYERS, f"{turn}_"), run=run)
        assert answers == {"held": SIZE, "sold_out": BUYERS - SIZE}
        assert await box_office.left(database, run) == (SIZE, SIZE, 0)
        assert await taken(database, run=run) == SIZE
    assert await stories.guilty(database) == {}


LAW = "ALTER TABLE pools DROP CONSTRAINT pools_never_oversold"


async def test_control_without_the_lock_and_the_law_a_run_is_oversold(
    database: Database, owner: Database
) -> None:
    await box_office.run(database, NOON)
    await box_office.unlock(owner)
    await owner.fetch(LAW)
    answers = await rush(database, buyers(BUYERS))
    assert answers["held"] > SIZE
    assert await taken(database) > SIZE
    assert "never oversold" in await stories.guilty(database)


async def test_without_the_lock_the_law_alone_keeps_a_run_from_being_oversold(
    database: Database, owner: Database
) -> None:
    await box_office.run(database, NOON)
    await box_office.unlock(owner)
    answers = await rush(database, buyers(BUYERS))
    assert answers["law_broken"] > 0, "somebody is refused with a word that helps nobody"
    assert answers["held"] == await taken(database) <= SIZE
    assert await stories.guilty(database) == {}


@pytest.mark.parametrize("same", ["listener", "address"])
async def test_of_many_claims_of_one_buyer_as_many_pass_as_they_may_have(
    database: Database, same: str
) -> None:
    await box_office.run(database, NOON, size=100, **{f"per_{same}": 4})  # type: ignore[arg-type]
    one = {"listener": "lis_bot"} if same == "listener" else {"address": "192.0.2.7"}
    answers = await rush(database, buyers(50), **one)
    assert answers == {"held": 4, "too_many_tickets": 46}


async def test_control_without_the_lock_one_buyer_has_more_than_they_may(
    database: Database, owner: Database
) -> None:
    await box_office.run(database, NOON, size=100, per_listener=4)
    await box_office.unlock(owner)
    answers = await rush(database, buyers(50), listener="lis_bot")
    assert answers["held"] > 4


async def repeated(database: Database) -> list[Any]:
    """A claim that is made twenty times at once; the holds that it left."""
    await rush(database, ["zoe"] * AT_ONCE)
    return list(await database.fetch("SELECT id FROM holds"))


LOOK = ("repeated := EXISTS (SELECT FROM holds h WHERE h.id = ANY (ids))", "repeated := false")
ONCE = ("ON CONFLICT (id) DO NOTHING", "")
UNIQUE = "ALTER TABLE holds DROP CONSTRAINT holds_pk CASCADE"


async def test_a_claim_that_is_made_many_times_at_once_is_one_hold(database: Database) -> None:
    await box_office.run(database, NOON)
    assert len(await repeated(database)) == 1
    assert await box_office.left(database) == (SIZE, 1, 0)


async def test_without_the_look_at_what_is_there_the_unique_id_keeps_it_one_hold(
    database: Database, owner: Database
) -> None:
    await box_office.run(database, NOON)
    await box_office.rewrite(owner, "claim_tickets", LOOK)
    assert len(await repeated(database)) == 1
    assert await box_office.left(database) == (SIZE, 1, 0)


async def test_control_without_the_look_and_the_unique_id_a_claim_has_many_effects(
    database: Database, owner: Database
) -> None:
    await box_office.run(database, NOON)
    await box_office.rewrite(owner, "claim_tickets", LOOK)
    await box_office.rewrite(owner, "write_holds", ONCE)
    await owner.fetch(UNIQUE)
    assert len(await repeated(database)) > 1


HOLD_S = 60


VOID = "SELECT void_tickets('run_one', ARRAY['tkt_' || $1 || '_1'], 'asked', $2)"


async def comings_and_goings(
    database: Database, turn: int, now: datetime, bought: list[str]
) -> datetime:
    """Claims, releases, purchases, refunds and sweeps at once, while the clock goes on."""
    chance, sweeping = Random(turn), asyncio.Semaphore(2)  # noqa: S311 - it has to replay

    async def buyer(name: str) -> None:
        nonlocal now
        async with turns:
            if await box_office.claim(database, name, now=now) != "held":
                return
            ends = chance.choice(["release", "buy", "extend", "forget", "forget", "forget"])
            now += timedelta(seconds=chance.randrange(HOLD_S // 3))
            hold, listener = f"hold_{name}", f"lis_{name}"
            with suppress(HoldOver):  # others have put the clock on meanwhile, and swept
                await leave(ends, name, hold, listener)

    async def leave(ends: str, name: str, hold: str, listener: str) -> None:
        if ends == "release":
            await holds.release(database, hold, listener, now=now)
        elif ends == "buy" and len(bought) < SIZE // 2:
            await box_office.sold(database, [name], now)
            bought.append(name)
        elif ends == "buy":
            await database.fetch(VOID, bought.pop(0), now)
        elif ends == "extend":
            await holds.extend(database, hold, listener)

    async def sweeper() -> None:
        async with sweeping:
            await holds.sweep(database, now=now)

    turns = asyncio.Semaphore(AT_ONCE // 2)
    acts = [buyer(f"{turn}_{n}") for n in range(40)] + [sweeper() for _ in range(10)]
    chance.shuffle(acts)
    await asyncio.gather(*acts)
    return now


async def watch(database: Database, over: asyncio.Event) -> None:
    """At no instant are there more than there are."""
    while not over.is_set():
        rows = await database.fetch(EVER)
        assert all(row.held + row.sold <= SIZE for row in rows)
        assert all((row.held, row.sold) == (row.is_held, row.is_sold) for row in rows)
        await asyncio.sleep(0.01)


EVER = """
SELECT p.held, p.sold,
       (SELECT coalesce(sum(h.quantity), 0) FROM holds h
         WHERE h.run_id = p.id AND h.state IN ('held', 'expiring')) AS is_held,
       (SELECT count(*) FROM tickets t WHERE t.run_id = p.id AND t.state = 'valid') AS is_sold
  FROM pools p WHERE p.id = 'run_one'
"""


async def after(database: Database, rounds: int) -> list[int]:
    """How many tickets are of use to somebody whenever many more have asked for one."""
    now, found, bought = NOON, list[int](), list[str]()
    over = asyncio.Event()
    watching = asyncio.create_task(watch(database, over))
    for turn in range(rounds):
        now = await comings_and_goings(database, turn, now, bought)
        now += timedelta(seconds=Random(turn).choice([0, 2 * HOLD_S]))  # noqa: S311 - it replays
        await rush(database, buyers(2 * SIZE, f"late_{turn}_"), now=now)
        found.append(await taken(database, now))
    over.set()
    await watching
    return found


async def test_whatever_is_given_back_or_lapses_is_held_by_the_next_who_ask(
    database: Database,
) -> None:
    await box_office.run(database, NOON, hold_s=HOLD_S)
    rounds = 3 * ROUNDS if PROVE else 6
    assert await after(database, rounds) == [SIZE] * rounds
    _, held, sold = await box_office.left(database)
    assert held + sold == SIZE


async def test_control_without_the_sweep_tickets_are_held_for_nobody(
    database: Database, owner: Database
) -> None:
    await box_office.run(database, NOON, hold_s=HOLD_S)
    await box_office.rewrite(owner, "sweep_holds", ("PERFORM lock_run(wanted);", "RETURN 0;"))
    assert min(await after(database, 6)) < SIZE
