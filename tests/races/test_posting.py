"""Many post at once: each key has one effect, and the books balance at every instant."""

import asyncio
import random
from collections import Counter
from datetime import timedelta

import pytest

from takings.database import Database, DatabaseAway, Overdrawn, fetch
from takings.ledger import balances, journal
from takings.ledger.entries import Entry
from takings.ledger.journal import KeyReused
from tests import books
from tests.books import ADA, BOB, NOON, earned, entry
from tests.conftest import PROVE, Fresh

WRITERS, READERS = 20, 4
OPERATIONS = 10_000 if PROVE else 1_000
UNGUARDED = journal.POST.replace("ON CONFLICT (key) DO NOTHING", "")


async def test_twenty_who_post_the_same_keys_post_each_once(database: Database) -> None:
    answers = await asyncio.gather(
        *(database.run(journal.post, [earned("2"), earned("1"), earned("3")]) for _ in range(20))
    )
    assert Counter(key for new in answers for key in new) == {"1": 1, "2": 1, "3": 1}
    assert await books.count(database, "entries") == 3
    assert (await database.run(balances.now, "clearing:charges", "eur")).minor == 1500
    assert await books.guilty(database) == {}


async def test_control_without_the_unique_key_they_post_it_many_times(
    database: Database, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    await books.ask(fresh.owner, "ALTER TABLE entry_keys DROP CONSTRAINT entry_keys_pk")
    monkeypatch.setattr(journal, "POST", UNGUARDED)
    await asyncio.gather(*(database.run(journal.post, [earned("1")]) for _ in range(20)))
    assert await books.count(database, "entries") == 20


async def test_of_two_different_events_under_one_key_one_is_posted(database: Database) -> None:
    async def try_to(minor: int) -> bool:
        try:
            return bool(await database.run(journal.post, [earned(f"own:{minor}"), earned("1", minor)]))
        except KeyReused:
            return False

    answers = await asyncio.gather(*(try_to(minor) for minor in range(1, 21)))
    assert Counter(answers) == {True: 1, False: 19}
    assert await books.count(database, "entries") == 2, "the loser's other entry is not there"
    assert await books.guilty(database) == {}


async def test_accounts_are_opened_by_many_at_once_without_a_deadlock(
    database: Database, fresh: Fresh
) -> None:
    names = [f"liabilities:host:{n}:held" for n in range(12)]

    async def open_all(writer: int) -> None:
        chance = random.Random(writer)  # noqa: S311
        mine = chance.sample(names, len(names))
        batch = [
            entry(f"{writer}:{name}", "clearing:charges 1 eur", f"{name} -1 eur") for name in mine
        ]
        await database.run(journal.post, batch)

    await asyncio.gather(*(open_all(writer) for writer in range(WRITERS)))
    assert await books.count(database, "accounts") == len(names) + 1
    assert await books.count(database, "entries") == len(names) * WRITERS
    assert await books.guilty(database) == {}
    assert await deadlocks(fresh) == 0


async def deadlocks(fresh: Fresh) -> int:
    """How often PostgreSQL had to choose a victim in this database."""
    sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    return int((await books.ask(fresh.admin, sql))[0][0])


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
            again = operation // 2 if operation % 10 == 9 else operation  # noqa: PLR2004
            await database.run(journal.post, work(random.Random(again), f"{again}"))  # noqa: S311
            await asyncio.sleep(chance.random() / 1000)

    async def read(reader: Database, done: asyncio.Event) -> None:
        while not done.is_set():
            seen.append(await look(reader))

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
    assert all(await bank(fresh, database, 40))
    async with books.behind_the_triggers(fresh.admin) as admin:
        await admin.execute(
            "INSERT INTO postings SELECT 'je_raw', now(), 1, account_id, slot, 999, now(), 1, 1,"
            " currency, NULL FROM postings LIMIT 1"
        )
    assert not any(await bank(fresh, database, 40))


async def test_control_entries_posted_in_halves_are_seen_half_done(
    database: Database, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The readers are quick enough: legs in two transactions do not escape them."""
    whole = journal.post

    async def halves(session: object, entries: list[Entry]) -> None:
        del session
        for one in entries:
            for leg in one.postings:
                half = object.__new__(Entry)
                for name in Entry.__slots__:
                    object.__setattr__(half, name, getattr(one, name))
                object.__setattr__(half, "key", f"{one.key}:{leg.account}")
                object.__setattr__(half, "id", f"{one.id}:{leg.account}")
                object.__setattr__(half, "postings", (leg,))
                async with database.transaction() as own:
                    await whole(own, [half])

    async with books.behind_the_triggers(fresh.admin):
        monkeypatch.setattr(journal, "post", halves)
        async with Database(fresh.app, connections=WRITERS) as writers:
            seen = await bank(fresh, writers, 40)
    assert not all(seen)


async def test_a_deadlock_is_tried_again_until_both_have_what_they_want(
    database: Database, fresh: Fresh
) -> None:
    await database.run(journal.post, [earned("1")])
    both, attempts = asyncio.Barrier(2), Counter[int]()
    lock = "SELECT FROM accounts WHERE id = $1 FOR UPDATE"

    async def cross(session: object, first: int, second: int) -> str:
        attempts[first] += 1
        await fetch(session, lock, first)  # type: ignore[arg-type]
        if attempts[first] == 1:
            await both.wait()  # each holds what the other wants
        await fetch(session, lock, second)  # type: ignore[arg-type]
        return "done"

    answers = await asyncio.gather(database.run(cross, 1, 2), database.run(cross, 2, 1))
    assert answers == ["done", "done"]
    assert sorted(attempts.values()) == [1, 2]
    assert await deadlocks(fresh) == 1


async def test_a_serialisation_failure_is_tried_again(database: Database) -> None:
    await database.run(journal.post, [earned("1")])
    both, attempts = asyncio.Barrier(2), Counter[int]()

    async def raise_it(session: object, who: int) -> None:
        attempts[who] += 1
        await fetch(session, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")  # type: ignore[arg-type]
        await fetch(session, "SELECT sum(minor) FROM balances")  # type: ignore[arg-type]
        if attempts[who] == 1:
            await both.wait()
        await fetch(session, "UPDATE balances SET seq = seq + 1")  # type: ignore[arg-type]

    await asyncio.gather(database.run(raise_it, 1), database.run(raise_it, 2))
    assert sorted(attempts.values()) == [1, 2]


async def test_what_fails_for_good_is_tried_once(database: Database) -> None:
    attempts = 0

    async def step(session: object) -> None:
        nonlocal attempts
        attempts += 1
        await fetch(session, "SELECT nothing FROM nowhere")  # type: ignore[arg-type]

    with pytest.raises(Exception, match="nowhere"):
        await database.run(step)
    assert attempts == 1


async def test_a_connection_lost_in_the_middle_writes_nothing_and_is_called_away(
    database: Database, fresh: Fresh
) -> None:
    await database.run(journal.post, [earned("1")])
    before = await books.every_byte(fresh.owner)

    async def step(session: object) -> None:
        await journal.post(session, [earned("2")])  # type: ignore[arg-type]
        pid = (await fetch(session, "SELECT pg_backend_pid() AS pid"))[0].pid  # type: ignore[arg-type]
        await books.ask(fresh.admin, "SELECT pg_terminate_backend($1, 5000)", pid)
        await journal.post(session, [earned("3")])  # type: ignore[arg-type]

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
