"""A ticket is admitted once, at its own door; whoever comes too late is told what is wrong."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from takings.database import Database
from takings.spaces import spaces
from tests import at_the_door, books, stories
from ticketing import admissions, passes
from ticketing.admissions import AdmissionWish
from ticketing.passes import Pass

NOW = datetime.now(UTC)


async def ask(client: httpx.AsyncClient, text: str, **more: Any) -> tuple[int, Any]:
    """What is answered to a pass that is shown at a door of spc_one."""
    given = {"pass": text, "space": "spc_one", "door": "north", **more}
    answer = await client.post("/v1/admissions", json=given)
    return answer.status_code, answer.json()


async def test_a_ticket_is_admitted_once_and_then_one_is_told_where_and_when(
    database: Database, client: httpx.AsyncClient
) -> None:
    await at_the_door.guests(database, NOW, "zoe")
    zoe = await at_the_door.shows(database, "zoe", NOW)
    status, first = await ask(client, zoe, place="Garden gate")
    assert status == 200
    told = {name: first[name] for name in ("ticket", "number", "tier", "listener", "run", "space")}
    assert told == {
        "ticket": "tkt_zoe_1",
        "number": 1,
        "tier": "Seat",
        "listener": "lis_zoe",
        "run": "run_one",
        "space": "spc_one",
    }
    status, second = await ask(client, zoe, door="south")
    assert (status, second["code"]) == (409, "already_admitted")
    at = datetime.fromtimestamp(first["at"], UTC)
    assert f"{at:%Y-%m-%d %H:%M:%S} UTC, at the door north, Garden gate" in second["detail"]
    listed = (await client.get("/v1/admissions", params={"space": "spc_one"})).json()
    assert listed["data"] == [first]
    assert (await client.get("/v1/admissions", params={"space": "spc_two"})).json()["data"] == []


async def test_the_same_admission_again_is_the_same_and_another_tickets_is_refused(
    database: Database,
) -> None:
    await at_the_door.guests(database, NOW, "zoe", "ann")
    texts = [await at_the_door.shows(database, name, NOW) for name in ("zoe", "ann")]
    wishes = [AdmissionWish("adm_one", text, "spc_one", "north") for text in texts]
    first = await admissions.admit(database, wishes[0], now=NOW)
    later = NOW + timedelta(minutes=5)
    assert await admissions.admit(database, wishes[0], now=later) == first
    with pytest.raises(admissions.AdmissionDiffers):
        await admissions.admit(database, wishes[1], now=later)
    assert await books.count(database, "admissions") == 1


async def test_what_is_wrong_with_a_pass_is_said_and_nobody_is_let_in(
    database: Database, client: httpx.AsyncClient
) -> None:
    await at_the_door.guests(database, NOW, "zoe", "ann", "bea")
    await stories.room(database, NOW, space="spc_two")
    zoe, ann, bea = [await at_the_door.shows(database, name, NOW) for name in ("zoe", "ann", "bea")]
    await at_the_door.passed_on(database, "ann")
    await at_the_door.given_back(database, "bea", NOW)
    [signing] = await database.fetch("SELECT private FROM signing_keys")
    [row] = await database.fetch("SELECT secret FROM tickets WHERE id = 'tkt_zoe_1'")
    secret = passes.digest(row.secret)
    wrong = {
        "forged": (zoe[:100] + ("A" if zoe[100] != "A" else "B") + zoe[101:], 422, "bad_pass"),
        "scribbled": ("let me in", 422, "bad_pass"),
        "passed on": (ann, 409, "pass_replaced"),
        "given back": (bea, 409, "ticket_void"),
        "of no ticket": (
            passes.sign(Pass("run_one", 99, 1, secret), signing.private),
            422,
            "bad_pass",
        ),
        "of another secret": (
            passes.sign(Pass("run_one", 1, 1, b"12345678"), signing.private),
            422,
            "bad_pass",
        ),
        "of a serial to come": (
            passes.sign(Pass("run_one", 1, 2, secret), signing.private),
            422,
            "bad_pass",
        ),
    }
    told = {}
    for what, (text, *_) in wrong.items():
        status, answer = await ask(client, text)
        told[what] = [status, answer["code"]]
    assert told == {what: expected for what, (_, *expected) in wrong.items()}
    status, answer = await ask(client, zoe, space="spc_two")
    assert (status, answer["code"]) == (403, "wrong_space")
    assert "spc_one" in answer["detail"]
    assert (await ask(client, zoe, space="spc_none"))[0] == 404
    assert await books.count(database, "admissions") == 0
    assert (await ask(client, await at_the_door.shows(database, "ann", NOW)))[0] == 200
    assert (await ask(client, zoe))[0] == 200, "the control"


async def test_nobody_is_let_into_a_space_that_was_cancelled(database: Database) -> None:
    await at_the_door.guests(database, NOW, "zoe")
    zoe = await at_the_door.shows(database, "zoe", NOW)
    await spaces.move(database, "spc_one", "cancelled", now=NOW)
    assert await at_the_door.scanned(database, zoe, NOW) == "space_cancelled"


async def test_admissions_are_shown_in_pages(database: Database, client: httpx.AsyncClient) -> None:
    names = [f"guest{n}" for n in range(5)]
    await at_the_door.guests(database, NOW, *names)
    for n, name in enumerate(names):
        text = await at_the_door.shows(database, name, NOW)
        assert await at_the_door.scanned(database, text, NOW + timedelta(seconds=n)) == "admitted"
    found: list[str] = []
    asked: dict[str, Any] = {"space": "spc_one", "limit": 2}
    while True:
        page = (await client.get("/v1/admissions", params=asked)).json()
        found += [one["ticket"] for one in page["data"]]
        if not page["has_more"]:
            break
        asked["starting_after"] = page["data"][-1]["id"]
    assert found == [f"tkt_{name}_1" for name in reversed(names)]
