"""The seals find every rewriting of the journal and name the first row that is not as it was."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from takings.database import Database, LawBroken
from takings.ledger import journal, seals
from takings.ledger.entries import Entry
from takings.ledger.seals import START, Broken, Seal
from tests import books
from tests.books import ADA, BOB, NOON, earned, entry, undone
from tests.conftest import PROVE, Fresh

ENTRIES = 1_100
TAMPERED = 5_000 if PROVE else 500


def now() -> datetime:
    return datetime.now(UTC)


def story() -> Iterator[Entry]:
    """Entries with every column filled in now and then, and texts that JSON must escape."""
    yield from (
        entry(
            f"key {n}",
            f"clearing:charges {n + 5} eur",
            f"{ADA}:held {-n - 2} eur",
            f"{BOB if n % 2 else ADA}:available -3 eur",
            at=NOON + timedelta(seconds=n, microseconds=n),
            source=f"ch_{n}" if n % 3 else None,
            narration='Ada\'s "evening" \\ \t\n\x1f\x7f, 5 €, 🎷',
            metadata={"é\n": "x" * (n % 7), "b": str(n)},
        )
        for n in range(ENTRIES)
    )


@pytest.fixture
async def book(database: Database) -> Database:
    """A sealed journal."""
    entries = list(story())
    for start in range(0, ENTRIES, 100):
        await database.run(journal.post, entries[start : start + 100])
    assert await seals.seal(database, now=now()) == ENTRIES
    return database


@pytest.fixture
async def admin(fresh: Fresh) -> AsyncIterator[asyncpg.Connection]:
    """A superuser before whom the journal's triggers sleep."""
    async with books.behind_the_triggers(fresh.admin) as found:
        await found.execute("SET jit = off")
        yield found


async def found(read: seals.Read, *anchors: Seal) -> list[Broken]:
    """What is found a day later, when nobody can say that a worker will still come."""
    return await seals.verify(read, anchors, now=now() + timedelta(days=1))


async def chain(database: Database) -> list[tuple[int, str]]:
    """Every seal's number and entry."""
    rows = await database.fetch("SELECT n, entry_id FROM seals ORDER BY n")
    return [(row.n, row.entry_id) for row in rows]


async def test_an_untouched_journal_verifies_and_every_entry_is_sealed_once(
    book: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seals, "BATCH", 400)
    walked: list[int] = []
    assert await seals.verify(book.fetch, now=now(), walked=walked.append) == []
    assert walked == [400, 800, ENTRIES], "progress is told batch by batch"
    sealed = await chain(book)
    assert [n for n, _ in sealed] == list(range(1, ENTRIES + 1))
    rows = await book.fetch("SELECT id FROM entries ORDER BY posted_at, id")
    assert [entry for _, entry in sealed] == [row.id for row in rows]
    assert await seals.seal(book, now=now(), behind=None) == 0, "a second time: nothing"


async def test_an_empty_journal_verifies(database: Database) -> None:
    assert await seals.seal(database, now=now()) == 0
    assert await found(database.fetch, START) == []
    assert await database.run(seals.head) == START


TABLES = ("entries", "postings", "seals", "accounts")
OPEN = {"accounts": {"id", "slots", "owes_only"}}  # how an account is stored, not what happened


@dataclass(frozen=True, slots=True)
class Target:
    """A row, where it lies, and the first seal that stands for it."""

    table: str
    place: tuple[str, str]
    n: int
    entry: str


PLACES = """
SELECT 'entries' AS kind, e.tableoid::regclass::text, e.ctid::text, s.n, s.entry_id
  FROM entries e JOIN seals s ON s.entry_id = e.id
 UNION ALL
SELECT 'postings', p.tableoid::regclass::text, p.ctid::text, s.n, s.entry_id
  FROM postings p JOIN seals s USING (entry_id)
 UNION ALL
SELECT 'seals', 'seals', ctid::text, n, entry_id FROM seals
 UNION ALL
(SELECT DISTINCT ON (a.id) 'accounts', 'accounts', a.ctid::text, s.n, s.entry_id
   FROM accounts a JOIN postings p ON p.account_id = a.id JOIN seals s USING (entry_id)
  ORDER BY a.id, s.n)
 ORDER BY 1, 4, 3
"""
HERE = "tableoid = '{}'::regclass AND ctid = '{}'"


async def targets(admin: asyncpg.Connection, dice: random.Random) -> list[Target]:
    """The rows to tamper with: all accounts, and of the others as many as are asked for."""
    rows = [Target(kind, (table, ctid), n, entry)
            for kind, table, ctid, n, entry in await admin.fetch(PLACES)]  # fmt: skip
    accounts = [row for row in rows if row.table == "accounts"]
    others = [row for row in rows if row.table != "accounts"]
    assert len(rows) >= 5_000
    return accounts + dice.sample(others, TAMPERED - len(accounts))


def other(value: Any, column: str, dice: random.Random) -> Any:
    """The value with one bit or one character turned."""
    match value:
        case str() if column == "metadata":
            facts = json.loads(value)
            changed: Any = json.dumps(facts | {"b": other(facts["b"], "", dice)})
        case str() if value:
            at = dice.randrange(len(value.rstrip()))
            changed = f"{value[:at]}{chr(ord(value[at]) ^ 1)}{value[at + 1 :]}"
        case int() if column == "n":
            changed = value + 10_000  # a smaller one would be another row's
        case int():
            changed = value ^ 1 << dice.randrange(14 if column == "slot" else 62)
        case bytes():
            turned = int.from_bytes(value) ^ 1 << dice.randrange(8 * len(value))
            changed = turned.to_bytes(len(value))
        case datetime():
            changed = value + timedelta(microseconds=1 << dice.randrange(45))
        case date():
            changed = value + timedelta(days=1 << dice.randrange(12))
        case _:
            changed = "x"
    return changed


async def tamper(admin: asyncpg.Connection, target: Target, dice: random.Random) -> str:
    """Change one column of the row, take the row away, or let two seals change places."""
    here = HERE.format(*target.place)
    chance = dice.random()
    if chance < 0.1 and target.table != "accounts":
        assert await admin.execute(f"DELETE FROM {target.table} WHERE {here}") == "DELETE 1"
        return "deleted"
    if chance < 0.2 and target.table == "seals" and target.n < ENTRIES:
        await admin.execute(SWAP, target.n, dice.randrange(target.n + 1, ENTRIES + 1))
        return "swapped"
    if chance < 0.2 and target.table == "postings":
        await admin.execute(COPY.format(here))
        return "copied"
    row = await admin.fetchrow(f"SELECT * FROM {target.table} WHERE {here}")
    column = dice.choice(sorted(set(row.keys()) - OPEN.get(target.table, set())))
    changed = other(row[column], column, dice)
    done = await admin.execute(f"UPDATE {target.table} SET {column} = $1 WHERE {here}", changed)
    assert done == "UPDATE 1"
    return f"{column}: {row[column]!r} → {changed!r}"


COPY = """
INSERT INTO postings
SELECT entry_id, posted_at, n + 10, account_id, slot, seq + 1000000, happened_at, minor, balance,
       currency, line FROM postings WHERE {}
"""
SWAP = """
WITH taken AS (SELECT * FROM seals WHERE n IN ($1, $2))
UPDATE seals s SET digest = t.digest FROM taken t WHERE s.n IN ($1, $2) AND t.n <> s.n
"""


async def test_every_tampering_with_any_row_is_found_and_the_first_bad_one_named(
    book: Database, admin: asyncpg.Connection
) -> None:
    dice, wrong, refused = random.Random(20_261_120), [], 0  # noqa: S311 - the same every time
    for target in await targets(admin, dice):
        for _ in range(100):
            try:
                async with undone(admin):
                    how = await tamper(admin, target, dice)
                    first = next(iter(await found(admin.fetch)), Broken(None, None, "not found"))
            except asyncpg.IntegrityConstraintViolationError:  # constraints never sleep: once more
                refused += 1
                continue
            break
        named = first.n == target.n or (target.n == ENTRIES and first.entry == target.entry)
        if not (named and first.why and first.place):
            wrong.append((target, how, first))
    assert wrong == []
    assert refused < TAMPERED
    assert await found(book.fetch) == [], "what was tampered with is as it was"


@pytest.mark.parametrize("column", ["p.line", "p.balance", "e.narration"])
async def test_control_a_form_without_a_column_does_not_see_it_change(
    database: Database, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    for name in ("LINES", "CHAIN"):
        monkeypatch.setattr(seals, name, getattr(seals, name).replace(column, "NULL::text"))
    await database.run(journal.post, [earned("1")])
    await seals.seal(database, now=now())
    table = {"p": "postings", "e": "entries"}[column[0]]
    value = "7" if column == "p.balance" else "'other'"
    await admin.execute(f"UPDATE {table} SET {column[2:]} = {value}")
    assert await found(database.fetch) == []


async def test_an_entry_that_is_committed_late_is_sealed_late(database: Database) -> None:
    late, early = earned("late"), entry("early", "assets:bank 5 usd", "suspense -5 usd")
    async with database.transaction() as session:
        await journal.post(session, [late])
        await database.run(journal.post, [early])
        assert await seals.seal(database, now=now()) == 1
    assert await seals.seal(database, now=now()) == 1
    assert await chain(database) == [(1, early.id), (2, late.id)]
    assert await found(database.fetch) == []


async def test_how_late_decides_who_finds_it(database: Database) -> None:
    await database.run(journal.post, [earned("now")])
    for minutes, strays in ((119, 0), (121, 1)):
        later = now() + timedelta(minutes=minutes)
        assert len(await seals.verify(database.fetch, now=later)) == strays
    assert await seals.seal(database, now=now()) == 1
    hour, month = (
        entry(name, f"clearing:{name} 5 eur", f"liabilities:{name} -5 eur")
        for name in ("hour", "month")
    )
    await database.run(journal.post, [hour], posted_at=now() - timedelta(hours=1))
    assert await seals.seal(database, now=now()) == 0
    assert await seals.seal(database, now=now(), behind=seals.SLOW) == 1
    await database.run(journal.post, [month], posted_at=now() - timedelta(days=30))
    assert await seals.seal(database, now=now(), behind=seals.SLOW) == 0
    [stray] = await found(database.fetch)
    assert (stray.place, stray.why.partition(": ")[2]) == (f"entry {month.id}", seals.STRAY)
    assert await seals.seal(database, now=now(), behind=None) == 1, "who imports it says so"
    assert await found(database.fetch) == []


async def test_no_date_is_too_strange_to_be_named(
    database: Database, admin: asyncpg.Connection
) -> None:
    one = earned("1")
    await database.run(journal.post, [one])
    await seals.seal(database, now=now())
    for strange in ("-infinity", "infinity", "4000-01-01 BC", "20000-01-01"):
        for column in ("posted_at", "happened_at"):
            async with undone(admin):
                await admin.execute(f"UPDATE entries SET {column} = '{strange}'")
                assert (await found(admin.fetch))[0].entry == one.id


async def posted(database: Database, many: int) -> None:
    await database.run(journal.post, [earned(str(n)) for n in range(many)])


async def test_many_sealers_at_once_make_one_chain(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await posted(database, 200)
    monkeypatch.setattr(seals, "BATCH", 3)
    sealed = await asyncio.gather(*(seals.seal(database, now=now()) for _ in range(8)))
    assert sum(sealed) == len(await chain(database)) == 200
    assert [n for n, _ in await chain(database)] == list(range(1, 201))
    assert await found(database.fetch) == []


async def test_even_without_their_lock_they_cannot_fork_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await posted(database, 200)
    monkeypatch.setattr(seals, "BATCH", 3)
    monkeypatch.setattr(seals, "ALONE", "SELECT true AS mine")
    sealers = (seals.seal(database, now=now()) for _ in range(8))
    ends = await asyncio.gather(*sealers, return_exceptions=True)
    assert LawBroken in {type(end) for end in ends}, "they met"
    await seals.seal(database, now=now())
    assert [n for n, _ in await chain(database)] == list(range(1, 201))
    assert await found(database.fetch) == []


async def test_a_crash_leaves_a_chain_that_the_next_run_continues(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await posted(database, 200)
    monkeypatch.setattr(seals, "BATCH", 1)
    run = asyncio.create_task(seals.seal(database, now=now()))
    while (await database.run(seals.head)).n < 5:
        await asyncio.sleep(0)
    run.cancel()
    await asyncio.wait([run])
    left = await database.run(seals.head)
    assert 5 <= left.n < 200
    assert await seals.seal(database, now=now()) == 200 - left.n
    assert await found(database.fetch, left) == []


async def cut(admin: asyncpg.Connection, after: int) -> None:
    """The end of the journal is gone, with its seals."""
    for table, column in (("postings", "entry_id"), ("entries", "id"), ("seals", "entry_id")):
        gone = f"SELECT entry_id FROM seals WHERE n > {after}"
        await admin.execute(f"DELETE FROM {table} WHERE {column} IN ({gone})")


async def test_a_cut_off_end_is_found_by_an_anchor_and_not_without(
    database: Database, admin: asyncpg.Connection
) -> None:
    await posted(database, 20)
    await seals.seal(database, now=now())
    anchor = await database.run(seals.head)
    await cut(admin, 15)
    assert await found(database.fetch) == []
    [broken] = await found(database.fetch, anchor)
    assert (broken.n, broken.why) == (20, seals.CUT.format(15))
    await database.run(journal.post, [earned(f"new {n}") for n in range(5)])
    await seals.seal(database, now=now())
    [broken] = await found(database.fetch, anchor)
    assert (broken.n, broken.why) == (20, seals.REWRITTEN.format(0)), "and filled up it is another"


async def test_who_rewrites_the_chain_as_well_is_found_by_an_anchor_and_not_without(
    database: Database, admin: asyncpg.Connection
) -> None:
    await posted(database, 20)
    published = []
    for _ in range(2):
        await seals.seal(database, now=now())
        published.append(await database.run(seals.head))
        await database.run(journal.post, [earned(f"{len(published)} {n}") for n in range(10)])
    assert [seal.n for seal in published] == [20, 30]
    [(_, entry_id)] = (await chain(database))[24:25]
    await admin.execute("UPDATE entries SET subject = 'pay_mine' WHERE id = $1", entry_id)
    [broken] = (await found(database.fetch))[:1]
    assert (broken.n, broken.entry, broken.why) == (25, entry_id, seals.CHANGED)
    await admin.execute("DELETE FROM seals WHERE n >= 25")
    await seals.seal(database, now=now(), behind=None)
    assert await found(database.fetch) == [], "the chain alone holds: we do not claim otherwise"
    [broken] = await found(database.fetch, *published)
    assert (broken.n, broken.why) == (30, seals.REWRITTEN.format(20))


async def test_posting_knows_nothing_of_seals(database: Database) -> None:
    triggers = await database.fetch(
        "SELECT DISTINCT tgname::text AS name FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid "
        "WHERE c.relname ~ '^(entries|postings)' ORDER BY 1"
    )
    assert [row.name for row in triggers] == ["final", "final_truncate", "whole"]
    [post] = await database.fetch("SELECT prosrc FROM pg_proc WHERE proname = 'post'")
    assert "seals" not in post.prosrc
    with books.counted(database) as sent:
        await database.run(journal.post, [earned("1")])
    assert not [statement for statement in sent if "seals" in statement]


def test_a_file_holds_an_anchor_in_each_line() -> None:
    two = (Seal(7, bytes([7] * 32)), Seal(9, bytes(range(32))))
    lines = [json.dumps(seal.published(NOON) | {"at": ""}) for seal in two]
    assert seals.anchors("\n\n".join(lines)) == two


@pytest.mark.parametrize(
    "text",
    [
        *("", "nothing", "[]", "7", '{"n": 7}', '{"n": 7, "digest": 8}'),
        '{"n": 7, "digest": "ab"}',
        f'{{"n": 7, "digest": "{"zz" * 32}"}}',
        f'{{"n": -7, "digest": "{"00" * 32}"}}',
        f'{{"n": 0, "digest": "{"01" * 32}"}}',
    ],
)
def test_what_is_no_anchor_is_refused(text: str) -> None:
    with pytest.raises(seals.BadAnchor):
        seals.anchors(text)
