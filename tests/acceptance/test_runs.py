"""Runs: opened under a policy, edited while they sell, never smaller than what is taken."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from takings.database import Database
from takings.errors import TakingsError
from takings.policies import policies
from takings.policies.presets import PRESETS
from takings.policies.rules import Tax
from takings.spaces import spaces
from tests import box_office, stories
from tests.box_office import claim, left
from ticketing import pools, runs, tiers, wishes
from ticketing.wishes import RunWish, TierWish

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
EARLY = TierWish("Early bird", "fixed", 500, "tier_early", 3)
SEAT = TierWish("Seat", "fixed", 1000, "tier_seat")
WISH = RunWish("run_one", "spc_one", 10, (EARLY, SEAT), "eur")
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
async def _room(database: Database) -> None:
    await stories.room(database, NOW)


async def code(act: Awaitable[Any]) -> str:
    """The error's code; or "fine"."""
    try:
        await act
    except TakingsError as error:
        return error.code
    return "fine"


async def opened(database: Database, wish: RunWish = WISH, **changed: Any) -> str:
    return await code(runs.open(database, replace(wish, **changed), now=NOW))


async def edit(database: Database, changes: dict[str, Any], expected: int | None = None) -> str:
    return await code(runs.edit(database, "run_one", changes, expected=expected, now=NOW))


async def step(database: Database, changes: dict[str, Any], expected: int | None = None) -> str:
    act = tiers.edit(database, "run_one", "tier_seat", changes, expected=expected, now=NOW)
    return await code(act)


async def test_a_run_is_opened_once_however_often_it_is_asked_for(database: Database) -> None:
    first = await runs.open(database, WISH, now=NOW)
    assert (first.run.policy, first.run.policy_version, first.run.version) == (
        "clubhouse-2021",
        1,
        1,
    )
    assert first.wish() == replace(WISH, policy="clubhouse-2021")
    again = await runs.open(database, replace(WISH, policy="clubhouse-2021"), now=NOW + DAY)
    assert (again.wish(), again.run.created_at) == (first.wish(), NOW)
    nameless = replace(WISH, tiers=[replace(EARLY, id=None), replace(SEAT, id=None)])
    assert await opened(database, nameless) == "fine"
    assert await left(database, "tier_early") == (3, 0, 0)
    assert await left(database, "tier_seat") == (None, 0, 0)


async def test_another_run_under_the_same_id_is_refused_and_an_edited_one_is_still_the_same(
    database: Database,
) -> None:
    assert await opened(database) == "fine"
    assert await opened(database, size=11) == "run_differs"
    assert await opened(database, tiers=(SEAT,)) == "run_differs"
    assert await opened(database, tiers=(EARLY, replace(SEAT, minor=900))) == "run_differs"
    assert await edit(database, {"size": 20}) == "fine"
    assert await opened(database) == "fine"
    assert await opened(database, currency="usd") == "run_differs"
    await stories.room(database, NOW, space="spc_two")
    assert await opened(database, space="spc_two") == "run_differs"
    assert await left(database) == (20, 0, 0)


async def test_opened_twenty_times_at_once_there_is_one_run(database: Database) -> None:
    answers = await asyncio.gather(*(opened(database) for _ in range(20)))
    assert set(answers) == {"fine"}
    rows = await database.fetch("SELECT id FROM pools ORDER BY id")
    assert [row.id for row in rows] == ["run_one", "tier_early", "tier_seat"]


async def test_ids_are_shared_by_runs_and_tiers_but_never_with_a_space(database: Database) -> None:
    assert await opened(database) == "fine"
    assert await opened(database, id="run_two") == "id_taken"
    assert await opened(database, id="tier_seat", tiers=(replace(SEAT, id=None),)) == "id_taken"
    twice = (SEAT, replace(SEAT, name="Another"))
    assert await opened(database, id="run_three", tiers=twice) == "bad_run"
    assert await opened(database, id="spc_one", tiers=(replace(SEAT, id="tier_x"),)) == "fine"
    await pools.cap_space(database, "spc_one", 5, now=NOW)
    assert await claim(database, "one", run="spc_one", quantity=2, now=NOW) == "held"
    assert await left(database, "spc_one") == (10, 2, 0)
    assert await left(database, "space:spc_one") == (5, 2, 0)


CANNOT_BE: list[tuple[dict[str, Any], str]] = [
    ({"id": "no id"}, "bad_id"),
    ({"space": "spc_none"}, "not_found"),
    ({"policy": "none"}, "not_found"),
    ({"currency": "xxx"}, "unknown_currency"),
    ({"currency": "isk"}, "currency_not_offered"),
    ({"size": 0}, "bad_run"),
    ({"size": 1_000_001}, "bad_run"),
    ({"size": None}, "bad_run"),
    ({"per_listener": 0}, "bad_run"),
    ({"per_address": 0}, "bad_run"),
    ({"hold_s": 86_401}, "bad_run"),
    ({"offer_s": 0}, "bad_run"),
    ({"draw_s": 60}, "bad_run"),
    ({"refund_until_h": -1}, "bad_run"),
    ({"opens_at": NOW, "closes_at": NOW}, "bad_run"),
    ({"tiers": ()}, "bad_run"),
    ({"tiers": (TierWish("Seat", "fixed", 500),) * 51}, "bad_run"),
    ({"tiers": (TierWish("Seat", "fixed", 49),)}, "below_minimum"),
    ({"tiers": (TierWish("Yours", "choice", 49),)}, "below_minimum"),
    ({"tiers": (TierWish("Seat", "fixed", 50_001),)}, "above_maximum"),
    ({"tiers": (TierWish("Gift", "free", 100),)}, "bad_run"),
    ({"tiers": (TierWish("Gift", "comp", 100),)}, "bad_run"),
    ({"tiers": (TierWish("", "free"),)}, "bad_run"),
    ({"tiers": (TierWish("Seat", "free", id="no id"),)}, "bad_id"),
    ({"tiers": (TierWish("Seat", "free", size=0),)}, "bad_run"),
    ({"tiers": (TierWish("Seat", "free", opens_at=NOW, closes_at=NOW - DAY),)}, "bad_run"),
]


async def test_what_a_run_cannot_be(database: Database) -> None:
    for changed, refused in CANNOT_BE:
        assert await opened(database, **changed) == refused, changed
    rows = await database.fetch("SELECT count(*) AS n FROM runs")
    assert rows[0].n == 0
    gifts = (TierWish("Seat", "free"), TierWish("Gift", "comp"))
    assert await opened(database, tiers=gifts, draw_s=60, opens_at=NOW) == "fine"


async def test_a_run_needs_a_space_that_is_to_come_and_rules_that_are_kept(
    database: Database,
) -> None:
    taxed = replace(PRESETS["clubhouse-2021"], name="taxed", tax=Tax("DE", 1900))
    await policies.publish(database, taxed, now=NOW)
    assert await opened(database, policy="taxed") == "rule_not_kept"
    await spaces.move(database, "spc_one", "ended", now=NOW)
    assert await opened(database) == "space_is_over"


async def test_a_space_has_its_own_version_of_a_policy_and_who_names_one_todays(
    database: Database,
) -> None:
    second = replace(PRESETS["clubhouse-2021"], version=2, run_maximum=5)
    await policies.publish(database, second, now=NOW)
    assert await opened(database) == "fine"
    assert await opened(database, id="run_two", policy="clubhouse-2021") == "run_too_large"


async def test_a_price_is_one_that_stripe_can_charge(database: Database) -> None:
    clubhouse = PRESETS["clubhouse-2021"]
    krona = replace(clubhouse, name="krona", terms={"isk": clubhouse.terms["huf"]})
    await policies.publish(database, krona, now=NOW)
    told: dict[str, Any] = {"policy": "krona", "currency": "isk"}
    assert await opened(database, tiers=(replace(SEAT, minor=20_050),), **told) == "not_chargeable"
    assert await opened(database, tiers=(replace(SEAT, minor=20_000),), **told) == "fine"


async def test_whatever_may_be_edited_is_and_nobody_overwrites_what_they_have_not_seen(
    database: Database,
) -> None:
    await runs.open(database, WISH, now=NOW)
    changes: dict[str, Any] = {
        "size": 12,
        "opens_at": NOW,
        "closes_at": NOW + DAY,
        "per_listener": 4,
        "per_address": 6,
        "hold_s": 300,
        "offer_s": 900,
        "refund_until_h": 24,
    }
    assert changes.keys() == runs.EDITABLE
    assert await edit(database, changes, expected=2) == "edited_meanwhile"
    assert await edit(database, changes, expected=1) == "fine"
    assert await edit(database, changes, expected=1) == "fine", "repeated"
    found = await runs.get(database, "run_one")
    assert found.wish() == replace(WISH, policy="clubhouse-2021", **changes)
    assert found.run.version == 2
    assert await edit(database, {"closes_at": None, "per_listener": None}) == "fine"
    assert await edit(database, {"size": 9}, expected=2) == "edited_meanwhile"
    for never in ({"currency": "usd"}, {"policy": "x"}, {"tiers": ()}, {"draw_s": 5}):
        assert await edit(database, never) == "bad_run"
    for wrong in ({"size": None}, {"hold_s": 0}, {"closes_at": NOW - DAY}):
        assert await edit(database, wrong) == "bad_run"
    assert await code(runs.edit(database, "run_none", {"size": 1}, now=NOW)) == "not_found"
    await database.fetch("UPDATE runs SET cancelled_at = $1", NOW)
    assert await edit(database, {"size": 20}) == "run_called_off"


async def test_a_run_shrinks_to_what_is_taken_and_no_further(database: Database) -> None:
    await box_office.run(database, NOW)
    assert await claim(database, "bought", quantity=3, now=NOW) == "held"
    assert await claim(database, "held", quantity=2, now=NOW) == "held"
    await box_office.sold(database, ["bought"], NOW)
    assert await edit(database, {"size": 4}) == "size_below_taken"
    assert await edit(database, {"size": 5}) == "fine"
    assert await claim(database, "late", now=NOW) == "sold_out"
    assert await edit(database, {"size": 6}) == "fine"
    assert await claim(database, "late", now=NOW) == "held"
    assert await left(database) == (6, 3, 3)
    assert await step(database, {"size": 5}) == "size_below_taken"
    assert await step(database, {"size": 6}) == "fine"
    assert await edit(database, {"size": 9}) == "fine"
    assert await claim(database, "later", now=NOW) == "sold_out", "the tier has no more"
    assert await step(database, {"size": None}) == "fine"
    assert await claim(database, "later", now=NOW) == "held"


WAIT = """
INSERT INTO waiting (id, run_id, listener_id, quantity, least, rank, state, created_at)
VALUES ('wait_' || $1, 'run_one', 'lis_' || $1, 1, 1, 1, 'waiting', $2)
"""

OFFERED = "SELECT listener_id FROM waiting WHERE state = 'offered' ORDER BY id"


@pytest.mark.parametrize("grown", ["run", "tier", "space"])
async def test_what_grows_goes_first_to_those_who_wait(database: Database, grown: str) -> None:
    size = 1 if grown == "run" else 10
    seats = 1 if grown == "tier" else None
    await box_office.run(database, NOW, size=size, tiers=(replace(SEAT, size=seats),))
    if grown == "space":
        await pools.cap_space(database, "spc_one", 1, now=NOW)
    assert await claim(database, "first", now=NOW) == "held"
    await database.fetch(WAIT, "patient", NOW)
    assert await claim(database, "pushing", now=NOW) == "sold_out"
    if grown == "run":
        assert await edit(database, {"size": 2}) == "fine"
    elif grown == "tier":
        assert await step(database, {"size": 2}) == "fine"
    else:
        assert (await pools.cap_space(database, "spc_one", 2, now=NOW)).held == 2
    assert [row.listener_id for row in await database.fetch(OFFERED)] == ["lis_patient"]
    assert await claim(database, "pushing", now=NOW) == "sold_out"


async def test_a_new_price_is_for_later_holds(database: Database) -> None:
    await box_office.run(database, NOW)
    assert await claim(database, "before", now=NOW) == "held"
    assert (
        await step(database, {"minor": 1500, "name": "Late seat"}, expected=2) == "edited_meanwhile"
    )
    assert await step(database, {"minor": 1500, "name": "Late seat"}, expected=1) == "fine"
    assert await step(database, {"minor": 1500}, expected=1) == "fine", "repeated"
    assert await claim(database, "after", now=NOW) == "held"
    rows = await database.fetch("SELECT minor FROM holds ORDER BY id DESC")
    assert [row.minor for row in rows] == [1000, 1500]
    assert await step(database, {"minor": 10}) == "below_minimum"
    assert await step(database, {"minor": None}) == "not_minor_units"
    assert await step(database, {"name": None}) == "bad_run"
    assert await step(database, {"kind": "free"}) == "bad_run"
    nobodys = tiers.edit(database, "run_one", "tier_none", {"minor": 900}, now=NOW)
    assert await code(nobodys) == "not_found"


async def test_tiers_are_added_at_the_end_and_sell_in_their_order_and_times(
    database: Database,
) -> None:
    early = replace(EARLY, closes_at=NOW + DAY)
    await box_office.run(database, NOW, tiers=(early,))
    late = TierWish("Late", "fixed", 2000, "tier_late", opens_at=NOW + DAY)

    async def add(wish: TierWish, expected: int | None = None) -> str:
        return await code(tiers.add(database, "run_one", wish, expected=expected, now=NOW))

    assert await add(late, expected=2) == "edited_meanwhile"
    assert [await add(late, expected=1) for _ in range(2)] == ["fine", "fine"]
    assert await add(replace(late, minor=2500)) == "tier_differs"
    assert await add(replace(late, id="run_one")) == "id_taken"
    assert await add(replace(late, id="tier_x", minor=1)) == "below_minimum"
    assert [s.tier.id for s in (await runs.get(database, "run_one")).tiers] == [
        "tier_early",
        "tier_late",
    ]
    assert await claim(database, "one", now=NOW) == "held"
    assert await claim(database, "two", now=NOW + DAY) == "held"
    rows = await database.fetch("SELECT tier_id FROM holds ORDER BY created_at")
    assert [row.tier_id for row in rows] == ["tier_early", "tier_late"]
    for n in range(wishes.MOST_TIERS - 2):
        assert await add(TierWish("More", "free", id=f"tier_{n}")) == "fine"
    assert await add(TierWish("One more", "free", id="tier_more")) == "bad_run"


async def test_all_runs_of_a_space_sell_no_more_than_it_has_room_for(database: Database) -> None:
    await box_office.run(database, NOW)
    other = replace(SEAT, id="tier_other")
    await box_office.run(database, NOW, name="run_two", tiers=(other,))
    assert await claim(database, "a", quantity=2, now=NOW) == "held"
    assert await claim(database, "b", quantity=3, run="run_two", now=NOW) == "held"
    await box_office.sold(database, ["a"], NOW)

    async def cap(limit: int | None, space: str = "spc_one") -> str:
        return await code(pools.cap_space(database, space, limit, now=NOW))

    assert await cap(4) == "size_below_taken"
    assert [await cap(6), await cap(6)] == ["fine", "fine"]
    assert await left(database, "space:spc_one") == (6, 3, 2)
    assert await claim(database, "c", quantity=2, run="run_two", now=NOW) == "sold_out"
    assert await claim(database, "c", run="run_two", now=NOW) == "held"
    assert await claim(database, "d", now=NOW) == "sold_out"
    assert await cap(None) == "fine"
    assert await claim(database, "d", now=NOW) == "held"
    assert await left(database, "space:spc_one") == (None, 5, 2)
    assert await cap(7) == "fine"
    assert [await cap(0), await cap(1_000_001)] == ["bad_capacity", "bad_capacity"]
    assert await cap(5, "spc_none") == "not_found"
    async with database.transaction() as session:
        assert (await pools.capacity(session, "spc_one")).quota == 7


TIERS = [{"name": "Seat", "price": 1000, "size": 5}, {"name": "Press", "kind": "comp"}]


async def test_a_run_is_opened_shown_and_edited_over_http(client: httpx.AsyncClient) -> None:
    body = {"space": "spc_one", "size": 8, "currency": "eur", "tiers": TIERS, "hold_s": 300}
    answer = await client.post("/v1/runs", json=body)
    run = answer.json()
    assert (answer.status_code, answer.headers["etag"]) == (200, '"1"'), run
    assert (run["id"][:4], run["size"], run["held"], run["sold"]) == ("run_", 8, 0, 0)
    seat, press = run["tiers"]
    assert (seat["kind"], seat["price"], seat["size"]) == ("fixed", 1000, 5)
    assert (press["kind"], press["price"], press["size"]) == ("comp", 0, None)
    path, seen = f"/v1/runs/{run['id']}", {"If-Match": '"1"'}
    edited = await client.patch(path, json={"size": 9}, headers=seen)
    assert (edited.json()["size"], edited.headers["etag"]) == (9, '"2"')
    lost = await client.patch(path, json={"size": 10}, headers=seen)
    assert (lost.status_code, lost.json()["code"]) == (412, "edited_meanwhile")
    priced = await client.patch(f"{path}/tiers/{seat['id']}", json={"price": 1200})
    assert priced.json()["tiers"][0]["price"] == 1200
    added = await client.post(f"{path}/tiers", json={"name": "Late", "price": 1500})
    assert added.json()["tiers"][2]["id"].startswith("tier_")
    assert (await client.get(path)).json() == added.json()
    assert (await client.get(path)).headers["etag"] == '"4"'
    for wanted, found in [("space=spc_one", 1), ("host=host_ada", 1), ("host=host_bob", 0)]:
        assert len((await client.get(f"/v1/runs?{wanted}")).json()["data"]) == found
    capped = await client.put("/v1/spaces/spc_one/capacity", json={"capacity": 6})
    assert capped.json() == (await client.get("/v1/spaces/spc_one/capacity")).json()
    assert capped.json()["capacity"] == 6
