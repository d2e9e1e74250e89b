"""Many post at once: each key has one effect, and the books balance at every instant."""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from types import NoneType

import asyncpg
import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database, DatabaseAway, Overdrawn, fetch
from takings.ledger import balances, journal
from takings.ledger.entries import Entry
from takings.ledger.journal import KeyReused
from takings.spaces import hosts
from tests import books
from tests.books import ADA, BOB, NOON, earned, entry
from tests.conftest import PROVE, Fresh

WRITERS, READERS = 20, 4
OPERATIONS = 10_000 if PROVE else 1_000


async def test_twenty_who_post_the_same_keys_post_each_once(database: Database) -> None:
    answers = await asyncio.gather(
        *(database.run(journal.post, [earned("2"), earned("1"), earned("3")]) for _ in range(20))
    )
    assert Counter(key for new in answers for key in new) == {"1": 1, "2": 1, "3": 1}
    assert await books.count(database, "entries") == 3
    assert (await database.run(balances.now, "clearing:charges", "eur")).minor == 1500
    assert await books.guilty(database) == {}


async def test_control_without_the_table_of_keys_an_event_is_posted_again(
    database: Database, fresh: Fresh
) -> None:
    async with books.behind_the_triggers(fresh.admin) as admin:
        for _ in range(3):
            await database.run(journal.post, [earned("1")])
            await admin.execute("DELETE FROM entry_keys")
    assert await books.count(database, "entries") == 3
    assert list(await books.guilty(database)) == ["keys"]


async def test_of_different_events_under_one_key_one_is_posted(database: Database) -> None:
    attempts = 0

    async def post(session: AsyncSession, minor: int) -> None:
        nonlocal attempts
        attempts += 1
        await journal.post(session, [earned(f"own:{minor}"), earned("1", minor)])

    answers = await asyncio.gather(
        *(database.run(post, minor) for minor in range(1, 21)), return_exceptions=True
    )
    assert Counter(map(type, answers)) == {NoneType: 1, KeyReused: 19}
    assert attempts == 20, "there was a deadlock"
    assert await books.count(database, "entries") == 2, "the loser's other entry is not there"
    assert await books.guilty(database) == {}


async def test_accounts_are_opened_by_many_at_once_without_a_deadlock(
    database: Database,
) -> None:
    names = [f"liabilities:host:{n}:held" for n in range(12)]
    attempts = 0

    async def open_all(session: AsyncSession, writer: int) -> None:
        nonlocal attempts
        attempts += 1
        chance = random.Random(writer)  # noqa: S311
        mine = chance.sample(names, len(names))
        batch = [
            entry(f"{writer}:{name}", "clearing:charges 1 eur", f"{name} -1 eur") for name in mine
        ]
        await journal.post(session, batch)

    await asyncio.gather(*(database.run(open_all, writer) for writer in range(WRITERS)))
    assert await books.count(database, "accounts") == len(names) + 1
    assert await books.count(database, "entries") == len(names) * WRITERS
    assert await books.guilty(database) == {}
    assert attempts == WRITERS, "there was a deadlock"


async def test_fifty_reversals_at_once_undo_an_entry_once(database: Database) -> None:
    await database.run(journal.post, [earned("1"), earned("2")])
    answers = await asyncio.gather(
        *(database.run(journal.reverse, "1", happened_at=NOON) for _ in range(50))
    )
    assert Counter(map(len, answers)) == {1: 1, 0: 49}
    assert (await database.run(balances.now, "clearing:charges", "eur")).minor == 500
    assert await books.guilty(database) == {}


async def test_held_money_spent_by_many_at_once_is_spent_once(database: Database) -> None:
    await database.run(journal.post, [earned("1")])

    async def spend(n: int) -> bool:
        try:
            return bool(await database.run(journal.post, [earned(f"spend:{n}", -100)]))
        except Overdrawn:
            return False

    assert Counter(await asyncio.gather(*map(spend, range(20)))) == {True: 5, False: 15}
    assert (await database.run(balances.now, f"{ADA}:held", "eur")).minor == 0
    assert await books.guilty(database) == {}


# The bank: whoever looks, whenever, sees books that balance.

TOTALS = """
SELECT (SELECT coalesce(sum(minor), 0) FROM balances)::bigint AS now,
       (SELECT coalesce(sum(minor), 0) FROM postings)::bigint AS journal,
       (SELECT coalesce(sum(minor), 0) FROM day_balances)::bigint AS days,
       (SELECT count(*) FROM entries) AS entries,
       (SELECT count(DISTINCT entry_id) FROM postings) AS posted,
       (SELECT coalesce(sum(seq), 0) FROM balances)::bigint AS counted,
       (SELECT count(*) FROM postings) AS postings
"""
ACCOUNTS = ("clearing:charges", "assets:stripe:pending", f"{ADA}:available", f"{BOB}:available")


async def look(database: Database) -> bool:
    """Whether a snapshot of the books is right: sums of zero, and nothing half there."""
    async with database.transaction() as session:
        await fetch(session, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        it = (await fetch(session, TOTALS))[0]
    return it.now == it.journal == it.days == 0 and (it.entries, it.counted) == (
        it.posted,
        it.postings,
    )


def work(chance: random.Random, key: str) -> list[Entry]:
    """One to three random movements between the hot accounts and the hosts, some told late."""
    batch = []
    for part in range(chance.randint(1, 3)):
        debit, credit = chance.sample(ACCOUNTS, 2)
        minor, late = chance.randint(1, 999), timedelta(days=chance.choice((0, 0, 1, 90)))
        legs = (f"{debit} {minor} eur", f"{credit} {-minor} eur")
        batch.append(entry(f"{key}:{part}", *legs, at=NOON - late))
    return batch


async def bank(fresh: Fresh, database: Database, operations: int) -> list[bool]:
    """What the readers saw while the writers worked."""
    seen: list[bool] = []
    todo = iter(range(operations))

    async def write(writer: int) -> None:
        chance = random.Random(writer)  # noqa: S311
        for operation in todo:
            again = operation // 2 if operation % 10 == 9 else operation
            await database.run(journal.post, work(random.Random(again), f"{again}"))  # noqa: S311
            await asyncio.sleep(chance.random() / 1000)

    async def read(reader: Database, done: asyncio.Event) -> None:
        while not done.is_set():
            seen.append(await look(reader))
            await asyncio.sleep(0.01)

    done = asyncio.Event()
    async with Database(fresh.app, connections=READERS) as reader:
        readers = [asyncio.create_task(read(reader, done)) for _ in range(READERS)]
        await asyncio.gather(*map(write, range(WRITERS)))
        done.set()
        await asyncio.gather(*readers)
    return seen


async def test_the_books_balance_at_every_instant(database: Database, fresh: Fresh) -> None:
    seen = await bank(fresh, database, OPERATIONS)
    assert all(seen), f"{seen.count(False)} wrong totals in {len(seen)} looks"
    assert len(seen) > READERS
    assert await books.guilty(database) == {}


async def test_control_one_leg_behind_the_laws_back_is_seen_at_once(
    database: Database, fresh: Fresh
) -> None:
    async def plant(admin: asyncpg.Connection) -> None:
        while not await admin.fetchval("SELECT count(*) > 100 FROM entries"):
            await asyncio.sleep(0.01)
        await admin.execute(
            "INSERT INTO postings SELECT 'je_raw', now(), 1, account_id, slot, 999, now(), 1, 1,"
            " currency, NULL FROM postings LIMIT 1"
        )

    async with books.behind_the_triggers(fresh.admin) as admin:
        seen, _ = await asyncio.gather(bank(fresh, database, 200), plant(admin))
    assert set(seen) == {True, False}
    assert not await look(database)


PAIRS = (("ada", "bob"), ("bob", "ada"))


async def test_a_deadlock_is_tried_again_until_both_have_what_they_want(
    database: Database,
) -> None:
    for name in ("ada", "bob"):
        await hosts.register(database, name, name, now=datetime.now(UTC))
    both, attempts = asyncio.Barrier(2), Counter[str]()
    lock = "SELECT FROM hosts WHERE id = $1 FOR UPDATE"

    async def cross(session: AsyncSession, first: str, second: str) -> str:
        attempts[first] += 1
        await fetch(session, lock, first)
        if attempts[first] == 1:
            await both.wait()  # each holds what the other wants
        await fetch(session, lock, second)
        return "done"

    answers = [*await asyncio.gather(*(database.run(cross, *pair) for pair in PAIRS))]
    assert answers == ["done", "done"]
    once, again = sorted(attempts.values())
    assert (once, again > 1) == (1, True)  # who lost may lose another time: it is quick to be back


async def test_a_serialisation_failure_is_tried_again(database: Database) -> None:
    await database.fetch("INSERT INTO cursors VALUES ('here', '', now())")
    both, attempts = asyncio.Barrier(2), Counter[int]()

    async def raise_it(session: AsyncSession, who: int) -> None:
        attempts[who] += 1
        await fetch(session, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
        await fetch(session, "SELECT max(value) FROM cursors")
        if attempts[who] == 1:
            await both.wait()
        await fetch(session, "UPDATE cursors SET value = value || 'x'")

    await asyncio.gather(database.run(raise_it, 1), database.run(raise_it, 2))
    assert sorted(attempts.values()) == [1, 2]


async def test_what_fails_for_good_is_tried_once(database: Database) -> None:
    attempts = 0

    async def step(session: AsyncSession) -> None:
        nonlocal attempts
        attempts += 1
        await fetch(session, "SELECT nothing FROM nowhere")

    with pytest.raises(Exception, match="nowhere"):
        await database.run(step)
    assert attempts == 1


async def test_a_connection_lost_in_the_middle_writes_nothing_and_is_called_away(
    database: Database, fresh: Fresh
) -> None:
    await database.run(journal.post, [earned("1")])
    before = await books.every_byte(fresh.owner)

    async def step(session: AsyncSession) -> None:
        await journal.post(session, [earned("2")])
        pid = (await fetch(session, "SELECT pg_backend_pid() AS pid"))[0].pid
        await books.ask(fresh.admin, "SELECT pg_terminate_backend($1, 5000)", pid)
        await journal.post(session, [earned("3")])

    with pytest.raises(DatabaseAway):
        await database.run(step)
    assert await books.every_byte(fresh.owner) == before
    assert await database.run(journal.post, [earned("2")]), "the next one gets a new connection"


async def test_a_server_that_is_not_there_is_called_away() -> None:
    async with Database("postgresql://takings_app:x@127.0.0.1:9/books") as database:
        with pytest.raises(DatabaseAway):
            await database.run(journal.post, [earned("1")])


async def test_a_server_that_is_just_starting_is_called_away() -> None:
    async def start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)  # may we speak in secret?
        writer.write(b"N")
        await reader.read(1024)
        said = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"
        writer.write(b"E" + (len(said) + 4).to_bytes(4) + said)
        writer.close()

    server = await asyncio.start_server(start, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Database(f"postgresql://takings_app:x@127.0.0.1:{port}/books") as database:
        with pytest.raises(DatabaseAway):
            await database.run(journal.post, [earned("1")])
