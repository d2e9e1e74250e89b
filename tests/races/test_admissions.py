"""Many scans of one ticket at once: one is admitted, and no other act comes between."""

import asyncio
from collections import Counter
from datetime import UTC, datetime

from takings.database import Database, fetch
from tests import at_the_door, books
from tests.conftest import PROVE, Fresh
from ticketing import admissions, doors
from ticketing.doors import Scan

NOW = datetime.now(UTC)
MANY = 300
ROUNDS = 20 if PROVE else 2


async def crowd(database: Database, name: str) -> Counter[str]:
    """What becomes of three hundred scans of one pass, at ten doors."""
    text = await at_the_door.shows(database, name, NOW)
    scans = (at_the_door.scanned(database, text, NOW, f"door {n % 10}") for n in range(MANY))
    return Counter(await asyncio.gather(*scans))


async def test_of_three_hundred_scans_of_one_ticket_exactly_one_is_admitted(
    database: Database,
) -> None:
    names = [f"guest{n}" for n in range(ROUNDS)]
    await at_the_door.guests(database, NOW, *names)
    for name in names:
        assert await crowd(database, name) == {"admitted": 1, "already_admitted": MANY - 1}
    assert await books.count(database, "admissions") == ROUNDS


async def test_control_without_the_primary_key_many_are_admitted(
    database: Database, fresh: Fresh
) -> None:
    await at_the_door.guests(database, NOW, "zoe")
    async with Database(fresh.owner, connections=1) as owner:
        await owner.fetch("ALTER TABLE admissions DROP CONSTRAINT admissions_pk")
    await crowd(database, "zoe")
    assert await books.count(database, "admissions") > 1


async def test_the_same_admission_asked_for_many_times_at_once_is_one(database: Database) -> None:
    await at_the_door.guests(database, NOW, "zoe")
    text = await at_the_door.shows(database, "zoe", NOW)
    wish = admissions.AdmissionWish("adm_one", text, "spc_one", "north")
    found = await asyncio.gather(*(admissions.admit(database, wish, now=NOW) for _ in range(50)))
    assert {one.admission.id for one in found} == {"adm_one"}
    assert await books.count(database, "admissions") == 1


async def test_a_ticket_that_is_locked_to_be_passed_on_is_admitted_before_or_not_at_all(
    database: Database,
) -> None:
    await at_the_door.guests(database, NOW, "zoe")
    text = await at_the_door.shows(database, "zoe", NOW)
    async with database.transaction() as session:
        await fetch(session, "SELECT FROM tickets WHERE id = 'tkt_zoe_1' FOR NO KEY UPDATE")
        scan = asyncio.create_task(at_the_door.scanned(database, text, NOW))
        await asyncio.sleep(0.2)
        assert not scan.done()
        assert await admissions.used(session, "tkt_zoe_1") is None
        await fetch(session, "UPDATE tickets SET serial = serial + 1 WHERE id = 'tkt_zoe_1'")
    assert await scan == "pass_replaced"


async def test_doors_that_tell_at_once_come_to_one_first_and_lose_no_scan(
    database: Database,
) -> None:
    names = [f"guest{n}" for n in range(20)]
    await at_the_door.guests(database, NOW, *names)
    texts = [await at_the_door.shows(database, name, NOW) for name in names]
    told = (
        doors.tell(database, "spc_one", f"door {n}", [Scan(text, NOW) for text in turn], now=NOW)
        for n, turn in enumerate([texts, texts[::-1]] * 5)
    )
    await asyncio.gather(*told, *(at_the_door.scanned(database, text, NOW) for text in texts))
    first = await database.fetch("SELECT DISTINCT door FROM admissions")
    assert [row.door for row in first] == ["door 0"]
    online = await database.fetch(
        "SELECT count(*) AS n FROM admission_conflicts WHERE door = 'north'"
    )
    assert await books.count(database, "admissions") == 20
    assert await books.count(database, "admission_conflicts") == 9 * 20 + online[0].n
