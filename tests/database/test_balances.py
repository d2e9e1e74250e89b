"""Balances: now, and as of any instant on either time, whatever was told late."""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise

import pytest

from takings.database import Database, fetch
from takings.ledger import balances, journal
from takings.ledger.balances import Line
from takings.ledger.journal import OutOfOrder
from takings.money import Money
from tests import books
from tests.books import ADA, BOB, NOON, earned, entry
from tests.conftest import Fresh

ACCOUNTS = ("clearing:charges", "assets:stripe:pending", f"{ADA}:available", f"{BOB}:available")
SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)

Told = tuple[datetime, datetime, str, str, int]  # posted_at, happened_at, account, currency, minor


@pytest.fixture
async def tills(fresh: Fresh) -> AsyncIterator[list[Database]]:
    """Several connections, each of which posts to a slot of its own."""
    async with AsyncExitStack() as stack:
        found = [Database(fresh.app, connections=1) for _ in range(4)]
        yield [await stack.enter_async_context(till) for till in found]


async def history(tills: list[Database], chance: random.Random, size: int) -> list[Told]:
    """A random year: three entries of four are told late, some by months."""
    told: list[Told] = []
    posted_at = datetime(2020, 1, 1, 12, tzinfo=UTC)
    for n in range(size):
        posted_at += chance.choice((SECOND, HOUR, DAY, 9 * DAY))
        late = chance.choice((timedelta(0), 5 * HOUR, DAY, 100 * DAY))
        happened_at, minor = posted_at - late, chance.randint(-999, 999) or 1
        debit, credit = chance.sample(ACCOUNTS, 2)
        currency = chance.choice(("eur", "eur", "usd"))
        made = entry(
            *(f"{n}", f"{debit} {minor} {currency}", f"{credit} {-minor} {currency}"),
            at=happened_at,
        )
        await chance.choice(tills).run(journal.post, [made], posted_at=posted_at)
        told.append((posted_at, happened_at, debit, currency, minor))
        told.append((posted_at, happened_at, credit, currency, -minor))
    return told


def naive(told: list[Told], account: str, currency: str) -> Money:
    """The balance as a child would do it: look at every posting."""
    return Money(sum(t[4] for t in told if t[2:4] == (account, currency)), currency)


@pytest.mark.parametrize("seed", range(3))
async def test_every_balance_at_every_instant_is_what_counting_by_hand_gives(
    database: Database, tills: list[Database], seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - a story, not a secret
    told = await history(tills, chance, 60)
    rows = await database.run(fetch, "SELECT count(DISTINCT slot) AS n FROM postings")
    assert rows[0].n > 1, "all tills wrote to one slot"
    instants = [told[0][0] - DAY, told[-1][0] + 200 * DAY]
    for posted_at, happened_at, *_ in chance.sample(told, 12):
        midnight = happened_at.replace(hour=0, minute=0, second=0)
        instants += [posted_at, posted_at - SECOND, happened_at, happened_at - SECOND, midnight]
    async with database.transaction() as session:
        for account in ACCOUNTS:
            for currency in ("eur", "usd"):
                it = (account, currency)
                assert await balances.now(session, *it) == naive(told, *it)
                for then in instants:
                    assert await balances.recorded(session, *it, then) == naive(
                        [t for t in told if t[0] <= then], *it
                    ), then
                    assert await balances.effective(session, *it, then) == naive(
                        [t for t in told if t[1] <= then], *it
                    ), then
    assert await books.guilty(database) == {}


async def test_control_the_two_times_differ_where_something_is_told_late(
    database: Database,
) -> None:
    noon = datetime(2020, 3, 10, 12, tzinfo=UTC)
    for key, posted_at in (("in time", noon), ("late", noon + 30 * DAY)):
        await database.run(journal.post, [earned(key, at=noon)], posted_at=posted_at)
    it = ("clearing:charges", "eur", noon + HOUR)
    assert (await database.run(balances.recorded, *it)).minor == 500
    assert (await database.run(balances.effective, *it)).minor == 1000


async def test_the_trial_balance_is_sorted_and_sums_to_zero_in_every_currency(
    database: Database,
) -> None:
    await database.run(journal.post, [
        earned("1"), earned("2", 7), entry("3", "clearing:charges 9 usd", f"{BOB}:held -9 usd"),
        entry("4", "assets:bank 5 eur", "suspense -5 eur"),
        entry("5", "assets:bank -5 eur", "suspense 5 eur"),
    ])  # fmt: skip
    euros = [Line("clearing:charges", Money(507, "eur")), Line(f"{ADA}:held", Money(-507, "eur"))]
    trial = await database.run(balances.trial)
    assert trial == [
        *euros, Line("clearing:charges", Money(9, "usd")), Line(f"{BOB}:held", Money(-9, "usd")),
    ]  # fmt: skip
    assert [(line.debit.minor, line.credit.minor) for line in trial] == [
        (507, 0), (0, 507), (9, 0), (0, 9),
    ]  # fmt: skip
    everything = await database.run(balances.trial, zeros=True)
    assert {x.account for x in everything} - {x.account for x in trial} == {
        "assets:bank", "suspense",
    }  # fmt: skip


async def test_what_was_never_posted_on_is_zero_at_any_time(database: Database) -> None:
    await database.run(journal.post, [earned("1")])
    for it in (("clearing:refunds", "eur"), ("clearing:charges", "usd")):
        assert await database.run(balances.now, *it) == Money(0, it[1])
        assert await database.run(balances.recorded, *it, NOON) == Money(0, it[1])
        assert await database.run(balances.effective, *it, NOON) == Money(0, it[1])
    assert await database.run(balances.of_host, "nobody") == {}


async def test_a_host_sees_what_we_owe_as_a_positive_sum_by_drawer(database: Database) -> None:
    released = entry("2", f"{ADA}:held 200 eur", f"{ADA}:available -200 eur")
    await database.run(journal.post, [earned("1"), released])
    host = await database.run(balances.of_host, "ada")
    assert {drawer: money.minor for drawer, money in host["eur"].items()} == {
        "held": 300, "available": 200, "reserved": 0, "rolling": 0, "in_transit": 0,
    }  # fmt: skip


async def test_what_is_told_late_rewrites_no_posting_and_no_entry(
    database: Database, fresh: Fresh
) -> None:
    await database.run(journal.post, [earned(f"{n}", at=NOON + n * DAY) for n in range(20)])
    before = await books.every_byte(fresh.owner, "entries", "postings")
    await database.run(journal.post, [earned("late", at=NOON - 90 * DAY)])
    after = await books.every_byte(fresh.owner, "entries", "postings")
    for table, rows in before.items():
        assert rows <= after[table], table
    assert len(after["postings"]) == len(before["postings"]) + 2
    it = ("clearing:charges", "eur")
    assert (await database.run(balances.effective, *it, NOON - 90 * DAY)).minor == 500
    assert (await database.run(balances.effective, *it, NOON)).minor == 1000
    assert await books.guilty(database) == {}


async def test_a_balance_is_read_from_as_many_rows_whatever_its_history(
    database: Database, fresh: Fresh
) -> None:
    for n in range(5):
        await database.run(journal.post, [earned(f"{n}:{k}") for k in range(20)])
    (rows,) = await books.ask(
        fresh.owner,
        "SELECT count(*), sum(b.minor)::int, sum(b.seq)::int FROM balances b"
        " JOIN accounts a ON a.id = b.account_id WHERE a.name = 'clearing:charges'",
    )
    assert rows[0] <= 16
    assert rows[1:] == (50_000, 100)


async def test_a_day_ends_at_midnight_utc_wherever_the_clock_hangs(
    database: Database, fresh: Fresh
) -> None:
    paris, tokyo = timezone(2 * HOUR), timezone(9 * HOUR)
    happened_at = datetime(2026, 3, 11, 0, 30, tzinfo=paris)  # still the tenth in UTC
    async with database.transaction() as session:
        await fetch(session, "SET LOCAL timezone = 'Asia/Tokyo'")
        await journal.post(session, [earned("1", at=happened_at)])
    assert await books.ask(fresh.owner, "SELECT DISTINCT day FROM day_balances") == [
        (date(2026, 3, 10),)
    ]
    for zone in (UTC, paris, tokyo):
        it = ("clearing:charges", "eur", happened_at.astimezone(zone))
        assert (await database.run(balances.effective, *it)).minor == 500
        it = ("clearing:charges", "eur", happened_at.astimezone(zone) - SECOND)
        assert (await database.run(balances.effective, *it)).minor == 0
        midnight = datetime(2026, 3, 11, tzinfo=UTC).astimezone(zone)
        it = ("clearing:charges", "eur", midnight)
        assert (await database.run(balances.effective, *it)).minor == 500
    assert await books.guilty(database) == {}


async def test_within_a_slot_the_clock_never_runs_backwards(
    database: Database, tills: list[Database]
) -> None:
    for n in range(12):
        await tills[n % 4].run(journal.post, [earned(f"{n}")])
    rows = await database.run(
        fetch, "SELECT account_id, slot, seq, posted_at FROM postings ORDER BY 1, 2, 3"
    )
    for one, two in pairwise(rows):
        if (one.account_id, one.slot) == (two.account_id, two.slot):
            assert (one.seq + 1, one.posted_at) <= (two.seq, two.posted_at)


async def test_nothing_is_posted_before_what_was_posted_or_in_time_to_come(fresh: Fresh) -> None:
    """The running balance beside each posting would be wrong, and nobody could correct it."""
    one = Database(fresh.app, connections=1)
    async with one:
        await one.run(journal.post, [earned("1")])
        before = await books.every_byte(fresh.owner)
        for posted_at in (datetime.now(UTC) - HOUR, datetime.now(UTC) + HOUR):
            with pytest.raises(OutOfOrder, match=r"clearing:charges|ada"):
                await one.run(journal.post, [earned("2")], posted_at=posted_at)
    assert await books.every_byte(fresh.owner) == before


async def test_control_a_posting_out_of_order_is_found_by_the_books(
    fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        journal, "LATER", "SELECT WHERE $1::text[] IS NULL AND $2::timestamptz < now()"
    )
    async with Database(fresh.app, connections=1) as one:
        await one.run(journal.post, [earned("1")])
        await one.run(journal.post, [earned("2")], posted_at=datetime.now(UTC) - HOUR)
        assert list(await books.guilty(one)) == ["running balances"]
