"""Gates: who may open Spaces and runs, as the presets of 2021 asked."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.runtime import Runtime
from takings.database import Database
from takings.errors import TakingsError
from takings.policies import policies
from takings.policies.presets import PRESETS
from takings.policies.rules import Policy
from takings.spaces import hosts, spaces, standings
from takings.spaces.standings import Standing
from tests import stories
from ticketing import runs
from ticketing.wishes import RunWish, TierWish

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
TWITTER = "twitter-ticketed-spaces-2021"
DISCORD = "discord-2021"
GOOD = Standing(followers=1000, age=18, spaces=3, spaces_within_days=30)


async def state(database: Database, standing: Standing, now: datetime = NOW) -> None:
    await standings.state(database, "host_ada", standing, now=now)


async def run(
    database: Database, policy: str, minor: int = 500, size: int = 10, now: datetime = NOW
) -> str:
    """The message of the refusal; or "fine"."""
    tiers = (TierWish("Seat", "fixed", minor),)
    wish = RunWish(f"run_{policy}_{minor}", "spc_one", size, tiers, "usd", policy)
    try:
        await runs.open(database, wish, now=now)
    except TakingsError as error:
        return error.message
    return "fine"


async def test_who_opened_ticketed_spaces_in_2021(database: Database) -> None:
    await stories.room(database, NOW)
    asks = f"The host host_ada is not what the policy {TWITTER} asks for: "
    spaces_lack = "spaces not stated, 3 within 30 days needed"
    assert await run(database, TWITTER) == (
        f"{asks}followers not stated, 1000 needed, age not stated, 18 needed, {spaces_lack}."
    )
    await state(database, Standing(followers=999, age=17, spaces=2, spaces_within_days=30))
    assert await run(database, TWITTER) == (
        f"{asks}followers 999, 1000 needed, age 17, 18 needed, spaces 2, 3 within 30 days needed."
    )
    longer = Standing(followers=1000, age=18, spaces=3, spaces_within_days=31)
    await state(database, longer)
    assert await run(database, TWITTER) == f"{asks}{spaces_lack}."
    await state(database, GOOD)
    assert await run(database, TWITTER, now=NOW + 31 * DAY) == f"{asks}{spaces_lack}."
    assert await run(database, TWITTER) == "fine"
    assert await run(database, TWITTER, 1_00) == "fine"
    assert await run(database, TWITTER, 999_00) == "fine"
    assert await run(database, TWITTER, 99) == "0.99 USD is less than the minimum of 1.00 USD."
    assert (
        await run(database, TWITTER, 999_01) == "999.01 USD is more than the maximum of 999.00 USD."
    )


async def test_a_run_that_is_open_stays_so_whatever_becomes_of_its_host(database: Database) -> None:
    await stories.room(database, NOW)
    await state(database, GOOD)
    assert await run(database, TWITTER) == "fine"
    await state(database, Standing(), NOW + DAY)
    assert await run(database, TWITTER) == "fine", "repeated"
    assert await run(database, TWITTER, 600) != "fine"


async def test_a_stage_of_2021_had_a_thousand_tickets_and_no_gate_of_numbers(
    database: Database,
) -> None:
    await stories.room(database, NOW)
    assert await run(database, DISCORD, 500, 1001) == (
        "A run of 1001 tickets is more than the 1000 that the policy discord-2021 allows."
    )
    assert await run(database, DISCORD, 500, 1000) == "fine"
    act = runs.edit(database, f"run_{DISCORD}_500", {"size": 1001}, now=NOW)
    with pytest.raises(TakingsError, match="more than the 1000"):
        await act


async def test_who_opened_a_space_in_2021(database: Database) -> None:
    await hosts.register(database, "host_ada", "Ada", now=NOW)
    told: dict[str, Any] = {"host": "host_ada", "title": "Talk", "policy": "clubhouse-2021"}

    async def schedule(space: str, gate: str | None) -> None:
        await spaces.schedule(database, space, gate=gate, **told, now=NOW)

    await schedule("spc_free", None)
    await state(database, Standing(followers=599))
    with pytest.raises(standings.NotEligible, match="followers 599, 600 needed"):
        await schedule("spc_gated", "spaces-2021")
    await state(database, Standing(followers=600))
    await schedule("spc_gated", "spaces-2021")
    await state(database, Standing(followers=1))
    await schedule("spc_gated", "spaces-2021")  # repeated
    with pytest.raises(standings.NotEligible):
        await schedule("spc_more", "spaces-2021")


async def test_spaces_without_a_number_of_days_count_however_long_ago(database: Database) -> None:
    await stories.room(database, NOW)
    plain = PRESETS[TWITTER].to_dict()
    asked = {"followers_min": 0, "age_min": 0, "spaces_min": 5, "spaces_within_days": 0}
    plain |= {"name": "veterans", "eligibility": {**asked, "hosts": "every enabled host"}}
    await policies.publish(database, Policy.from_dict(plain), now=NOW)
    await state(database, Standing(spaces=4, spaces_within_days=365))
    assert "spaces 4, 5 needed." in await run(database, "veterans")
    await state(database, Standing(spaces=5, spaces_within_days=365))
    assert await run(database, "veterans", now=NOW + 400 * DAY) == "fine"


@pytest.mark.parametrize(
    "facts", [{"followers": -1}, {"age": 2**31}, {"spaces": 3}, {"spaces_within_days": 30}]
)
def test_facts_are_whole_and_spaces_have_their_days(facts: dict[str, int]) -> None:
    with pytest.raises(standings.BadStanding):
        Standing(**facts)


async def test_a_statement_that_comes_late_does_not_undo_a_newer_one(database: Database) -> None:
    await hosts.register(database, "host_ada", "Ada", now=NOW)
    await state(database, GOOD, NOW + DAY)
    await state(database, Standing(followers=1), NOW)
    async with database.transaction() as session:
        known = await standings.get(session, "host_ada")
    assert known is not None
    assert (known.followers, known.stated_at) == (1000, NOW + DAY)


@pytest.fixture
def settings(settings: Any) -> Any:
    """Only hosts with 600 followers open Spaces here."""
    return settings.model_copy(update={"hosting_gate": "spaces-2021"})


async def test_facts_are_stated_and_looked_at_over_http(
    runtime: Runtime, client: httpx.AsyncClient
) -> None:
    await hosts.register(runtime.database, "host_ada", "Ada", now=NOW)
    unknown = (await client.get("/v1/hosts/host_ada/standing")).json()
    assert (unknown["followers"], unknown["stated_at"]) == (None, None)
    space = {"host": "host_ada", "title": "Talk"}
    refused = await client.post("/v1/spaces", json=space)
    assert (refused.status_code, refused.json()["code"]) == (403, "not_eligible")
    facts = {"followers": 600, "age": 20}
    stated = await client.put("/v1/hosts/host_ada/standing", json=facts)
    assert stated.json() == (await client.get("/v1/hosts/host_ada/standing")).json()
    assert {**stated.json(), **facts} == stated.json()
    assert (await client.post("/v1/spaces", json=space)).status_code == 200
    bad = await client.put("/v1/hosts/host_ada/standing", json={"age": -1})
    assert bad.json()["code"] == "bad_standing"
    for answer in (
        await client.get("/v1/hosts/host_none/standing"),
        await client.put("/v1/hosts/host_none/standing", json=facts),
    ):
        assert answer.status_code == 404
