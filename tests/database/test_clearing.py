"""What is open in clearing: read on from where one was, it is what a reading of all would say."""

import asyncio
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from takings.database import Database
from takings.ledger import accounts, journal
from takings.ledger.clearing import Clearing, Open, Subject
from takings.ledger.entries import Entry, Posting
from takings.money import Money
from tests.books import NOON

CHARGES = accounts.CHARGES


def entry(key: str, subject: str, minor: int, account: str = CHARGES, day: int = 0) -> Entry:
    money = Money(minor, "eur")
    legs = (Posting(account, money), Posting(accounts.BANK, -money))
    return Entry(key, "test", subject, NOON + timedelta(days=day), legs)


async def post(database: Database, *entries: Entry) -> None:
    await database.run(journal.post, entries)


def sums(found: Mapping[Subject, Open]) -> dict[Subject, int]:
    return {subject: one.minor for subject, one in found.items()}


async def test_a_subject_is_open_since_its_first_posting_until_it_is_zero(
    database: Database,
) -> None:
    clearing, one = Clearing(), Subject(CHARGES, "eur", "pay_1")
    assert await clearing.read(database) == {}
    await post(database, entry("sold", "pay_1", 500))
    assert await clearing.read(database) == {one: Open(500, NOON)}
    await post(database, entry("half", "pay_1", -200, day=1))
    assert await clearing.read(database) == {one: Open(300, NOON)}
    await post(database, entry("rest", "pay_1", -300, day=2))
    assert await clearing.read(database) == {}
    await post(database, entry("again", "pay_1", 7, day=3))
    assert await clearing.read(database) == {one: Open(7, NOON + timedelta(days=3))}


async def test_what_is_posted_at_the_instant_of_the_last_reading_is_read_on(
    database: Database,
) -> None:
    clearing, at = Clearing(), datetime.now(UTC)
    for n in (1, 2):
        await database.run(journal.post, [entry(f"{n}", f"pay_{n}", 5)], posted_at=at)
        assert len(await clearing.read(database)) == n


async def test_only_clearing_and_suspense_are_watched(database: Database) -> None:
    await post(database, entry("one", "txn_1", 5, accounts.SUSPENSE), entry("two", "pay_1", 6))
    clearing = Clearing()
    found = await clearing.read(database)
    assert {(one.account, left.minor) for one, left in found.items()} == {
        (CHARGES, 6),
        (accounts.SUSPENSE, 5),
    }
    assert clearing.accounts == ((CHARGES, "eur"), (accounts.SUSPENSE, "eur"))


async def test_reading_on_while_many_post_finds_what_reading_everything_finds(
    database: Database,
) -> None:
    dice = random.Random(7)  # noqa: S311 - a story, not a secret
    clearing, done = Clearing(), asyncio.Event()

    async def write(writer: int) -> None:
        for n in range(40):
            subjects = [f"pay_{dice.randrange(20)}" for _ in range(dice.randrange(1, 5))]
            await post(
                database,
                *(
                    entry(f"{writer}-{n}-{i}", subject, dice.choice((-1, 1)))
                    for i, subject in enumerate(subjects)
                ),
            )

    async def read() -> int:
        readings = 0
        while not done.is_set():
            await clearing.read(database)
            readings += 1
        return readings

    reader = asyncio.create_task(read())
    await asyncio.gather(*(write(writer) for writer in range(6)))
    done.set()
    assert await reader > 5
    found = sums(await clearing.read(database))
    assert found == sums(await Clearing().read(database))
    assert found
