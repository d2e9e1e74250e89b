"""Calendars: files that calendars read, the same thing by the same UID, each change a later one."""

from datetime import UTC, datetime, timedelta

import httpx
from icalendar import Calendar

from takings.database import Database
from takings.spaces import spaces
from tests import at_the_door, stories

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)
STARTS = NOW + timedelta(days=3)


async def event(client: httpx.AsyncClient, path: str) -> dict[str, object]:
    """What the one event of a calendar says."""
    answer = await client.get(f"{path}/calendar")
    assert answer.headers["content-type"].startswith("text/calendar"), answer.text
    assert b"\r\n" in answer.content
    assert max(map(len, answer.content.split(b"\r\n"))) <= 75
    [found] = Calendar.from_ical(answer.content).walk("VEVENT")
    told = {name: found[name] for name in ("UID", "SEQUENCE", "SUMMARY", "STATUS")}
    times = {name: found[name].dt for name in ("DTSTART", "DTEND")}
    return {**told, **times, "DESCRIPTION": found.get("DESCRIPTION")}


async def scheduled(database: Database, title: str = "Late talk") -> None:
    await stories.room(database, NOW, space="spc_other")  # for its hosts
    await spaces.schedule(
        database,
        "spc_one",
        host="host_ada",
        title=title,
        policy=stories.CLUBHOUSE,
        starts_at=STARTS,
        now=NOW,
    )


async def test_a_space_is_an_event_of_an_hour_until_it_has_ended(
    database: Database, client: httpx.AsyncClient
) -> None:
    title = "Spät; viele, viele Gäste\\n" * 5
    await scheduled(database, title)
    before = await event(client, "/v1/spaces/spc_one")
    assert before == {
        "UID": "spc_one@takings",
        "SEQUENCE": 0,
        "SUMMARY": title,
        "STATUS": "CONFIRMED",
        "DTSTART": STARTS,
        "DTEND": STARTS + HOUR,
        "DESCRIPTION": None,
    }
    await spaces.move(database, "spc_one", "live", now=STARTS)
    await spaces.move(database, "spc_one", "ended", now=STARTS + 2 * HOUR)
    after = await event(client, "/v1/spaces/spc_one")
    changed = {"SEQUENCE": after["SEQUENCE"], "DTEND": STARTS + 2 * HOUR}
    assert after == before | changed
    assert int(str(after["SEQUENCE"])) > 0


async def test_a_space_that_is_moved_or_cancelled_is_the_same_event_with_a_later_sequence(
    database: Database, client: httpx.AsyncClient
) -> None:
    await scheduled(database)
    told = [await event(client, "/v1/spaces/spc_one")]
    move = "UPDATE spaces SET starts_at = $1, rescheduled_at = $2 WHERE id = 'spc_one'"
    await database.fetch(move, STARTS + 5 * HOUR, NOW + HOUR)
    told.append(await event(client, "/v1/spaces/spc_one"))
    await spaces.move(database, "spc_one", "cancelled", now=NOW + 2 * HOUR)
    told.append(await event(client, "/v1/spaces/spc_one"))
    assert [one["DTSTART"] for one in told] == [STARTS, STARTS + 5 * HOUR, STARTS + 5 * HOUR]
    assert [one["STATUS"] for one in told] == ["CONFIRMED", "CONFIRMED", "CANCELLED"]
    assert [one["SEQUENCE"] for one in told] == [0, 3600, 7200]
    assert {one["UID"] for one in told} == {"spc_one@takings"}


async def test_a_ticket_is_an_event_of_its_own_and_struck_out_when_it_is_void(
    database: Database, client: httpx.AsyncClient
) -> None:
    await scheduled(database)
    await at_the_door.guests(database, NOW, "zoe")
    before = await event(client, "/v1/tickets/tkt_zoe_1")
    assert (before["UID"], before["DESCRIPTION"]) == ("tkt_zoe_1@takings", "Ticket 1, Seat")
    await at_the_door.given_back(database, "zoe", NOW + HOUR)
    after = await event(client, "/v1/tickets/tkt_zoe_1")
    assert after == before | {"STATUS": "CANCELLED", "SEQUENCE": 3600}


async def test_where_there_is_no_time_yet_there_is_no_calendar(
    database: Database, client: httpx.AsyncClient
) -> None:
    told = {"host": "host_ada", "title": "Some day", "policy": stories.CLUBHOUSE}
    await stories.room(database, NOW)
    await spaces.schedule(database, "spc_two", **told, shares=(), now=NOW)
    answer = await client.get("/v1/spaces/spc_two/calendar")
    assert (answer.status_code, answer.json()["code"]) == (409, "no_time_yet")
    live = await event(client, "/v1/spaces/spc_one")
    assert live["DTSTART"] == NOW
    for path in ("/v1/spaces/spc_none", "/v1/tickets/tkt_none"):
        assert (await client.get(f"{path}/calendar")).status_code == 404
