"""Codes: who knows one pays less, and never a price that cannot be charged."""

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
from tests import box_office
from tests.box_office import claim, left
from ticketing import codes, holds, runs, tiers
from ticketing.codes import CodeWish
from ticketing.wishes import RunWish, TierWish

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
SEAT = TierWish("Seat", "fixed", 1000, "tier_seat")
TIERS = (SEAT, TierWish("Yours", "choice", 200, "tier_yours"), TierWish("Gift", "free"))
HALF = CodeWish("code_half", "run_one", "HALF", rate_bps=5000)


@pytest.fixture(autouse=True)
async def _run(database: Database) -> None:
    await box_office.run(database, NOW, size=20, tiers=TIERS)


async def code(act: Awaitable[Any]) -> str:
    """The error's code; or "fine"."""
    try:
        await act
    except TakingsError as error:
        return error.code
    return "fine"


async def make(database: Database, wish: CodeWish = HALF, **changed: Any) -> str:
    return await code(codes.make(database, replace(wish, **changed), now=NOW))


async def price(database: Database, name: str) -> int:
    async with database.transaction() as session:
        return (await holds.of(session, f"hold_{name}")).price.minor


async def test_who_knows_the_code_pays_less_as_often_as_it_is_for(database: Database) -> None:
    assert await make(database, size=3) == "fine"
    assert await claim(database, "a", quantity=2, tier="tier_seat", code="HALF", now=NOW) == "held"
    assert await price(database, "a") == 500
    assert await left(database, "code_half") == (3, 2, 0)
    assert await claim(database, "b", quantity=2, code="HALF", now=NOW) == "code_used_up"
    assert await claim(database, "b", code="half", now=NOW) == "unknown_code"
    await box_office.sold(database, ["a"], NOW)
    assert await left(database, "code_half") == (3, 0, 2)
    assert await claim(database, "b", code="HALF", now=NOW) == "held"
    await code(holds.release(database, "hold_b", "lis_b", now=NOW))
    assert await left(database, "code_half") == (3, 0, 2)


async def test_a_code_is_made_once_however_often_it_is_asked_for(database: Database) -> None:
    assert [await make(database), await make(database)] == ["fine", "fine"]
    assert await make(database, rate_bps=4000) == "code_differs"
    assert await make(database, size=4) == "code_differs"
    assert await make(database, closes_at=NOW + DAY) == "code_differs"
    assert await make(database, id="code_other") == "code_taken"
    assert await make(database, id="tier_seat", code="OTHER") == "id_taken"
    assert await make(database, id="code_other", code="half") == "fine", "another text"


async def test_the_same_text_may_mean_another_thing_in_another_run(database: Database) -> None:
    other = (TierWish("Seat", "fixed", 1000, "tier_other"),)
    await box_office.run(database, NOW, name="run_two", tiers=other)
    assert await make(database) == "fine"
    assert await make(database, id="code_two", run="run_two", rate_bps=10_000) == "fine"
    assert await claim(database, "a", run="run_two", code="HALF", now=NOW) == "held"
    assert await price(database, "a") == 0


CANNOT_BE: list[tuple[dict[str, Any], str]] = [
    ({"id": "no id"}, "bad_id"),
    ({"code": ""}, "bad_code"),
    ({"code": "A B"}, "bad_code"),
    ({"code": "HALF\n"}, "bad_code"),
    ({"code": "x" * 65}, "bad_code"),
    ({"rate_bps": None}, "bad_code"),
    ({"minor": 100}, "bad_code"),
    ({"rate_bps": 0}, "bad_code"),
    ({"rate_bps": 10_001}, "bad_code"),
    ({"rate_bps": None, "minor": 0}, "bad_code"),
    ({"rate_bps": None, "minor": 2**63}, "bad_code"),
    ({"size": 0}, "bad_code"),
    ({"run": "run_none"}, "not_found"),
    ({"tier": "tier_none"}, "not_found"),
    ({"rate_bps": 7550}, "code_leaves_too_little"),  # 0.49 of 2.00
    ({"rate_bps": None, "minor": 199}, "code_leaves_too_little"),
    ({"rate_bps": None, "minor": 951, "tier": "tier_seat"}, "code_leaves_too_little"),
]


async def test_what_a_code_cannot_be(database: Database) -> None:
    for changed, refused in CANNOT_BE:
        assert await make(database, **changed) == refused, changed
    rows = await database.fetch("SELECT count(*) AS n FROM codes")
    assert rows[0].n == 0
    assert await make(database, rate_bps=7500) == "fine"
    assert await make(database, id="c1", code="ALL", rate_bps=None, minor=5000) == "fine"
    exactly: dict[str, Any] = {"rate_bps": None, "minor": 950, "tier": "tier_seat"}
    assert await make(database, id="c2", code="x" * 64, **exactly) == "fine"


async def test_what_is_left_of_a_price_can_be_charged_by_stripe(database: Database) -> None:
    clubhouse = PRESETS["clubhouse-2021"]
    krona = replace(clubhouse, name="krona", terms={"isk": clubhouse.terms["huf"]})
    await policies.publish(database, krona, now=NOW)
    seat = (TierWish("Seat", "fixed", 50_100, "tier_krona"),)
    wish = RunWish("run_isk", "spc_one", 5, seat, "isk", "krona")
    await runs.open(database, wish, now=NOW)
    assert await make(database, run="run_isk") == "not_chargeable"
    assert await make(database, run="run_isk", rate_bps=None, minor=25_000) == "fine"


async def test_a_price_is_not_changed_to_one_of_which_a_code_leaves_too_little(
    database: Database,
) -> None:
    assert await make(database, rate_bps=7500) == "fine"

    async def reprice(minor: int, now: datetime = NOW) -> str:
        return await code(tiers.edit(database, "run_one", "tier_seat", {"minor": minor}, now=now))

    assert [await reprice(196), await reprice(197)] == ["code_leaves_too_little", "fine"]
    cheap = TierWish("Cheap", "fixed", 100, "tier_cheap")
    add = tiers.add(database, "run_one", cheap, now=NOW)
    assert await code(add) == "code_leaves_too_little"
    await codes.end(database, "code_half", now=NOW)
    assert await reprice(100) == "fine", "nobody can use it any more"


async def test_a_code_ends_when_it_is_time_or_when_we_say_so(database: Database) -> None:
    assert await make(database, closes_at=NOW + DAY) == "fine"
    assert await claim(database, "a", code="HALF", now=NOW) == "held"
    assert await claim(database, "b", code="HALF", now=NOW + DAY) == "code_used_up"
    ended = await codes.end(database, "code_half", now=NOW)
    again = await codes.end(database, "code_half", now=NOW + DAY)
    assert ended.code.closes_at == again.code.closes_at == NOW
    assert await claim(database, "c", code="HALF", now=NOW) == "code_used_up"
    assert await price(database, "a") == 500, "what is held keeps its price"
    assert await make(database, closes_at=NOW + DAY) == "fine", "repeated"
    assert await code(codes.end(database, "code_none", now=NOW)) == "not_found"


async def test_a_run_that_is_called_off_has_no_more_codes(database: Database) -> None:
    await database.fetch("UPDATE runs SET cancelled_at = $1", NOW)
    assert await make(database) == "run_called_off"


@pytest.mark.parametrize("minor", [50, 999, 1000, 50_000])
@pytest.mark.parametrize("off", [{"rate_bps": 3333}, {"rate_bps": None, "minor": 777}])
async def test_the_database_reckons_as_we_do(
    database: Database, minor: int, off: dict[str, Any]
) -> None:
    tier = (TierWish("Seat", "fixed", minor, "tier_x"),)
    await box_office.run(database, NOW, name="run_x", tiers=tier)
    wish = replace(HALF, run="run_x", **off)
    if await code(codes.make(database, wish, now=NOW)) != "fine":
        assert 0 < codes.left(minor, wish) < 50
        return
    assert await claim(database, "a", run="run_x", code="HALF", now=NOW) == "held"
    assert await price(database, "a") == codes.left(minor, wish)


async def test_codes_are_made_listed_and_ended_over_http(client: httpx.AsyncClient) -> None:
    path = "/v1/runs/run_one/codes"
    for text, off in [("HALF", {"rate_bps": 5000}), ("MINUS", {"amount": 100, "size": 5})]:
        made = await client.post(path, json={"code": text, "tier": "tier_seat", **off})
        assert made.json()["id"].startswith("code_"), made.text
    listed = (await client.get(path)).json()
    assert [one["code"] for one in listed["data"]] == ["MINUS", "HALF"]
    last = listed["data"][0]
    assert (last["amount"], last["rate_bps"], last["size"], last["tier"]) == (
        100,
        None,
        5,
        "tier_seat",
    )
    ended = (await client.post(f"/v1/codes/{last['id']}/end")).json()
    assert ended == (await client.get(f"/v1/codes/{last['id']}")).json()
    assert ended["closes_at"] is not None
    assert (await client.get("/v1/runs/run_none/codes")).status_code == 404
    assert (await client.get("/v1/codes/code_none")).status_code == 404
