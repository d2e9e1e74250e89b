"""Holds over HTTP: claimed, said again, extended, given back, refused, and sold out from memory."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api import desk
from tests import box_office, stories
from tests.acceptance.world import World
from ticketing import holds
from ticketing.wishes import TierWish

KEY = "Idempotency-Key"


@pytest.fixture
async def run(world: World) -> str:
    """Three tickets, of which one listener may have two."""
    database, now = world.runtime.database, world.runtime.now()
    tiers = (
        TierWish("Early", "fixed", 500, "tier_early", size=1),
        TierWish("Regular", "fixed", 900, "tier_regular"),
    )
    return await box_office.run(database, now, size=3, tiers=tiers, per_listener=2)


async def hold(world: World, key: str, listener: str = "lis_zoe", **named: Any) -> httpx.Response:
    """A claim under a key."""
    body = {"run": "run_one", "listener": listener} | named
    return await world.client.post("/v1/holds", json=body, headers={KEY: key})


def told(answer: httpx.Response, *names: str) -> list[Any]:
    assert answer.is_success, answer.text
    return [answer.json()[name] for name in names]


async def test_a_hold_says_its_price_until_when_it_lasts_and_what_is_left(
    world: World, run: str
) -> None:
    first = await hold(world, "one")
    assert told(first, "tier", "price", "quantity", "remaining", "state") == [
        *("tier_early", 500, 1, 2, "held"),
    ]
    (created, expires_at) = told(first, "created", "expires_at")
    assert expires_at - created == 600
    second = await hold(world, "two")
    assert told(second, "tier", "price", "remaining") == ["tier_regular", 900, 1]
    assert (await hold(world, "three")).json()["code"] == "too_many_tickets"
    assert await box_office.left(world.runtime.database, run) == (3, 2, 0)


@pytest.mark.usefixtures("run")
async def test_the_same_again_is_the_same_hold_and_another_request_is_refused(world: World) -> None:
    first = await hold(world, "one", quantity=2, tier="tier_regular")
    again = await hold(world, "one", quantity=2, tier="tier_regular")
    third = await hold(world, "one", quantity=2, tier="tier_regular")
    assert first.json() == again.json() == third.json()
    assert third.headers["Idempotent-Replayed"] == "true"
    other = await hold(world, "one", quantity=1)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert await box_office.left(world.runtime.database) == (3, 2, 0)


@pytest.mark.usefixtures("run")
async def test_a_hold_with_an_id_of_its_own_is_one_hold_under_every_key(world: World) -> None:
    mine = {"id": "hold_mine", "quantity": 2}
    assert told(await hold(world, "one", **mine), "id") == ["hold_mine"]
    assert told(await hold(world, "two", **mine), "id") == ["hold_mine"]
    other = await hold(world, "three", "lis_yan", **mine)
    assert (other.status_code, other.json()["code"]) == (409, "hold_differs")
    assert await box_office.left(world.runtime.database) == (3, 2, 0)


@pytest.mark.usefixtures("run")
async def test_as_many_as_there_are_where_fewer_would_do(world: World) -> None:
    assert told(await hold(world, "one", quantity=2, least=1), "tier", "quantity") == [
        *("tier_early", 1),
    ]
    assert told(await hold(world, "two", "lis_yan", quantity=2), "tier", "quantity") == [
        *("tier_regular", 2),
    ]
    out = await hold(world, "three", "lis_ann", quantity=2, least=1)
    assert (out.status_code, out.json()["code"]) == (409, "sold_out")


@pytest.mark.usefixtures("run")
async def test_a_hold_lasts_at_most_twice_as_long_however_often_that_is_asked(world: World) -> None:
    (name, created) = told(await hold(world, "one"), "id", "created")
    for key in ("extend", "again"):
        place, mine = f"/v1/holds/{name}/extend", {"listener": "lis_zoe"}
        answer = await world.client.post(place, json=mine, headers={KEY: key})
        assert told(answer, "expires_at") == [created + 1200]
    world.ahead += timedelta(seconds=1201)
    await world.heard()
    answer = await world.client.get(f"/v1/holds/{name}")
    assert told(answer, "state") == ["expired"]


@pytest.mark.usefixtures("run")
async def test_who_gives_tickets_back_leaves_them_to_others(world: World) -> None:
    (name,) = told(await hold(world, "one", quantity=2), "id")
    place = f"/v1/holds/{name}/release"
    other = await world.client.post(place, json={"listener": "lis_yan"}, headers={KEY: "a"})
    assert (other.status_code, other.json()["code"]) == (403, "not_your_hold")
    for key in ("b", "c"):
        mine = {"listener": "lis_zoe"}
        answer = await world.client.post(place, json=mine, headers={KEY: key})
        assert told(answer, "state") == ["released"]
    assert await box_office.left(world.runtime.database) == (3, 0, 0)
    assert await stories.guilty(world.runtime.database) == {}


async def test_sold_out_is_said_from_memory_for_a_moment_and_never_to_who_has_a_hold(
    world: World, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = await hold(world, "mine", quantity=2, tier="tier_regular")
    assert told(await hold(world, "other", "lis_yan"), "remaining") == [0]
    asked = 0
    fetch = world.runtime.database.fetch

    async def counted(sql: str, *args: Any) -> Any:
        nonlocal asked
        asked += sql == desk.FIRST
        return await fetch(sql, *args)

    monkeypatch.setattr(world.runtime.database, "fetch", counted)
    late = await asyncio.gather(*(hold(world, f"late_{n}", f"lis_{n}") for n in range(20)))
    assert {(one.status_code, one.json()["code"]) for one in late} == {(409, "sold_out")}
    assert all(1 <= int(one.headers["Retry-After"]) <= 60 for one in late)
    assert asked == 1  # those who came together; and now it is known
    more = await asyncio.gather(*(hold(world, f"more_{n}", f"lis_{n}") for n in range(20)))
    assert {one.json()["code"] for one in more} == {"sold_out"}
    again = await hold(world, "mine", quantity=2, tier="tier_regular")
    assert (again.json(), asked) == (mine.json(), 1)
    (name,) = told(mine, "id")
    await holds.release(world.runtime.database, name, "lis_zoe", now=world.runtime.now())
    world.ahead += desk.REMEMBERED
    assert told(await hold(world, "late_0", "lis_0"), "state") == ["held"]  # the key was free
    assert (await box_office.left(world.runtime.database, run))[1] == 2


@pytest.mark.usefixtures("run")
async def test_a_refused_claim_leaves_nothing_behind(world: World) -> None:
    before = await world.rows()
    for key, wrong in (
        ("a", {"run": "run_none"}),
        ("b", {"tier": "tier_none"}),
        ("c", {"quantity": 0}),
        ("d", {"quantity": 4}),
        ("e", {"code": "NONE"}),
        ("f", {"least": 3, "quantity": 2}),
    ):
        answer = await hold(world, key, **wrong)
        assert answer.is_client_error, wrong
    after = await world.rows()
    assert before == after


async def test_what_lapsed_in_a_tier_is_claimed_though_the_run_has_room(world: World) -> None:
    database, now = world.runtime.database, world.runtime.now()
    tiers = (TierWish("Front", "fixed", 900, "tier_front", size=1), TierWish("Seat", minor=500))
    await box_office.run(database, now, size=10, tiers=tiers)
    assert told(await hold(world, "one", tier="tier_front"), "state") == ["held"]
    early = await hold(world, "two", "lis_yan", tier="tier_front")
    assert early.json()["code"] == "sold_out"
    world.ahead += timedelta(seconds=601)  # and no worker sweeps
    assert told(await hold(world, "two", "lis_yan", tier="tier_front"), "state") == ["held"]
