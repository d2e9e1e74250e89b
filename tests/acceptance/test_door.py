"""Doors without the net: what they take along is enough, what they tell comes to one truth."""

import itertools
from datetime import UTC, datetime, timedelta

import httpx

from takings.database import Database
from takings.spaces import spaces
from tests import at_the_door, books, stories
from ticketing import doors
from ticketing.doors import Scan
from ticketing.passes import Pass

NOW = datetime.now(UTC).replace(microsecond=0)
DOOR = "/v1/spaces/spc_one/door"


def at(minutes: int) -> datetime:
    return NOW + timedelta(minutes=minutes)


async def told(
    database: Database, door: str, *scans: Scan, space: str = "spc_one"
) -> list[str | None]:
    """What becomes of a door's scans: admitted, conflict, or the code of the refusal."""
    found = await doors.tell(database, space, door, scans, now=at(60))
    return [one.code if one.outcome == "refused" else one.outcome for one in found]


async def first(database: Database) -> dict[int, str]:
    """Of each ticket that was used, the door that was first."""
    return {
        row.number: row.door
        for row in await database.fetch(
            "SELECT number, door FROM admissions a JOIN tickets t ON t.id = a.ticket_id"
        )
    }


async def others(database: Database) -> list[tuple[int, str, str]]:
    """Every conflict: whose, where, why; in the order in which they happened."""
    found = await database.run(doors.conflicts, "spc_one")
    return [(ticket.number or 0, one.door, one.cause) for one, ticket in found]


async def test_a_door_takes_along_all_that_it_needs_and_asks_again_only_for_what_changed(
    database: Database, client: httpx.AsyncClient
) -> None:
    await at_the_door.guests(database, NOW, "zoe", "ann", "bea")
    await at_the_door.given_back(database, "bea", NOW)
    answer = await client.get(DOOR)
    listed = answer.json()["data"]
    assert [(one["number"], one["serial"], one["listener"]) for one in listed] == [
        (1, 1, "lis_zoe"),
        (2, 1, "lis_ann"),
    ]
    assert not [name for one in listed for name in one if "secret" in name]
    known = {"If-None-Match": answer.headers["etag"]}
    weak = {"If-None-Match": f'"other", W/{answer.headers["etag"]}'}
    for headers in (known, weak):
        again = await client.get(DOOR, headers=headers)
        assert (again.status_code, again.content) == (304, b"")
    text = await at_the_door.shows(database, "zoe", NOW)
    assert await at_the_door.scanned(database, text, NOW) == "admitted"
    changed = await client.get(DOOR, headers=known)
    assert changed.status_code == 200
    used = {one["listener"]: one["admitted_at"] for one in changed.json()["data"]}
    assert used == {"lis_zoe": int(NOW.timestamp()), "lis_ann": None}
    assert (await client.get("/v1/spaces/spc_none/door")).status_code == 404


async def test_the_earlier_scan_is_the_admission_whoever_tells_first(
    database: Database, client: httpx.AsyncClient
) -> None:
    await at_the_door.guests(database, NOW, "zoe")
    zoe = await at_the_door.shows(database, "zoe", NOW)
    assert await at_the_door.scanned(database, zoe, at(30), "online") == "admitted"
    for _ in range(2):  # telling it again changes nothing
        assert await told(database, "south", Scan(zoe, at(20))) == ["admitted"]
        assert await told(database, "north", Scan(zoe, at(25))) == ["conflict"]
        assert await first(database) == {1: "south"}
        twice = [(1, "north", "already_admitted"), (1, "online", "already_admitted")]
        assert await others(database) == twice
    assert await told(database, "north", Scan(zoe, at(10))) == ["admitted"]
    assert await told(database, "south", Scan(zoe, at(20))) == ["conflict"]
    listed = (await client.get(f"{DOOR}/conflicts")).json()["data"]
    assert [(one["door"], one["ticket"], one["cause"]) for one in listed] == [
        ("south", "tkt_zoe_1", "already_admitted"),
        ("north", "tkt_zoe_1", "already_admitted"),
        ("online", "tkt_zoe_1", "already_admitted"),
    ]
    [admitted] = (await client.get("/v1/admissions")).json()["data"]
    assert (admitted["door"], admitted["at"]) == ("north", int(at(10).timestamp()))


async def test_two_scans_of_one_ticket_at_one_door_are_one_admission_and_one_conflict(
    database: Database,
) -> None:
    await at_the_door.guests(database, NOW, "zoe")
    zoe = await at_the_door.shows(database, "zoe", NOW)
    scans = [Scan(zoe, at(2)), Scan(zoe, at(1)), Scan(zoe, at(1)), Scan(zoe, at(3))]
    expected = ["conflict", "admitted", "admitted", "conflict"]
    assert await told(database, "north", *scans) == expected
    assert await told(database, "north", *scans) == expected
    assert len(await others(database)) == 2


async def test_a_door_that_was_fooled_is_told_and_the_report_says_by_whom(
    database: Database,
) -> None:
    await at_the_door.guests(database, NOW, "zoe", "ann", "bea", "eve")
    await stories.room(database, NOW, space="spc_two")
    texts = {n: await at_the_door.shows(database, n, NOW) for n in ("zoe", "ann", "bea")}
    await at_the_door.passed_on(database, "ann")
    await at_the_door.given_back(database, "bea", NOW)
    rows = await database.fetch("SELECT id, number FROM tickets")
    number = {row.id.split("_")[1]: row.number for row in rows}
    scans = [
        Scan("forged", at(1)),
        Scan(texts["ann"], at(2)),
        Scan(texts["bea"], at(3)),
        Scan(texts["zoe"], at(99)),
        Scan(texts["zoe"], at(-99)),
        Scan(Pass("run_one", number["ann"], 1), at(4)),
        Scan(Pass("run_one", number["ann"], 2), at(5)),
        Scan(Pass("run_one", 99, 1), at(6)),
        Scan(Pass("run_one", number["eve"], 1), at(7)),
    ]
    expected = [
        *("bad_pass", "pass_replaced", "ticket_void", "clock_wrong", "clock_wrong"),
        *("pass_replaced", "admitted", "bad_pass", "admitted"),
    ]
    assert await told(database, "north", *scans) == expected
    assert await told(database, "north", *scans) == expected
    assert await first(database) == {number["ann"]: "north", number["eve"]: "north"}
    assert await told(database, "east", Scan(texts["zoe"], at(8)), space="spc_two") == [
        "wrong_space"
    ]
    assert {(who, cause) for who, _, cause in await others(database)} == {
        (number["zoe"], "clock_wrong"),
        (number["ann"], "pass_replaced"),
        (number["bea"], "ticket_void"),
    }
    assert len(await database.run(doors.conflicts, "spc_two")) == 1


async def test_what_was_admitted_stays_so_when_it_is_told_again_after_the_ticket_ended(
    database: Database,
) -> None:
    await at_the_door.guests(database, NOW, "zoe", "ann")
    zoe, ann = [await at_the_door.shows(database, name, NOW) for name in ("zoe", "ann")]
    assert await told(database, "north", Scan(zoe, at(1))) == ["admitted"]
    await spaces.move(database, "spc_one", "cancelled", now=NOW)
    assert await told(database, "north", Scan(zoe, at(1)), Scan(ann, at(2))) == [
        "admitted",
        "space_cancelled",
    ]


STORIES = (
    [("south", 1), ("north", 1)],
    [("west", 3), ("south", 2), ("north", 4), ("south", 0)],
    [("north", 2), ("north", 1), ("north", 0), ("south", 0)],
)
ENDS = """
SELECT '' AS cause, door, happened_at FROM admissions WHERE ticket_id = $1
 UNION ALL
SELECT cause, door, happened_at FROM admission_conflicts WHERE ticket_id = $1
 ORDER BY happened_at, door
"""


async def test_in_whatever_order_doors_tell_and_however_often_the_truth_is_the_same(
    database: Database,
) -> None:
    orders = [(story, order) for story in STORIES for order in itertools.permutations(story)]
    names = [f"guest{n}" for n in range(len(orders))]
    await at_the_door.guests(database, NOW, *names)
    for name, (story, order) in zip(names, orders, strict=True):
        text = await at_the_door.shows(database, name, NOW)
        for door, minute in (*order, *order):
            await told(database, door, Scan(text, at(minute)))
        ends = [tuple(row) for row in await database.fetch(ENDS, f"tkt_{name}_1")]
        in_turn = sorted((at(minute), door) for door, minute in story)
        causes = ["", *["already_admitted"] * (len(story) - 1)]
        assert ends == [
            (cause, door, when) for cause, (when, door) in zip(causes, in_turn, strict=True)
        ], order


async def test_bad_uploads_are_clear_problems_and_nothing_is_written(
    database: Database, client: httpx.AsyncClient
) -> None:
    await at_the_door.guests(database, NOW, "zoe")
    zoe = await at_the_door.shows(database, "zoe", NOW)
    good = {"pass": zoe, "at": int(at(0).timestamp())}
    for scans in (
        [],
        [good] * 1001,
        [{"pass": zoe}],
        [{"at": good["at"]}],
        [good | {"run": "run_one", "number": 1, "serial": 1}],
        [{"run": "run_one", "number": 1, "at": good["at"]}],
        [{"run": "run_one", "number": 0, "serial": 1, "at": good["at"]}],
        [{"run": "run_one", "number": 2**31, "serial": 1, "at": good["at"]}],
        [good | {"at": "noon"}],
    ):
        answer = await client.post(DOOR, json={"door": "north", "scans": scans})
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), scans
    assert await books.count(database, "admissions") == 0
    answer = await client.post("/v1/spaces/spc_none/door", json={"door": "n", "scans": [good]})
    assert answer.status_code == 404
    answer = await client.post(DOOR, json={"door": "north", "scans": [good] * 1000})
    assert {one["outcome"] for one in answer.json()["data"]} == {"admitted"}
    assert await books.count(database, "admissions") == 1
    assert answer.json()["data"][0]["first"] == {
        "door": "north",
        "place": None,
        "at": good["at"],
    }
