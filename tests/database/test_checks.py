"""The books check themselves: no check cries on a good book, and each names who breaks its law."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from takings.database import Database, fetch
from takings.ledger import checks, journal
from takings.ledger.checks import AT_MOST, CHECKS, ENTRIES_BALANCE, Check
from tests import books
from tests.books import ADA, BOB, NOON, earned, entry, undone
from tests.conftest import Fresh

TIP = entry(
    "tip", "clearing:charges 500 eur", f"{ADA}:held -300 eur", f"{BOB}:held -200 eur"
)  # fmt: skip
RELEASED = entry(
    "released", f"{ADA}:held 300 eur", f"{ADA}:available -300 eur", at=NOON + timedelta(days=40)
)
MINE = f"entry_id = '{TIP.id}'"


@pytest.fixture
async def book(database: Database) -> Database:
    """A good book, as busy as books are: late facts, two currencies, a reversal, two partitions."""
    early = datetime(2020, 5, 17, tzinfo=UTC)
    await database.run(journal.post, [earned("0", 7)], posted_at=early)
    await database.run(journal.post, [TIP])
    await database.run(journal.post, [earned("late", at=NOON - timedelta(days=90)), RELEASED])
    await database.run(journal.post, [entry("usd", "clearing:charges 9 usd", "suspense -9 usd")])
    await database.run(journal.reverse, "late", happened_at=NOON)
    return database


async def test_every_check_holds_on_a_good_book(book: Database) -> None:
    async with book.transaction() as session:
        found = [finding async for finding in checks.run(session, CHECKS)]
    assert [finding.check for finding in found] == list(CHECKS)
    assert all(finding.holds for finding in found), found


async def test_every_check_holds_on_an_empty_book(database: Database) -> None:
    assert await books.guilty(database) == {}


@dataclass(frozen=True, slots=True)
class Corruption:
    """What someone did behind the triggers' back, and whom the check must name."""

    check: str
    name: str
    sql: str
    guilty: tuple[str, ...]


ADA_ROW = f"(SELECT id FROM accounts WHERE name = '{ADA}:held')"
PLANTED = (
    Corruption(
        "entries balance", "an amount is raised",
        f"UPDATE postings SET minor = 501, balance = balance + 1 WHERE {MINE} AND n = 1",
        (TIP.id,),
    ),
    Corruption(
        "entries balance", "balanced only across currencies",
        f"UPDATE postings SET currency = 'usd' WHERE {MINE} AND n = 1", (TIP.id,) * 2,
    ),
    Corruption(
        "entries whole", "a leg is gone", f"DELETE FROM postings WHERE {MINE} AND n = 2", (TIP.id,)
    ),
    Corruption(
        "entries whole", "its last legs are gone",
        f"DELETE FROM postings WHERE {MINE} AND n > 1", (TIP.id,),
    ),
    Corruption(
        "entries whole", "all legs are gone", f"DELETE FROM postings WHERE {MINE}", (TIP.id,)
    ),
    Corruption(
        "entries whole", "the entry is gone", f"DELETE FROM entries WHERE id = '{TIP.id}'",
        (TIP.id,),
    ),
    Corruption(
        "keys", "the entry's key is another",
        f"UPDATE entries SET key = 'other' WHERE id = '{TIP.id}'", (TIP.id,),
    ),
    Corruption("keys", "the key is gone", "DELETE FROM entry_keys WHERE key = 'tip'", (TIP.id,)),
    Corruption(
        "keys", "a key of nothing", "INSERT INTO entry_keys VALUES ('new', 'je_none')", ("je_none",)
    ),
    Corruption(
        "keys", "the whole entry stands twice", f"""
        WITH e AS (INSERT INTO entries SELECT id, '2020-01-01', key, kind, happened_at, period,
                          subject, source, narration, metadata FROM entries WHERE id = '{TIP.id}')
        INSERT INTO postings SELECT entry_id, '2020-01-01', n, account_id, slot, seq, happened_at,
                                    minor, balance, currency, line FROM postings WHERE {MINE}""",
        (TIP.id,),
    ),
    Corruption(
        "currencies", "a posting in another currency than its account's",
        f"UPDATE postings SET currency = 'usd' WHERE {MINE}", (TIP.id,) * 3,
    ),
    Corruption(
        "currencies", "a posting on no account",
        f"UPDATE postings SET account_id = 999 WHERE {MINE} AND n = 3", (TIP.id,),
    ),
    Corruption(
        "running balances", "a running balance is another",
        f"UPDATE postings SET balance = balance - 1 WHERE {MINE} AND n = 3", (TIP.id,),
    ),
    Corruption(
        "running balances", "a number is skipped",
        f"UPDATE postings SET seq = seq + 1 WHERE {MINE} AND n = 3", (TIP.id,),
    ),
    Corruption(
        "balances", "a balance is another",
        f"UPDATE balances SET minor = minor - 1 WHERE account_id = {ADA_ROW}",
        (f"{ADA}:held eur slot 0",),
    ),
    Corruption(
        "balances", "a balance forgot a posting",
        f"UPDATE balances SET seq = seq - 1 WHERE account_id = {ADA_ROW}",
        (f"{ADA}:held eur slot 0",),
    ),
    Corruption(
        "balances", "a balance is gone",
        f"DELETE FROM balances WHERE account_id = {ADA_ROW}", (f"{ADA}:held eur slot 0",),
    ),
    Corruption(
        "balances", "a balance of nothing",
        f"INSERT INTO balances SELECT id, 7, 0, 0 FROM accounts WHERE name = '{ADA}:held'",
        (f"{ADA}:held eur slot 7",),
    ),
    Corruption(
        "days", "a day is another",
        f"UPDATE day_balances SET minor = 1 WHERE account_id = {ADA_ROW} AND day = '2026-04-19'",
        (f"{ADA}:held eur on 2026-04-19",),
    ),
    Corruption(
        "days", "a day is gone",
        f"DELETE FROM day_balances WHERE account_id = {ADA_ROW} AND day = '2026-04-19'",
        (f"{ADA}:held eur on 2026-04-19",),
    ),
    Corruption(
        "times", "a posting has another day than its entry",
        f"UPDATE postings SET happened_at = happened_at - interval '1 s' WHERE {MINE} AND n = 2",
        (TIP.id,),
    ),
    Corruption(
        "liabilities", "held money below zero",
        f"UPDATE balances SET minor = 1 WHERE account_id = {ADA_ROW}", (f"{ADA}:held",),
    ),
)  # fmt: skip


def test_every_check_has_a_corruption_that_it_must_find() -> None:
    assert {planted.check for planted in PLANTED} == {check.name for check in CHECKS}


async def test_each_check_names_the_row_that_was_altered_behind_the_triggers_back(
    book: Database, fresh: Fresh
) -> None:
    assert await books.guilty(book) == {}
    async with books.behind_the_triggers(fresh.admin) as admin:
        for planted in PLANTED:
            check = next(check for check in CHECKS if check.name == planted.check)
            async with undone(admin):
                assert not (await admin.execute(planted.sql)).endswith(" 0"), planted.name
                rows = await admin.fetch(check.sql)
                assert tuple(row["guilty"] for row in rows) == planted.guilty, planted.name
                assert all(row["why"] for row in rows)
    assert await books.guilty(book) == {}, "what was planted is gone"


ALTERATIONS = (
    "minor = minor + 1", "minor = -minor", "balance = balance + 1", "seq = seq + 100", "n = n + 10",
    "slot = (slot + 1)::smallint", "account_id = account_id + 1", "entry_id = entry_id || 'x'",
    "happened_at = happened_at + interval '1 day'", "posted_at = posted_at - interval '1 ms'",
    "currency = 'chf'",
)  # fmt: skip


async def test_no_posting_can_be_altered_in_any_figure_without_being_found(
    book: Database, fresh: Fresh
) -> None:
    unseen = []
    async with books.behind_the_triggers(fresh.admin) as admin:
        rows = await admin.fetch("SELECT entry_id, n FROM postings ORDER BY 1, 2")
        for row in rows:
            for alteration in (f"UPDATE postings SET {x}" for x in ALTERATIONS):
                where = f"WHERE entry_id = '{row['entry_id']}' AND n = {row['n']}"
                # Two postings of one number on one account: a constraint that never sleeps.
                with suppress(asyncpg.UniqueViolationError):
                    async with undone(admin):
                        await admin.execute(f"{alteration} {where}")
                        found = [await admin.fetch(check.sql) for check in CHECKS]
                        if not any(found):
                            unseen.append((alteration, where))
            async with undone(admin):
                await admin.execute(f"DELETE FROM postings {where}")
                assert any([await admin.fetch(check.sql) for check in CHECKS])
    assert unseen == []
    assert await books.guilty(book) == {}


async def test_a_check_names_twenty_of_many_guilty_rows(book: Database, fresh: Fresh) -> None:
    await book.run(journal.post, [earned(f"{n}") for n in range(1, AT_MOST + 10)])
    async with books.behind_the_triggers(fresh.admin) as admin:
        await admin.execute("UPDATE postings SET minor = minor + 1 WHERE n = 1")
    assert len((await books.guilty(book))["entries balance"]) == AT_MOST


async def test_control_a_check_that_looks_away_finds_nothing(book: Database, fresh: Fresh) -> None:
    """Each entry's sum is asked per currency: over all currencies together it would be blind."""
    blind = Check("blind", "", ENTRIES_BALANCE.replace("entry_id, currency", "entry_id").replace(
        "currency)", "min(currency))"
    ))  # fmt: skip
    async with books.behind_the_triggers(fresh.admin) as admin:
        await admin.execute(f"UPDATE postings SET currency = 'usd' WHERE {MINE} AND n = 1")
    async with book.transaction() as session:
        (finding,) = [found async for found in checks.run(session, [blind])]
    assert finding.holds
    assert (await books.guilty(book))["entries balance"] == (TIP.id,) * 2


async def test_the_app_itself_may_run_every_check(book: Database) -> None:
    rows = await book.run(fetch, "SELECT current_user AS role")
    assert rows[0].role == "takings_app"
    assert await books.guilty(book) == {}
