"""The keys of passes are listed and rotated from a terminal, and it is noted who did."""

from datetime import UTC, datetime

from takings.database import Database
from tests import at_the_door
from tests.acceptance.test_cli import Cli, cli

__all__ = ["cli"]  # the fixture

NOW = datetime.now(UTC)


async def test_a_rotated_key_is_published_until_it_is_withdrawn(
    cli: Cli, database: Database
) -> None:
    await at_the_door.guests(database, NOW, "zoe")
    zoe = await at_the_door.shows(database, "zoe", NOW)
    first = (await cli("door", "keys", "--json")).json["data"]
    assert [key["signs"] for key in first] == [True]
    assert (await cli("door", "rotate")).code == 0
    second = (await cli("door", "keys", "--json")).json["data"]
    assert [key["signs"] for key in second] == [True, False]
    assert second[1]["id"] == first[0]["id"]
    assert (await cli("door", "rotate", "--withdraw")).code == 0
    third = (await cli("door", "keys", "--json")).json["data"]
    assert len(third) == 1
    assert third[0]["id"] not in {key["id"] for key in second}
    assert await at_the_door.scanned(database, zoe, NOW) == "bad_pass"
    assert third[0]["public"][:8] in (await cli("door", "keys")).out
    acts = await database.fetch("SELECT target FROM acts WHERE operation = 'door.rotate'")
    assert sorted(row.target for row in acts) == ["kept", "withdrawn"]
