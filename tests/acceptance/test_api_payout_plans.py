"""Payout plans and batches over HTTP: edited by one at a time, carried on by the worker."""

from datetime import date, timedelta

import httpx
import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.payouts import batches
from tests import crowd, paying, stories
from tests.acceptance.test_api_payouts import ADA, PLAN, code

WEEKLY = {"schedule": "weekly", "anchor": 5, "minimums": {"eur": 1000, "jpy": 0}}


async def test_a_plan_begins_with_the_policy_and_is_edited_at_the_version_that_was_seen(
    runtime: Runtime, client: httpx.AsyncClient
) -> None:
    assert code(await client.get(PLAN)) == (404, "not_found")
    await client.post("/v1/hosts", json={"id": ADA, "name": "Ada"})
    bare = await client.get(PLAN)
    assert (bare.headers["etag"], bare.json()["schedule"]) == ('"0"', "daily")
    await stories.room(runtime.database, runtime.now())
    begun = await client.get(PLAN)
    assert (begun.headers["etag"], begun.json()["version"]) == ('"1"', 1)
    first = await client.put(PLAN, json=WEEKLY, headers={"If-Match": '"1"'})
    assert first.headers["etag"] == '"2"'
    told = first.json()
    assert (told["anchor"], told["minimums"]) == (5, {"eur": 1000, "jpy": 0})
    day = date.fromisoformat(told["next_on"])
    assert day.isoweekday() == 5
    assert day > runtime.now().date() - timedelta(days=1)
    manual = {"schedule": "manual"}
    late = await client.put(PLAN, json=manual, headers={"If-Match": '"1"'})
    assert code(late) == (412, "edited_meanwhile")
    second = await client.put(PLAN, json=manual, headers={"If-Match": '"2"'})
    assert (second.json()["next_on"], second.json()["minimums"]) == (None, told["minimums"])


@pytest.mark.parametrize(
    ("wrong", "status", "told"),
    [
        ({"anchor": None}, 422, "bad_payday"),
        ({"anchor": 8}, 422, "bad_payday"),
        ({"anchor": 2**40}, 422, "bad_payday"),
        ({"schedule": "monthly", "anchor": 29}, 422, "bad_payday"),
        ({"schedule": "daily"}, 422, "bad_payday"),
        ({"schedule": "hourly"}, 422, "invalid_request"),
        ({"minimums": {"eur": -1}}, 422, "bad_minimum"),
        ({"minimums": {"eur": 2**63}}, 422, "bad_minimum"),
        ({"minimums": {"xxx": 1}}, 422, "unknown_currency"),
        ({"minimums": {"eur": 1.5}}, 422, "invalid_request"),
        ({"next_on": "2026-11-21"}, 422, "invalid_request"),
        ({"paused_at": 1}, 422, "invalid_request"),
    ],
)
async def test_a_plan_that_makes_no_sense_is_refused_and_stays_as_it_was(
    client: httpx.AsyncClient, wrong: dict[str, object], status: int, told: str
) -> None:
    await client.post("/v1/hosts", json={"id": ADA, "name": "Ada"})
    before = (await client.put(PLAN, json=WEEKLY)).json()
    assert code(await client.put(PLAN, json=WEEKLY | wrong)) == (status, told)
    assert (await client.get(PLAN)).json() == before


async def test_a_pause_says_who_and_why_and_is_lifted(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    for act in ("pause", "resume"):
        answer = await client.post(f"{PLAN}/{act}", json={"why": "none"})
        assert code(answer) == (404, "not_found")
    await paying.evening(runtime, box, 500)
    await paying.payee(runtime, box)
    for why in ("a review", "another"):
        told = (await client.post(f"{PLAN}/pause", json={"why": why})).json()
        assert told["paused_why"] == "a review"
        assert told["paused_by"].startswith("key_")
    [coming] = (await client.get(f"/v1/hosts/{ADA}/upcoming_payouts")).json()["data"]
    assert (coming["why"], coming["on"], coming["estimate"]) == ("paused", None, 500)
    told = (await client.post(f"{PLAN}/resume")).json()
    assert (told["paused_at"], told["paused_why"], told["paused_by"]) == (None, None, None)
    [coming] = (await client.get(f"/v1/hosts/{ADA}/upcoming_payouts")).json()["data"]
    assert coming == {
        "object": "upcoming_payout",
        "currency": "eur",
        "on": told["next_on"],
        "available": 500,
        "estimate": 500,
        "why": None,
    }
    nobody = await client.get("/v1/hosts/host_none/upcoming_payouts")
    assert code(nobody) == (404, "not_found")


async def test_a_batch_by_hand_tells_how_far_it_is_while_the_worker_carries_it(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "STEP", 7)
    await crowd.earned(runtime, box, 20)
    path = "/v1/payout_batches/pob_1"
    assert code(await client.get(path)) == (404, "not_found")
    begun = (await client.post("/v1/payout_batches", json={"id": "pob_1"})).json()
    assert (begun["scheduled"], begun["looked"], begun["written_at"]) == (False, 0, None)

    async def told() -> tuple[int, int, int, dict[str, list[dict[str, object]]]]:
        found = (await client.get(path)).json()
        states = {part["state"]: part["amounts"] for part in found["payouts"]}
        return found["hosts"], found["looked"], found["written"], states

    assert await told() == (20, 0, 0, {})
    await runtime.database.run(batches._step, {}, runtime.now())  # noqa: SLF001 - one step of it
    some = [{"currency": "eur", "amount": 7 * crowd.EACH}]
    assert await told() == (20, 7, 7, {"sending": some})
    await paying.paying(runtime)
    every = [{"currency": "eur", "amount": 20 * crowd.EACH}]
    assert await told() == (20, 20, 20, {"sent": every})
    answer = await client.get("/v1/payouts", params={"batch": "pob_1", "limit": 100})
    assert {one["state"] for one in answer.json()["data"]} == {"sent"}
    assert len(answer.json()["data"]) == 20
    listed = (await client.get("/v1/payout_batches")).json()["data"]
    assert [(one["id"], one["written"]) for one in listed if not one["scheduled"]] == [
        ("pob_1", 20)
    ]
    again = await client.post("/v1/payout_batches", json={"id": "pob_1"})
    assert (again.json()["written"], again.json()["id"]) == (20, "pob_1")


async def test_a_batch_is_its_beginners_and_has_a_good_id(
    runtime: Runtime, client: httpx.AsyncClient
) -> None:
    await batches.start(runtime.database, "pob_1", actor="key_other", now=runtime.now())
    answer = await client.post("/v1/payout_batches", json={"id": "pob_1"})
    assert code(answer) == (409, "batch_differs")
    answer = await client.post("/v1/payout_batches", json={"id": "pob:1"})
    assert code(answer) == (422, "bad_id")
    assert (await client.post("/v1/payout_batches", json={})).json()["id"].startswith("pob_")
