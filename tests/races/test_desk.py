"""The desk under fire: who gives up while waiting leaves nothing, a batch is one and all's own."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from api.acts import Act
from api.desk import Desk, hold_id
from takings.database import Database
from takings.errors import TakingsError
from takings.records import new_id
from tests import box_office, stories
from tests.box_office import in_flight, left, standing_still
from tests.conftest import PROVE
from tests.races.test_scarcity import NOON
from ticketing import codes
from ticketing.codes import CodeWish
from ticketing.holds import Claim

ROUNDS = 100 if PROVE else 10


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


def act(key: str) -> Act:
    return Act(new_id("req"), "key_one", key, "holds.claim", "/v1/holds", b"", NOON)


async def claim(desk: Desk, key: str, run: str = "run_one", **named: Any) -> str:
    """What becomes of a claim: held, the code of the refusal, or that it is known."""
    told = {"id": hold_id("key_one", key), "listener": f"lis_{key}", "run": run} | named
    try:
        held = await desk.claim(act(key), Claim(**told), named="id" in named)
    except TakingsError as error:
        return error.code
    return "known" if held is None else held.state


def asked(desk: Desk, *keys: str, **named: Any) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(claim(desk, key, **named)) for key in keys]


async def settled(desk: Desk) -> None:
    """Until what was held for those who are gone has been let go."""
    async with asyncio.timeout(10):
        while desk._regrets:  # noqa: SLF001 - nobody else can see that it is done
            await asyncio.sleep(0.005)


async def test_who_gives_up_while_waiting_leaves_nothing_held(
    database: Database, desk: Desk
) -> None:
    await box_office.run(database, NOON, size=2 * ROUNDS + 2)
    for turn in range(ROUNDS):
        async with standing_still(database):
            early = asked(desk, f"{turn}_a", f"{turn}_b", f"{turn}_c")
            await in_flight(database)
            late = asked(desk, f"{turn}_d", f"{turn}_e")  # for the next statement
            await asyncio.sleep(0)
            for gone in (early[0], early[1], late[0]):
                gone.cancel()
        answers = await asyncio.gather(*early, *late, return_exceptions=True)
        gone = [isinstance(one, asyncio.CancelledError) for one in answers]
        assert gone == [True, True, False, True, False]
        assert (answers[2], answers[4]) == ("held", "held")
        await settled(desk)
        assert await left(database) == (2 * ROUNDS + 2, 2 * (turn + 1), 0)
    states = await database.fetch("SELECT state, count(*) AS n FROM holds GROUP BY state")
    found = {row.state: row.n for row in states}
    assert found == {"held": 2 * ROUNDS, "released": 2 * ROUNDS}, "and none for who left early"
    assert await stories.guilty(database) == {}


async def test_control_without_the_regret_it_is_held_for_nobody(
    database: Database, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Desk, "_give_back", lambda *_: None)
    await box_office.run(database, NOON)
    async with standing_still(database):
        (task,) = asked(desk, "zoe")
        await in_flight(database)
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await claim(desk, "ann")
    assert await left(database) == (10, 2, 0)


async def test_who_gives_up_asking_for_a_hold_that_is_there_takes_it_from_nobody(
    database: Database, desk: Desk
) -> None:
    await box_office.run(database, NOON)
    assert await claim(desk, "zoe", id="hold_mine", listener="lis_zoe") == "held"
    async with standing_still(database):
        (again,) = asked(desk, "again", id="hold_mine", listener="lis_zoe")
        await in_flight(database)
        again.cancel()
    await asyncio.gather(again, return_exceptions=True)
    assert await claim(desk, "ann") == "held"
    await settled(desk)
    assert await left(database) == (10, 2, 0)


async def test_many_who_come_in_one_statement_get_what_each_may_have(
    database: Database, desk: Desk
) -> None:
    await box_office.run(database, NOON, size=30, per_listener=2)
    half = CodeWish("code_half", "run_one", "HALF", minor=500, size=5)
    await codes.make(database, half, now=NOON)
    async with standing_still(database):
        first = asked(desk, "first")
        await in_flight(database)
        coded = asked(desk, *(f"coded_{n}" for n in range(8)), code="HALF")
        bot = asked(desk, *(f"bot_{n}" for n in range(8)), listener="lis_bot")
        wrong = asked(desk, "wrong", code="NONE")
        rest = asked(desk, *(f"rest_{n}" for n in range(40)))
        same = asked(desk, *(f"same_{n}" for n in range(3)), id="hold_same", listener="lis_same")
    answers = [Counter(await asyncio.gather(*tasks)) for tasks in (first, coded, bot, wrong, rest)]
    assert answers == [
        {"held": 1},
        {"held": 5, "code_used_up": 3},
        {"held": 2, "too_many_tickets": 6},
        {"unknown_code": 1},
        {"held": 22, "sold_out": 18},
    ]
    assert await asyncio.gather(*same) == ["sold_out"] * 3
    assert await left(database) == (30, 30, 0)
    assert await stories.guilty(database) == {}


async def test_a_hold_that_several_of_one_statement_name_is_made_once(
    database: Database, desk: Desk
) -> None:
    """And nobody who happens to be in the same statement is the worse for it."""
    await box_office.run(database, NOON)
    async with standing_still(database):
        first = asked(desk, "first")
        await in_flight(database)
        same = asked(desk, "a", "b", "c", id="hold_same", listener="lis_same")
        other = asked(desk, "d", id="hold_same", listener="lis_other")
        beside = asked(desk, "e", "f")
    assert await asyncio.gather(*first, *beside) == ["held"] * 3
    assert await asyncio.gather(*same) == ["held", "known", "known"]
    assert await asyncio.gather(*other) == ["hold_differs"]
    assert await left(database) == (10, 4, 0)


async def test_another_act_under_a_key_that_a_second_process_has_just_noted_is_not_done(
    database: Database, desk: Desk
) -> None:
    """Their statements began before either act was there to be seen."""
    twin = Desk(database)
    await box_office.run(database, NOON, name="run_two", tiers=box_office.seat("two"))
    await box_office.run(database, NOON)
    for turn in range(ROUNDS):
        key = f"key_{turn}"
        async with standing_still(database), standing_still(database, "run_two"):
            here = asked(desk, key, id=f"hold_{turn}_a")
            there = asked(twin, key, id=f"hold_{turn}_b", run="run_two")
            beside = asked(twin, f"beside_{turn}", run="run_two")
            await in_flight(database, 2)
        answers = await asyncio.gather(*here, *there)
        assert sorted(answers) == ["held", "known"]
        assert await asyncio.gather(*beside) == ["held"]
        made = await database.fetch("SELECT id FROM holds WHERE listener_id = $1", f"lis_{key}")
        assert len(made) == 1
        freed = "SELECT free_holds(h.run_id, ARRAY[h.id], 'released', $1) FROM holds h"
        await database.fetch(freed, NOON)
    assert await stories.guilty(database) == {}
