"""The last seal is published, kept elsewhere, and tells who rewrote the journal."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.ledger import seals
from tests import books, stories
from tests.acceptance.test_cli import Cli, cli
from tests.conftest import Fresh

__all__ = ["cli"]  # the fixture


@pytest.fixture
async def admin(runtime: Runtime, box: Sandbox, fresh: Fresh) -> AsyncIterator[asyncpg.Connection]:
    """A superuser before whom the triggers sleep, after a tip that was settled and sealed."""
    await stories.room(runtime.database, runtime.now())
    await stories.paid_tip(runtime, box, 500)
    async with books.behind_the_triggers(fresh.admin) as found:
        yield found


async def test_the_head_is_the_anchor_that_verify_takes(
    cli: Cli, admin: asyncpg.Connection, runtime: Runtime, tmp_path: Path
) -> None:
    said = await cli("seals", "head")
    last = await runtime.database.run(seals.head)
    assert (said.code, said.out.count("\n")) == (0, 1), "one line, to be appended to a file"
    assert said.json.keys() == {"object", "n", "digest", "at"}
    assert (said.json["n"], said.json["digest"]) == (last.n, last.digest.hex())
    anchors = tmp_path / "anchors.jsonl"
    anchors.write_text(said.out * 2)
    verify = ("verify", "--offline", "--json")
    assert (await cli(*verify, "--anchor", str(anchors))).code == 0

    await admin.execute("UPDATE entries SET subject = 'pay_mine' WHERE kind = 'cash'")
    entry = await admin.fetchval("SELECT id FROM entries WHERE kind = 'cash'")
    n = await admin.fetchval("SELECT n FROM seals WHERE entry_id = $1", entry)
    said = await cli(*verify)
    found = {check["name"]: check["guilty"] for check in said.json["checks"]}["seals"]
    assert (said.code, found) == (1, [{"row": f"seal {n}, entry {entry}", "why": seals.CHANGED}])

    await admin.execute("DELETE FROM seals")
    await seals.seal(runtime.database, now=runtime.now())
    found = {check["name"]: check["guilty"] for check in (await cli(*verify)).json["checks"]}
    assert not found["seals"], "the whole chain was made anew"
    said = await cli("verify", "--offline", "--anchor", str(anchors))
    assert said.code == 1
    assert seals.REWRITTEN.format(0) in said.out


@pytest.mark.parametrize("text", ["", "{}", json.dumps({"n": 1, "digest": "00"})])
async def test_a_file_that_holds_no_anchor_is_refused(cli: Cli, tmp_path: Path, text: str) -> None:
    anchors = tmp_path / "anchors.jsonl"
    anchors.write_text(text)
    said = await cli("verify", "--offline", "--anchor", str(anchors))
    assert (said.code, "(bad_anchor)" in said.err) == (2, True), said.err


async def test_a_file_of_anchors_that_is_not_there_is_refused(cli: Cli, tmp_path: Path) -> None:
    said = await cli("verify", "--anchor", str(tmp_path / "nowhere"))
    assert (said.code, "'--anchor'" in said.err) == (2, True), said.err
