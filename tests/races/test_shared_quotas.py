"""Many pools at once: tiers, comps and codes of one run, and a Space that two runs fill."""

import asyncio
from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from takings.database import Database
from takings.errors import TakingsError
from tests import box_office, stories
from tests.box_office import left
from tests.conftest import PROVE
from tests.races.test_scarcity import AT_ONCE, NOON, buyers, rush, taken
from ticketing import codes, comps, holds, pools
from ticketing.codes import CodeWish
from ticketing.comps import CompWish
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


SELL = "SELECT sell_tickets($1, $2, $3)"


async def test_both_runs_of_a_full_space_are_sold_from_and_given_back_to_at_once(
    database: Database,
) -> None:
    """Settlements of both runs in one transaction, in either order, between claims and releases."""
    names = ["run_a", "run_b"]
    for run in names:
        await box_office.run(database, NOON, name=run, tiers=box_office.seat(run), size=100)
    await pools.cap_space(database, "spc_one", CAP, now=NOON)
    chance = Random(1)  # noqa: S311 - it has to replay

    async def buyer(n: int) -> None:
        name, run = f"b{n}", names[n % 2]
        if await box_office.claim(database, name, now=NOON, run=run) == "held":
            if chance.random() < 0.6:
                await holds.release(database, f"hold_{name}", f"lis_{name}", now=NOON)
            else:
                await box_office.sold(database, [name], NOON, run)

    for turn in range(ROUNDS * 2):
        await asyncio.gather(*(buyer(turn * 15 + n) for n in range(15)))
    await asyncio.gather(*(rush(database, buyers(CAP, f"late_{run}"), run=run) for run in names))
    _, held, sold = await left(database, "space:spc_one")
    assert held + sold == CAP
    assert sum([await taken(database, run=run) for run in names]) == CAP
