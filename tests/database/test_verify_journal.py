"""The independent verifier reads the journal with nothing of ours, and comes to the same end."""

import asyncio
import json
import sys
from pathlib import Path

import asyncpg

from takings.database import Database
from takings.ledger import seals
from tests.books import NOON
from tests.conftest import ROOT, Fresh
from tests.database.test_seals import ENTRIES, admin, book, chain, cut, found

__all__ = ["admin", "book"]  # the fixtures

VERIFIER = ROOT / "docs" / "verify_journal.py"


async def independent(url: str, *anchors: Path) -> tuple[int | None, str]:
    """What the verifier says that knows nothing of us, and its exit code."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", VERIFIER, url, *anchors),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return process.returncode, out.decode()


def test_the_independent_verifier_is_short_and_knows_nothing_of_us() -> None:
    text = VERIFIER.read_text()
    assert len(text.splitlines()) < 60
    assert not [line for line in text.splitlines() if "import" in line and "takings" in line]


async def test_the_independent_verifier_agrees_with_us(
    book: Database, fresh: Fresh, admin: asyncpg.Connection, tmp_path: Path
) -> None:
    last = await book.run(seals.head)
    holds = f"{ENTRIES} seals hold, the last is {last.digest.hex()}\n"
    assert await independent(fresh.app) == (0, holds)
    anchors = tmp_path / "anchors"
    anchors.write_text(json.dumps(last.published(NOON) | {"at": ""}))
    assert (await independent(fresh.app, anchors))[0] == 0
    sealed = dict(await chain(book))
    for tampering, said in (
        ("UPDATE postings SET line = 'x' WHERE entry_id = $1", f"seal 700, entry {sealed[700]}"),
        ("DELETE FROM entries WHERE id = $1", f"seal 700, entry {sealed[700]}"),
        ("DELETE FROM seals WHERE entry_id = $1", "seal 700, "),
    ):
        await admin.execute(tampering, sealed[700])
        code, out = await independent(fresh.app, anchors)
        assert (code, out.startswith(said)) == (1, True), out
    await cut(admin, 600)
    assert (await independent(fresh.app))[0] == 1, "an entry is left, and its seal is not"
    await admin.execute("DELETE FROM postings WHERE entry_id = $1", sealed[700])
    assert (await independent(fresh.app))[0] == 0
    code, out = await independent(fresh.app, anchors)
    assert (code, out) == (1, "seal 601: cut off, an anchor tells of it\n")


async def test_a_seal_that_is_numbered_before_the_first_hides_no_entry(
    book: Database, admin: asyncpg.Connection
) -> None:
    """Whoever owns the database can do away with the constraint that counts from one."""
    hidden = dict(await chain(book))[ENTRIES]
    await admin.execute("ALTER TABLE seals DROP CONSTRAINT seals_counted_from_one")
    await admin.execute("UPDATE seals SET n = 0 WHERE n = $1", ENTRIES)
    assert [one.entry for one in await found(book.fetch)] == [hidden]
