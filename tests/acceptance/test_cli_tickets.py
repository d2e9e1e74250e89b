"""Tickets from the command line: the runs and what they have left, who has a ticket, the door."""

import asyncio
import json

import pytest

from api.runtime import Runtime
from takings.database import Database
from tests import box_office
from tests.acceptance.test_cli import Cli, assert_refused, cli
from ticketing import door_keys
from ticketing.wishes import TierWish

__all__ = ["cli"]  # the fixture

TIERS = (
    TierWish("Early", "free", id="tier_early", size=4),
    TierWish("Late", "fixed", 900, "tier_late"),
)


@pytest.fixture
async def run(database: Database, runtime: Runtime) -> str:
    """A run of ten: two tickets are sold to Ann, three held by Bea."""
    now = runtime.now()
    run = await box_office.run(database, now, tiers=TIERS)
    await box_office.claim(database, "ann", quantity=2, tier="tier_early", now=now)
    await box_office.sold(database, ["ann"], now)
    await box_office.claim(database, "bea", quantity=3, tier="tier_late", now=now)
    return run


async def test_runs_are_listed_with_what_they_have_left(cli: Cli, run: str) -> None:
    [found] = (await cli("runs", "--json")).json["data"]
    assert (found["id"], found["space"], found["currency"]) == (run, "spc_one", "eur")
    counts = {"size": 10, "sold": 2, "held": 3, "waiting": 0, "available": 5}
    assert {name: found[name] for name in counts} == counts
    shown = await cli("runs")
    assert shown.out.splitlines()[-2].replace("│", " ").split() == [
        *(run, "spc_one", *map(str, counts.values()))
    ]


async def test_a_quota_is_told_of_the_run_and_its_tiers(cli: Cli, run: str) -> None:
    said = (await cli("quota", run, "--json")).json
    assert (said["object"], said["available"], said["held"]) == ("quota", 5, 3)
    assert [tier["available"] for tier in said["tiers"]] == [2, 5]
    shown = (await cli("quota", run)).out
    assert "tier_early" in shown
    for command in ("quota", "tickets"):
        assert_refused(await cli(command, "run_none"), "not_found", "run_none")


async def test_a_quota_that_is_watched_is_told_again_when_it_changes(
    cli: Cli, runtime: Runtime, run: str
) -> None:
    process = await cli.start("quota", run, "--watch", "--json")
    assert process.stdout is not None
    told = [json.loads(await process.stdout.readline())]
    await box_office.claim(runtime.database, "cat", tier="tier_late", now=runtime.now())
    async with asyncio.timeout(20):
        told.append(json.loads(await process.stdout.readline()))
    assert [(said["held"], said["available"]) for said in told] == [(3, 5), (4, 4)]
    process.terminate()
    assert await process.wait() == 130


async def test_tickets_are_listed_by_number_and_let_in_once(
    cli: Cli, runtime: Runtime, run: str
) -> None:
    listed = await cli("tickets", run, "--json")
    assert [(one["number"], one["id"], one["state"]) for one in listed.json["data"]] == [
        (1, "tkt_ann_1", "valid"),
        (2, "tkt_ann_2", "valid"),
    ]
    assert "secret" not in listed.out
    text = await runtime.database.run(door_keys.sign, "tkt_ann_2", now=runtime.now())
    door = ("--space", "spc_one", "--door", "north")
    said = await cli("admit", text, *door, "--place", "hall 2", "--json")
    assert (said.code, said.json["ticket"], said.json["number"]) == (0, "tkt_ann_2", 2)
    assert_refused(await cli("admit", text, *door), "already_admitted", "north, hall 2")
    assert_refused(await cli("admit", text[::-1], *door), "bad_pass", "pass")
    first, second = (await cli("tickets", run, "--json")).json["data"]
    assert (first["admitted_at"], second["door"]) == (None, "north")
    assert "north" in (await cli("tickets", run)).out
    noted = await runtime.database.fetch("SELECT operation, target FROM acts")
    assert [(act.operation, act.target) for act in noted] == [("admissions.admit", "tkt_ann_2")]
