"""Policies are published over HTTP too: a version is written once, and only rules that are kept."""

import asyncio
import copy
from dataclasses import replace
from typing import Any

import httpx
import pytest

from api import keys
from api.runtime import Runtime
from takings.database import Database
from takings.policies import policies
from takings.policies.presets import PRESETS
from takings.policies.rules import Policy
from tests import stories

MINE: dict[str, Any] = PRESETS["discord-2021"].to_dict() | {
    "name": "house-rules",
    "source": "Ours, since the spring.",
}


def changed(**rules: Any) -> dict[str, Any]:
    return {"rules": copy.deepcopy(MINE) | rules}


async def test_a_version_is_published_once_and_sold_under_and_never_changes(
    client: httpx.AsyncClient,
) -> None:
    made = await client.post("/v1/policies", json={"rules": MINE})
    assert made.status_code == 200, made.text
    one = made.json()
    assert (one["name"], one["version"], one["rules"]) == ("house-rules", 1, MINE)
    assert (await client.get("/v1/policies/house-rules")).json() == one
    assert (await client.post("/v1/policies", json={"rules": MINE})).json() == one
    other = await client.post("/v1/policies", json=changed(release_days=3))
    assert (other.status_code, other.json()["code"]) == (409, "policy_differs")

    await client.post("/v1/hosts", json={"id": "host_ada", "name": "Ada"})
    space = {"host": "host_ada", "title": "Talk", "policy": "house-rules"}
    first = (await client.post("/v1/spaces", json=space)).json()
    second = await client.post("/v1/policies", json=changed(version=2, release_days=3))
    assert second.json()["version"] == 2
    later = (await client.post("/v1/spaces", json=space)).json()
    assert (first["policy_version"], later["policy_version"]) == (1, 2)
    assert (await client.get("/v1/policies/house-rules")).json()["version"] == 2
    assert (await client.get(f"/v1/spaces/{first['id']}")).json()["policy_version"] == 1


async def test_of_two_who_publish_at_once_both_do_or_one_is_told(database: Database) -> None:
    policy, now = Policy.from_dict(MINE), stories.later()
    publish = [policies.publish(database, policy, now=now) for _ in range(8)]
    await asyncio.gather(*publish)
    second = [replace(policy, version=2, release_days=days) for days in range(8)]
    told = await asyncio.gather(
        *(policies.publish(database, one, now=now) for one in second), return_exceptions=True
    )
    assert [type(one) for one in told if one] == [policies.PolicyDiffers] * 7


async def test_what_another_card_costs_is_a_rule_of_a_policy(client: httpx.AsyncClient) -> None:
    rules = copy.deepcopy(MINE)
    rules["terms"]["usd"]["fees"] = {"international": {"rate_bps": 440, "fixed": 30}}
    assert (await client.post("/v1/policies", json={"rules": rules})).is_success
    asked = {
        "price": 1000,
        "currency": "usd",
        "policy": "house-rules",
        "shares": [{"host": "ada", "weight": 10_000}],
    }

    async def fee(region: str) -> tuple[int, int]:
        found = await client.post("/v1/previews", json=asked | {"card_region": region})
        return found.json()["first"]["card_fee"], found.json()["first"]["platform"]

    assert await fee("standard") == (59, 41)
    assert await fee("international") == (74, 26)


@pytest.mark.parametrize(
    ("rules", "status", "code"),
    [
        ({"version": 0}, 422, "bad_policy"),
        ({"version": 1.0}, 422, "bad_policy"),
        ({"name": "house rules"}, 422, "bad_policy"),
        ({"surprise": 1}, 422, "bad_policy"),
        ({"dispute_fee_bearer": "listener"}, 422, "bad_policy"),
        ({"store_fee": {"web": 100}}, 422, "bad_policy"),
        ({"terms": {"usd": {"tiers": []}}}, 422, "bad_policy"),
        ({"source": "a\0b"}, 422, "unstorable"),
        ({"tax": {"country": "DE", "rate_bps": 1900}}, 403, "rule_not_kept"),
    ],
)
async def test_a_wrong_policy_is_refused_and_nothing_is_written(
    database: Database, client: httpx.AsyncClient, rules: dict[str, Any], status: int, code: str
) -> None:
    before = await database.fetch("SELECT count(*) AS n FROM policies")
    answer = await client.post("/v1/policies", json=changed(**rules))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert await database.fetch("SELECT count(*) AS n FROM policies") == before


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ({"tiers": [{"up_to": 5, "rate_bps": 0}]}, "bad_tiers"),
        ({"tiers": [{"up_to": None, "rate_bps": 10_001}]}, "bad_rate"),
        ({"fee": {"rate_bps": 290, "fixed": -1}}, "negative_amount"),
    ],
)
async def test_wrong_terms_are_refused_by_name(
    client: httpx.AsyncClient, terms: dict[str, Any], code: str
) -> None:
    usd = MINE["terms"]["usd"] | terms
    answer = await client.post("/v1/policies", json=changed(terms={"usd": usd}))
    assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_who_tends_spaces_reads_policies_and_publishes_none(
    runtime: Runtime, service: str
) -> None:
    now = stories.later()
    for scope, status in (("spaces", 403), ("finance", 200)):
        _, secret = await keys.issue(runtime.database, scope, scopes=[scope], now=now)
        headers = {"Authorization": f"Bearer {secret}"}
        async with httpx.AsyncClient(base_url=service, headers=headers) as caller:
            assert (await caller.get("/v1/policies")).status_code == 200
            answer = await caller.post("/v1/policies", json={"rules": MINE})
            assert answer.status_code == status
