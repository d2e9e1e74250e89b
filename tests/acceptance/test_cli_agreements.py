"""Agreements from the command line: who has signed, and signing."""

from datetime import UTC, datetime

from takings.database import Database
from takings.spaces import agreements
from takings.spaces.agreements import Claim, Share
from tests import stories
from tests.acceptance.test_cli import Cli, assert_refused, cli

__all__ = ["cli"]  # the fixture

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ADA, BOB = Share("host_ada", 3333), Share("host_bob", 6667)


async def test_versions_are_shown_with_who_has_signed_and_signed_one_by_one(
    cli: Cli, database: Database
) -> None:
    await stories.room(database, NOW)
    await agreements.amend(database, "spc_one", [ADA, BOB], now=NOW)
    shown = (await cli("agreements", "show", "spc_one")).out
    for words in ("33.33 %", "waits for it", "1 in force", "2026-11-20 by library"):
        assert words in shown, shown
    said = await cli("agreements", "sign", "spc_one", "host_bob")
    assert said.out == (
        "✓ host_bob has signed version 2: it is proposed, and waits for host_ada.\n"
    )
    told = (await cli("agreements", "sign", "spc_one", "host_ada", "--json")).json
    assert (told["state"], told["waiting_for"]) == ("in_force", [])
    assert {one["actor"].partition(":")[0] for one in told["signatures"]} == {"cli"}
    versions = (await cli("agreements", "show", "spc_one", "--json")).json["data"]
    assert [one["state"] for one in versions] == ["in_force", "superseded"]
    rows = await database.fetch("SELECT target FROM acts WHERE operation = 'agreements.sign'")
    assert {row.target for row in rows} == {"spc_one 2 host_bob", "spc_one 2 host_ada"}


async def test_what_waits_to_be_claimed_is_shown_and_what_cannot_be_signed_refused(
    cli: Cli, database: Database
) -> None:
    await stories.room(database, NOW)
    charity = Share("host_bob", 6667, Claim(90, "listener"))
    await agreements.amend(database, "spc_one", [ADA, charity], now=NOW)
    key = "key_06gvl0123456q9eo"
    await agreements.sign(database, "spc_one", 2, "host_bob", actor=key, now=NOW)
    shown = (await cli("agreements", "show", "spc_one")).out
    for words in ("listener, 90 days", "2026-11-20 by key_…q9eo"):
        assert words in shown, shown
    first = await cli("agreements", "sign", "spc_one", "host_ada", "--version", "1")
    assert "it is in force." in first.out, "signed before"
    assert_refused(await cli("agreements", "show", "spc_none"), "not_found", "spc_none")
    none = await cli("agreements", "sign", "spc_one", "host_none")
    assert_refused(none, "not_a_payee", "host_none")
