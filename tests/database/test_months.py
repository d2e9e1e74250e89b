"""Months: partitions made ahead of time, and what happens where there is none."""

import asyncio
from datetime import UTC, date, datetime, timedelta

from takings.database import Database, fetch
from takings.ledger import balances, journal, months
from tests import books
from tests.books import earned
from tests.conftest import Fresh

MAY = datetime(2020, 5, 17, 12, tzinfo=UTC)
PLACES = """
SELECT tableoid::regclass::text AS place FROM entries
 UNION ALL SELECT DISTINCT tableoid::regclass::text FROM postings ORDER BY 1
"""


async def places(database: Database) -> list[str]:
    """The partitions that have rows."""
    return [row.place for row in await database.run(fetch, PLACES)]


async def opened(database: Database, month: datetime) -> bool:
    """Whether the month was made just now, by the app itself."""
    rows = await database.run(fetch, "SELECT open_month($1) AS opened", month.date())
    return bool(rows[0].opened)


async def test_a_posting_in_an_open_month_goes_to_its_partition(database: Database) -> None:
    assert await opened(database, MAY)
    await database.run(journal.post, [earned("1")], posted_at=MAY)
    assert await places(database) == ["entries_2020_05", "postings_2020_05"]
    assert await books.guilty(database) == {}


async def test_a_month_begins_and_ends_at_midnight_utc(database: Database) -> None:
    async with database.transaction() as session:
        await fetch(session, "SET LOCAL timezone = 'Asia/Tokyo'")
        await fetch(session, "SELECT open_month('2020-05-31')")
    last = datetime(2020, 5, 31, 23, 59, 59, 999999, tzinfo=UTC)
    first = datetime(2020, 5, 1, tzinfo=UTC)
    for key, posted_at in (("0", first - timedelta(microseconds=1)), ("1", first), ("2", last),
                           ("3", last + timedelta(microseconds=1))):  # fmt: skip
        await database.run(journal.post, [earned(key)], posted_at=posted_at)
    rows = await database.run(
        fetch, "SELECT key FROM entries WHERE tableoid = 'entries_2020_05'::regclass ORDER BY 1"
    )
    assert [row.key for row in rows] == ["1", "2"]


async def test_a_posting_in_no_month_goes_to_the_default_and_is_found_there(
    database: Database,
) -> None:
    await database.run(journal.post, [earned("1")], posted_at=MAY)
    await database.run(journal.post, [earned("1"), earned("2")])
    assert {place for place in await places(database) if "default" in place} == {
        "entries_default", "postings_default",
    }  # fmt: skip
    it = ("clearing:charges", "eur")
    assert (await database.run(balances.now, *it)).minor == 1000
    assert (await database.run(balances.recorded, *it, MAY)).minor == 500
    await database.run(journal.reverse, "1", happened_at=MAY)
    assert await books.guilty(database) == {}


async def test_a_month_whose_rows_lie_in_the_default_stays_there(database: Database) -> None:
    await database.run(journal.post, [earned("1")], posted_at=MAY)
    assert not await opened(database, MAY)
    assert await places(database) == ["entries_default", "postings_default"]
    assert await opened(database, MAY + timedelta(days=31)), "the next month is not in its way"


async def test_the_months_ahead_are_opened_once(database: Database, fresh: Fresh) -> None:
    now = datetime(2031, 11, 30, 23, 59, tzinfo=UTC)
    assert await months.open_ahead(database, now=now) == 1 + months.AHEAD
    assert await months.open_ahead(database, now=now) == 0
    assert await months.open_ahead(database, now=now + timedelta(minutes=1)) == 1
    made = await books.ask(
        fresh.owner,
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'postings'::regclass"
        " AND inhrelid::regclass::text >= 'postings_2031' ORDER BY 1",
    )
    assert [name for (name,) in made if name != "postings_default"] == [
        "postings_2031_11", "postings_2031_12", "postings_2032_01", "postings_2032_02",
        "postings_2032_03",
    ]  # fmt: skip


async def test_the_first_migration_opens_this_month(database: Database) -> None:
    await database.run(journal.post, [earned("1")])
    month = f"{datetime.now(UTC):%Y_%m}"
    assert await places(database) == [f"entries_{month}", f"postings_{month}"]


async def test_several_workers_may_open_the_months_at_once(database: Database) -> None:
    now = datetime(2031, 11, 1, tzinfo=UTC)
    made = await asyncio.gather(*(months.open_ahead(database, now=now) for _ in range(6)))
    assert sorted(made) == [0] * 5 + [1 + months.AHEAD]


async def test_a_month_can_be_opened_while_others_post(database: Database) -> None:
    async def write(writer: int) -> None:
        for n in range(20):
            await database.run(journal.post, [earned(f"{writer}:{n}")])

    async def open_years() -> int:
        return sum([
            await months.open_ahead(database, now=datetime(year, 6, 1, tzinfo=UTC))
            for year in range(2040, 2045)
        ])  # fmt: skip

    *_, made = await asyncio.gather(*(write(writer) for writer in range(6)), open_years())
    assert made == 5 * (1 + months.AHEAD)
    assert await books.count(database, "entries") == 120
    assert await books.guilty(database) == {}


async def test_the_law_holds_in_a_month_that_the_app_has_opened(
    database: Database, fresh: Fresh
) -> None:
    await opened(database, MAY)
    await database.run(journal.post, [earned("1")], posted_at=MAY)
    async with books.connected(fresh.admin) as admin:
        await admin.execute("SET session_replication_role = replica")
        for parent in ("entries", "postings"):
            for rewriting in ("DELETE FROM", "TRUNCATE"):
                answer = await books.refusal(admin, f"{rewriting} {parent}_2020_05")
                assert answer == "journal_is_final"
    async with books.connected(fresh.app) as app:
        answer = await books.refusal(app, "DROP TABLE postings_2020_05")
        assert answer == "InsufficientPrivilegeError"


async def test_the_period_is_the_month_of_what_happened_where_the_book_lives(
    database: Database, fresh: Fresh
) -> None:
    late = datetime(2026, 3, 31, 22, 30, tzinfo=UTC)  # in Berlin it is April, an hour and a half on
    await database.run(journal.post, [earned("utc", at=late)])
    await books.ask(fresh.owner, "UPDATE books SET zone = 'Europe/Berlin'")
    await database.run(journal.post, [earned("berlin", at=late)])
    rows = await database.run(fetch, "SELECT key, period FROM entries ORDER BY key")
    assert [tuple(row) for row in rows] == [
        ("berlin", date(2026, 4, 1)), ("utc", date(2026, 3, 1)),
    ]  # fmt: skip
