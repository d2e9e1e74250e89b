"""Many pools at once: tiers, comps and codes of one run, and a Space that two runs fill."""

import asyncio
import sys
from collections import Counter
from dataclasses import replace
from random import Random

import pytest

import takings.database
from api.runtime import Runtime
from api.settlement import SETTLEMENT
from sandbox.control import Sandbox
from takings.database import Database, fetch
from takings.errors import TakingsError
from takings.payments import objects, webhooks
from tests import box_office, stories
from tests.box_office import in_flight, left
from tests.conftest import PROVE
from tests.races.test_scarcity import AT_ONCE, NOON, buyers, rush, taken
from ticketing import codes, comps, holds, pools, sales
from ticketing.codes import CodeWish
from ticketing.comps import CompWish
from ticketing.holds import Claim
from ticketing.wishes import TierWish

ROUNDS = 100 if PROVE else 4
SIZE, CAP = 10, 12
TIERS = (
    TierWish("Early bird", "fixed", 500, "tier_early", size=3),
    TierWish("Regular", "fixed", 1000, "tier_regular"),
    TierWish("Guests", "comp", 0, "tier_guests", size=4),
)


def tiers(turn: int) -> list[TierWish]:
    return [replace(tier, id=f"{tier.id}_{turn}") for tier in TIERS]


async def give(database: Database, name: str, run: str, tier: str) -> str:
    """What becomes of a ticket that the house wants to give."""
    wish = CompWish(f"pur_{name}", run, tier, f"lis_{name}")
    try:
        return (await comps.give(database, wish, now=NOON)).state
    except TakingsError as error:
        return error.code


async def test_early_birds_regulars_and_guests_share_a_run_and_none_has_too_many(
    database: Database,
) -> None:
    for turn in range(ROUNDS):
        run = await box_office.run(database, NOON, name=f"run_{turn}", tiers=tiers(turn))
        turns = asyncio.Semaphore(AT_ONCE // 4)

        async def guest(n: int, run: str = run, turn: int = turn) -> str:
            async with turns:  # noqa: B023 - all of them end in this turn
                return await give(database, f"guest_{turn}_{n}", run, f"tier_guests_{turn}")

        guests = [guest(n) for n in range(12)]
        early = rush(database, buyers(20, f"e{turn}_"), run=run, tier=f"tier_early_{turn}")
        anything = rush(database, buyers(40, f"a{turn}_"), run=run)
        birds, others, *given = await asyncio.gather(early, anything, *guests)
        _, held, sold = await left(database, run)
        assert held + sold == SIZE
        assert sold == Counter(given)["settled"]
        assert birds["held"] + others["held"] == held
        sizes = [await left(database, f"{tier.id}_{turn}") for tier in TIERS]
        assert all(size is None or held + sold <= size for size, held, sold in sizes)
        assert sizes[0] == (3, 3, 0), "whoever does not choose has the first tier with room"
        assert sizes[2][2] == sold <= 4
    assert await stories.guilty(database) == {}


@pytest.mark.parametrize("pool", ["tier", "code"])
async def test_what_is_limited_inside_a_run_is_never_exceeded_and_never_lost(
    database: Database, pool: str
) -> None:
    """Of the code's or the tier's five, exactly five are held, however often they are let go."""
    limit = 5 if pool == "tier" else None
    await box_office.run(
        database, NOON, size=100, tiers=[replace(TIERS[0], size=limit, minor=1000)]
    )
    if pool == "code":
        wish = CodeWish("code_half", "run_one", "HALF", rate_bps=5000, size=5)
        await codes.make(database, wish, now=NOON)
    named = {"code": "HALF"} if pool == "code" else {}
    refused = "code_used_up" if pool == "code" else "sold_out"
    for turn in range(ROUNDS):
        answers = await rush(database, buyers(30, f"{turn}_"), **named)
        assert answers == {"held": 5, refused: 25}
        assert await left(database, {"code": "code_half", "tier": "tier_early"}[pool]) == (5, 5, 0)
        live = await database.fetch("SELECT id, listener_id FROM holds WHERE state = 'held'")
        for one in live:
            await holds.release(database, one.id, one.listener_id, now=NOON)
    assert await stories.guilty(database) == {}


async def test_two_runs_that_fill_one_space_are_never_more_than_it_takes(
    database: Database,
) -> None:
    for turn in range(ROUNDS):
        space, runs = f"spc_{turn}", [f"run_{turn}_{half}" for half in "ab"]
        for run in runs:
            await box_office.run(
                database, NOON, name=run, space=space, tiers=box_office.seat(run), size=8
            )
        await pools.cap_space(database, space, CAP, now=NOON)
        found = [rush(database, buyers(40, f"{run}_"), run=run) for run in runs]
        answers = sum(await asyncio.gather(*found), Counter[str]())
        assert answers == {"held": CAP, "sold_out": 80 - CAP}
        counts = [await taken(database, run=run) for run in runs]
        assert sum(counts) == CAP
        assert max(counts) <= 8
        assert await left(database, f"space:{space}") == (CAP, CAP, 0)
    assert await stories.guilty(database) == {}


async def test_both_runs_of_a_full_space_are_held_sold_and_given_back_at_once(
    database: Database,
) -> None:
    runs = ["run_a", "run_b"]
    for run in runs:
        await box_office.run(database, NOON, name=run, tiers=box_office.seat(run), size=100)
    await pools.cap_space(database, "spc_one", CAP, now=NOON)
    chance = Random(1)  # noqa: S311 - it has to replay

    async def buyer(n: int) -> None:
        name, run = f"b{n}", runs[n % 2]
        if await box_office.claim(database, name, now=NOON, run=run) == "held":
            if chance.random() < 0.8:
                await holds.release(database, f"hold_{name}", f"lis_{name}", now=NOON)
            else:
                await box_office.sold(database, [name], NOON, run)

    for turn in range(ROUNDS):
        await asyncio.gather(*(buyer(turn * 16 + n) for n in range(16)))
    await asyncio.gather(*(rush(database, buyers(CAP, f"late_{run}"), run=run) for run in runs))
    _, held, sold = await left(database, "space:spc_one")
    assert held + sold == CAP
    assert sum([await taken(database, run=run) for run in runs]) == CAP


async def _loud(*_: object) -> int:
    """What was wrong with the batch is raised, whoever of the two PostgreSQL has chosen."""
    error = sys.exc_info()[1]
    raise error or AssertionError


@pytest.mark.parametrize("order", ["every run before any Space", "run by run"])
async def test_a_settlement_of_two_runs_and_a_claim_of_one_of_them_wait_in_one_order(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """Run by run is the control: each has what the other needs."""
    database, now = runtime.database, runtime.now()
    for run in ("run_a", "run_b"):
        await box_office.run(database, now, name=run, tiers=box_office.seat(run))
        made = await box_office.ordered(runtime, f"of_{run}", run=run)
        box.pay(made.payment.intent_id if made.payment else None)
    await pools.cap_space(database, "spc_one", CAP, now=now)
    notices = [("account", objects.notice(event)) for event in box.events]
    await webhooks.receive(database, notices, now=now)
    monkeypatch.setattr(takings.database, "TRY_AGAIN", ())  # it would heal, in a second or two
    monkeypatch.setattr(webhooks, "_one_by_one", _loud)  # that, too
    if order == "run by run":
        monkeypatch.setattr(sales, "LOCK_RUNS", "SELECT $1::text[]")
    settling = webhooks.process(database, runtime.stripe, SETTLEMENT, now=now)
    async with database.transaction() as session:
        await fetch(session, "SELECT id FROM pools WHERE id = 'space:spc_one' FOR UPDATE")
        tasks = [asyncio.create_task(settling)]
        await in_flight(database)
        tasks.append(asyncio.create_task(holds.claim(database, CLAIM, now=now)))
        await in_flight(database, 2)
    failed = [
        one
        for one in await asyncio.gather(*tasks, return_exceptions=True)
        if isinstance(one, BaseException)
    ]
    assert [("deadlock" in str(one)) for one in failed] == [True] * (order == "run by run")


CLAIM = Claim("hold_late", "run_b", "lis_late")
