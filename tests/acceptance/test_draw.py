"""Where lots are drawn, who is fast has no better chance than who is slow."""

import itertools
import secrets
from datetime import timedelta

import pytest

from takings.database import Database
from tests import box_office
from tests.acceptance.test_waiting import NOON, at, place, states, wait
from ticketing import runs, waitlist

MANY = 200
SPREAD = 18  # 5 sigma of how many of one half of 200 are in a half that is drawn of them


async def drawn(database: Database, size: int = MANY // 2) -> None:
    """A run whose sale begins at second 10 with a draw of a minute; half of who joins is fast."""
    await box_office.run(database, NOON, size=size, opens_at=at(10), draw_s=60)
    for n in range(MANY):
        fast = n < MANY // 2
        assert await wait(database, f"{n:03}", 0 + n / 1000 if fast else 69 + n / 1000) == "waiting"


async def fast_ones(database: Database) -> int:
    """How many of those who were offered tickets were fast."""
    offered = {name for name, state in (await states(database)).items() if state == "offered"}
    assert len(offered) == MANY // 2
    return sum(int(name) < MANY // 2 for name in offered)


async def test_two_hundred_who_join_in_time_have_the_same_chance(database: Database) -> None:
    await drawn(database)
    assert await box_office.claim(database, "dan", now=at(69.9)) == "lots_are_drawn"
    assert await waitlist.serve(database, now=at(69.9)) == 0
    assert (await place(database, "000", 69.9)).place is None
    assert await waitlist.serve(database, now=at(70)) == MANY // 2
    assert abs(await fast_ones(database) - MANY // 4) <= SPREAD
    assert await box_office.claim(database, "dan", now=at(70)) == "sold_out"
    places = {(await place(database, f"{n:03}", 70)).place for n in range(MANY)}
    assert places == {None, *range(1, MANY // 2 + 1)}


async def test_control_in_the_order_of_arrival_the_fast_have_it_all(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrivals = itertools.count()
    monkeypatch.setattr(secrets, "randbelow", lambda _: next(arrivals))
    await drawn(database)
    await waitlist.serve(database, now=at(70))
    assert await fast_ones(database) == MANY // 2


async def test_who_comes_after_the_draw_comes_after_everybody_in_it(database: Database) -> None:
    await box_office.run(database, NOON, size=1, opens_at=at(10), draw_s=60)
    for n in range(5):
        await wait(database, f"early_{n}", n * 17)
    for n in range(2):
        assert await wait(database, f"late_{n}", 70 + n) == "waiting"
    places = [(await place(database, f"late_{n}", 80)).place for n in range(2)]
    assert places == [5, 6], "one of those in the draw has the ticket"
    assert list((await states(database)).values()).count("offered") == 1


async def test_on_a_page_everybody_has_the_place_that_they_have_alone(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "randbelow", lambda _: next(lots))
    lots = itertools.cycle([3, 1, 4, 1, 5])  # some draw the same
    await box_office.run(database, NOON, size=2, opens_at=at(10), draw_s=60)
    for n in range(12):
        await wait(database, f"{n:02}", n)
    await waitlist.serve(database, now=at(70))
    ids = [f"wait_{n:02}" for n in (7, 0, 11, 4, 1, 9)]
    page = await database.run(waitlist.of, ids, at(80))
    assert page == [await waitlist.get(database, one, now=at(80)) for one in ids]
    everybody = await database.run(waitlist.of, [f"wait_{n:02}" for n in range(12)], at(80))
    assert sorted(one.place or 0 for one in everybody) == [0, 0, *range(1, 11)]


async def test_the_first_buyer_after_the_draw_finds_what_the_list_left(database: Database) -> None:
    await box_office.run(database, NOON, size=2, opens_at=at(10), draw_s=60)
    await wait(database, "ada", 5)
    assert await box_office.claim(database, "dan", now=at(70)) == "held"
    assert await box_office.claim(database, "eve", now=at(70)) == "sold_out"
    assert await states(database) == {"ada": "offered"}


async def test_a_sale_that_is_put_off_keeps_everybody_in_one_draw(database: Database) -> None:
    await box_office.run(database, NOON, size=1, opens_at=at(10), draw_s=60)
    for n in range(20):
        await wait(database, f"before_{n}", n)
    await runs.edit(database, "run_one", {"opens_at": at(10) - timedelta(minutes=1)}, now=at(30))
    await runs.edit(database, "run_one", {"opens_at": at(1000)}, now=at(30))
    lots = await database.fetch("SELECT rank FROM waiting WHERE state = 'waiting'")
    assert all(row.rank < waitlist.LOTS for row in lots)
