"""The law stands in the database: raw SQL meets it, whoever sends it and wherever."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from takings.database import Database
from takings.ledger import journal, seals
from tests import books
from tests.books import ADA, LAWFUL, earned
from tests.conftest import Fresh

MONTHS = (datetime(2020, 5, 17, tzinfo=UTC), None)  # the default partition's, and today's

ENTRY = """
INSERT INTO {entries} VALUES
  ('{id}', now(), 'raw', 'raw', now(), '2026-03-01', 'pay_one', NULL, '', '{{}}')"""
LEG = "('{id}', now(), {n}, {account}, 0, {seq}, now(), {minor}, {balance}, '{currency}', NULL)"
CLEARING, HELD, DOLLARS = 1, 2, 3  # the accounts that the first posts open, in this order
CURRENCIES = {CLEARING: "eur", HELD: "eur", DOLLARS: "usd"}

Leg = tuple[int, int, int]  # its number in the entry, its account, its amount
GOOD: tuple[Leg, Leg] = ((1, CLEARING, 5), (2, HELD, -5))


def entry(entries: str = "entries", id: str = "je_raw") -> str:  # noqa: A002 - the column's name
    """The statement that writes an entry alone."""
    return ENTRY.format(entries=entries, id=id)


def legs(
    *given: Leg, into: str = "postings", id: str = "je_raw", **facts: Any  # noqa: A002
) -> str:  # fmt: skip
    """The statement that writes postings alone."""
    rows = (
        LEG.format(**{
            "id": id, "n": n, "account": account, "seq": f"{n}{len(id)}", "minor": minor,
            "balance": -999, "currency": CURRENCIES.get(account, "eur"), **facts,
        })
        for n, account, minor in given
    )  # fmt: skip
    return f"INSERT INTO {into} VALUES {', '.join(rows)}"


def whole(*given: Leg, **facts: Any) -> str:
    """The statement that writes an entry with its postings, as the journal does."""
    return f"WITH entry AS ({entry()}) {legs(*given, **facts)}"


ATTACKS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "an honest entry": ((whole(*GOOD),), "nothing"),
    "unbalanced": ((whole((1, CLEARING, 5), (2, HELD, -4)),), "postings_balance"),
    "one leg": ((whole((1, CLEARING, 5)),), "postings_balance"),
    "balanced only across currencies": (
        (whole((1, CLEARING, 5), (2, DOLLARS, -5)),),
        "postings_balance",
    ),
    "a leg of nothing": ((whole(*GOOD, (3, CLEARING, 0)),), "postings_not_zero"),
    "an entry without postings": ((entry(),), "entries_have_postings"),
    "postings without an entry": ((legs(*GOOD),), "postings_whole"),
    "postings in a second statement": (
        (whole(*GOOD), legs((3, CLEARING, 7), (4, HELD, -7))),
        "postings_whole",
    ),
    "postings of the same numbers": ((whole(*GOOD), legs(*GOOD)), "postings_2026_pkey"),
    "postings added to an old entry": (
        (legs((3, CLEARING, 7), (4, HELD, -7), id="je_old"),),
        "postings_whole",
    ),
    "postings with a gap": ((whole((1, CLEARING, 5), (3, HELD, -5)),), "postings_whole"),
    "wrong currency": ((whole(*GOOD, currency="usd"),), "postings_account"),
    "unknown account": ((whole((1, CLEARING, 5), (2, 999, -5)),), "postings_account"),
    "held money below zero": ((whole(*GOOD, balance=1),), "postings_overdraw"),
    "one good entry, one bad": (
        (f"WITH entry AS ({entry()}), other AS ({entry(id='je_other')}), good AS ({legs(*GOOD)}) "
         + legs((1, CLEARING, 5), (2, HELD, -6), id="je_other"),),
        "postings_balance",
    ),
}  # fmt: skip


def named(answer: str) -> str:
    """The law's name, without the month of the partition that was asked."""
    return answer.replace(f"{datetime.now(UTC):%Y_%m}", "2026")


@pytest.fixture
async def book(database: Database, fresh: Fresh) -> Database:
    """Two honest entries, in two partitions, on three accounts."""
    for month in MONTHS:
        await database.run(journal.post, [earned(f"1:{month}")], posted_at=month)
    dollars = books.entry("2", "clearing:charges 7 usd", f"{ADA}:held -7 usd")
    await database.run(journal.post, [dollars])
    found = await books.ask(fresh.owner, "SELECT id, currency FROM accounts ORDER BY id LIMIT 3")
    assert dict(found) == CURRENCIES
    assert await seals.seal(database, now=datetime.now(UTC)) == 3
    return database


async def answers(connection: asyncpg.Connection) -> dict[str, str]:
    """What the database says to each attack."""
    return {
        name: named(await books.refusal(connection, *statements))
        for name, (statements, _) in ATTACKS.items()
    }


async def test_who_serves_writes_the_journal_by_its_function_and_by_nothing_else(
    book: Database, fresh: Fresh
) -> None:
    async with books.connected(fresh.app) as connection:
        assert set((await answers(connection)).values()) == {"InsufficientPrivilegeError"}
        for statement in FORBIDDEN:
            answer = await books.refusal(connection, statement)
            assert answer == "InsufficientPrivilegeError", statement
    assert await books.guilty(book) == {}


FORBIDDEN = [
    "INSERT INTO entry_keys VALUES ('key', 'je_raw')",
    "INSERT INTO accounts (name, currency, slots, owes_only) VALUES ('a', 'eur', 1, false)",
    "INSERT INTO balances VALUES (1, 1, 5, 1)",
    "UPDATE balances SET minor = 0",
    "UPDATE day_balances SET minor = 0",
    "UPDATE books SET zone = 'Asia/Tokyo'",
    "UPDATE policies SET rules = '{}'",
    "UPDATE shares SET weight = 1",
    "UPDATE payments SET listener_id = 'lis_eve'",
    "UPDATE lines SET minor = 1",
    "UPDATE allotments SET host_id = NULL",
    "UPDATE refunds SET minor = 1",
    "UPDATE refund_lines SET minor = 1",
    "UPDATE asks SET call = 'refunds.create'",
    "UPDATE events SET payload = ''",
    "UPDATE cash SET net = 1",
    "UPDATE tips SET minor = 1",
    "UPDATE api_keys SET hash = ''",
    "DELETE FROM events",
]


@pytest.mark.parametrize("role", ["owner", "admin"])
async def test_no_sql_breaks_the_law_whoever_sends_it(
    book: Database, fresh: Fresh, role: str
) -> None:
    before = await books.every_byte(fresh.owner, *LAWFUL)
    async with books.connected(getattr(fresh, role)) as connection:
        if role == "admin":
            await connection.execute("SET session_replication_role = replica")
        assert await answers(connection) == {name: law for name, (_, law) in ATTACKS.items()}
    assert await books.every_byte(fresh.owner, *LAWFUL) == before
    assert await books.guilty(book) == {}


@pytest.mark.usefixtures("book")
async def test_control_behind_the_triggers_only_constraints_are_left(fresh: Fresh) -> None:
    async with books.behind_the_triggers(fresh.admin) as admin:
        left = set((await answers(admin)).values())
    assert left == {"nothing", "postings_not_zero", "postings_2026_pkey"}


async def test_the_app_reaches_no_partition_and_its_owner_meets_the_same_law_there(
    book: Database, fresh: Fresh
) -> None:
    bad = ((1, CLEARING, 5), (2, HELD, -4))
    month = f"{datetime.now(UTC):%Y_%m}"
    attacks = [
        (entry(f"entries_{month}"), "entries_have_postings"),
        (legs(*bad, into=f"postings_{month}"), "postings_balance"),
        (f"WITH entry AS ({entry()}) {legs(*bad, into=f'postings_{month}')}", "postings_balance"),
        (legs(*GOOD, into=f"postings_{month}"), "postings_whole"),
        (legs(*GOOD, into="postings_default"), "CheckViolationError"),
    ]
    for role in ("app", "owner"):
        async with books.connected(getattr(fresh, role)) as connection:
            for attack, law in attacks:
                answer = await books.refusal(connection, attack)
                assert answer == (law if role == "owner" else "InsufficientPrivilegeError"), attack
    assert await books.guilty(book) == {}


EARLIER = "posted_at = posted_at - interval '1 s'"


def rewritings(table: str) -> list[str]:
    """Every way to change what a table says of the past."""
    change = {"accounts": "name = name || 'x'", "entry_keys": "key = key || 'x'"}
    return [
        f"UPDATE {table} SET {change.get(table, EARLIER)}",
        f"DELETE FROM {table}",
        f"TRUNCATE {table} CASCADE",
    ]


async def written(connection: asyncpg.Connection) -> list[str]:
    """The journal's tables and partitions that have rows."""
    return [
        table
        for table in await books.tables(connection, *LAWFUL)
        if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {table})")
    ]


@pytest.mark.parametrize("role", ["owner", "admin"])
async def test_nobody_rewrites_history_not_even_as_a_replica(
    book: Database, fresh: Fresh, role: str
) -> None:
    before = await books.every_byte(fresh.owner)
    async with books.connected(getattr(fresh, role)) as connection:
        if role == "admin":
            await connection.execute("SET session_replication_role = replica")
        tables = await written(connection)
        assert len(tables) == len(LAWFUL) + 2 * len(MONTHS), "parents, and two months of each"
        for table in tables:
            for rewriting in rewritings(table):
                answer = await books.refusal(connection, rewriting)
                assert answer == "journal_is_final", rewriting
        for table in await books.tables(connection, *LAWFUL):  # those without rows as well
            truncate = f"TRUNCATE {table} CASCADE"
            assert await books.refusal(connection, truncate) == "journal_is_final", truncate
    assert await books.every_byte(fresh.owner) == before
    assert await books.guilty(book) == {}


async def test_the_app_may_not_even_ask_to_rewrite_history(book: Database, fresh: Fresh) -> None:
    async with books.connected(fresh.app) as connection:
        for table in await books.tables(connection, *LAWFUL):
            for rewriting in rewritings(table):
                answer = await books.refusal(connection, rewriting)
                assert answer == "InsufficientPrivilegeError", rewriting
        for table in ("balances", "day_balances"):
            for rewriting in (f"DELETE FROM {table}", f"TRUNCATE {table}"):
                assert await books.refusal(connection, rewriting) == "InsufficientPrivilegeError"
        for law in ("ALTER TABLE postings DISABLE TRIGGER ALL", "DROP TRIGGER final ON postings",
                    "SET session_replication_role = replica", "DROP TABLE postings"):  # fmt: skip
            assert await books.refusal(connection, law) == "InsufficientPrivilegeError"
    assert await books.guilty(book) == {}


@pytest.mark.usefixtures("book")
async def test_control_an_ordinary_trigger_sleeps_before_a_replica(fresh: Fresh) -> None:
    async with books.connected(fresh.admin) as admin:
        await admin.execute("SET session_replication_role = replica")
        let_through = set()
        for table in await written(admin):
            for name in ("final", "final_truncate", "whole"):
                if await admin.fetchval(
                    "SELECT 1 FROM pg_trigger WHERE tgrelid = $1::regclass AND tgname = $2",
                    *(table, name),
                ):
                    await admin.execute(f"ALTER TABLE {table} ENABLE TRIGGER {name}")
            for rewriting in rewritings(table)[:2]:
                let_through.add(await books.refusal(admin, rewriting))
        assert let_through == {"nothing"}
        assert await books.refusal(admin, whole((1, CLEARING, 5), (2, HELD, -4))) == "nothing"
