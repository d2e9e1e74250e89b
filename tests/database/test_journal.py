"""The journal: many entries in one statement, each once, none of it half."""

from datetime import datetime, timedelta

import pytest

from takings.database import Database, Overdrawn
from takings.errors import NotFound
from takings.ledger import balances, journal
from takings.ledger.entries import NoPostings, NoZone, Posting, Unbalanced
from takings.ledger.journal import KeyReused, NotReversible
from tests import books, stories
from tests.books import ADA, BOB, NOON, earned, entry
from tests.conftest import Fresh

TIP = entry(
    "payment:1:earned",
    "clearing:charges +546 eur",
    f"{ADA}:held -300 eur",
    f"{BOB}:held -200 eur",
    "income:fees_covered -46 eur",
)


async def test_what_is_posted_stands_in_the_journal_leg_by_leg(database: Database) -> None:
    assert await database.run(journal.post, [TIP]) == {TIP.key}
    assert (
        await stories.told(database)
        == """\
payment:1:earned
  clearing:charges +546 eur
  liabilities:host:ada:held -300 eur
  liabilities:host:bob:held -200 eur
  income:fees_covered -46 eur"""
    )
    assert await books.guilty(database) == {}


async def test_everything_that_is_known_of_an_entry_is_kept(
    database: Database, fresh: Fresh
) -> None:
    whole = entry(
        "txn:1",
        "a +1 eur",
        "b -1 eur",
        source="ch_1",
        narration="Zoë's “tip”; 5 €",
        metadata={"room": "spc_one"},
    )
    await database.run(journal.post, [whole])
    assert await books.ask(
        fresh.owner,
        "SELECT id, key, kind, subject, happened_at, source, narration, metadata->>'room',"
        " posted_at BETWEEN now() - interval '1 minute' AND now() FROM entries",
    ) == [(
        whole.id, "txn:1", "test", "pay_one", NOON, "ch_1", "Zoë's “tip”; 5 €", "spc_one", True,
    )]  # fmt: skip


async def test_a_hundred_entries_cost_as_many_statements_as_one(database: Database) -> None:
    sent = []
    for size in (1, 100):
        batch = [earned(f"{size}:{n}") for n in range(size)]
        for again in (False, True):  # new, and again
            with books.counted(database) as statements:
                new = await database.run(journal.post, batch)
            assert len(new) == (0 if again else size)
            sent.append(len(statements))
    assert sent == [1, 2, 1, 2]  # a repetition also looks whether the postings are the same


async def test_control_posting_one_by_one_costs_a_statement_each(database: Database) -> None:
    with books.counted(database) as statements:
        for n in range(10):
            await database.run(journal.post, [earned(f"{n}")])
    assert len(statements) == 10


async def test_an_empty_batch_asks_nothing_of_the_database(database: Database) -> None:
    with books.counted(database) as statements:
        assert await database.run(journal.post, []) == frozenset()
    assert statements == []


async def test_posting_again_writes_nothing_not_even_a_byte(
    database: Database, fresh: Fresh
) -> None:
    await database.run(journal.post, [TIP, earned("2")])
    before = await books.every_byte(fresh.owner)
    again = [earned("2"), entry(TIP.key, *map(leg, TIP.postings)), earned("2")]
    assert await database.run(journal.post, again) == frozenset()
    assert await books.every_byte(fresh.owner) == before


async def test_control_every_byte_shows_a_row_written_again_as_it_was(
    database: Database, fresh: Fresh
) -> None:
    await database.run(journal.post, [TIP])
    before = await books.every_byte(fresh.owner)
    await books.ask(fresh.owner, "UPDATE balances SET minor = minor")
    assert await books.every_byte(fresh.owner) != before


@pytest.mark.parametrize("twin", [earned("1"), None], ids=["its equal", "the very same"])
async def test_a_key_twice_in_a_batch_is_posted_once(database: Database, twin: object) -> None:
    first = earned("1")
    batch = [first, earned("2"), first if twin is None else earned("1")]
    assert await database.run(journal.post, batch) == {"1", "2"}
    assert await books.count(database, "postings") == 4
    assert await books.guilty(database) == {}


@pytest.mark.parametrize(
    "legs",
    [
        pytest.param(("clearing:charges +501 eur", f"{ADA}:held -501 eur"), id="amount"),
        pytest.param(("clearing:charges +500 usd", f"{ADA}:held -500 usd"), id="currency"),
        pytest.param(("clearing:charges +500 eur", f"{BOB}:held -500 eur"), id="account"),
        pytest.param(
            ("clearing:charges +500 eur", f"{ADA}:held -300 eur", f"{ADA}:held -200 eur"), id="legs"
        ),
    ],
)
async def test_a_key_with_other_postings_is_refused_and_nothing_is_written(
    database: Database, fresh: Fresh, legs: tuple[str, ...]
) -> None:
    await database.run(journal.post, [earned("1")])
    before = await books.every_byte(fresh.owner)
    with pytest.raises(KeyReused, match="entry 1 with other postings"):
        await database.run(journal.post, [earned("0"), entry("1", *legs), earned("2")])
    with pytest.raises(KeyReused, match="entry 9 with other postings"):
        await database.run(journal.post, [earned("9"), entry("9", *legs)])
    assert await books.every_byte(fresh.owner) == before


async def test_an_entry_may_move_two_currencies_each_to_zero(database: Database) -> None:
    exchange = entry(
        "exchange:1",
        "clearing:exchange +1000 usd", "assets:stripe:available -1000 usd",
        "clearing:exchange -920 eur", "assets:stripe:available +920 eur",
    )  # fmt: skip
    await database.run(journal.post, [exchange])
    async with database.transaction() as session:
        trial = {
            (x.account, x.money.currency): x.money.minor for x in await balances.trial(session)
        }
    assert trial == {
        ("assets:stripe:available", "eur"): 920, ("clearing:exchange", "eur"): -920,
        ("assets:stripe:available", "usd"): -1000, ("clearing:exchange", "usd"): 1000,
    }  # fmt: skip
    assert await books.guilty(database) == {}


def test_an_entry_that_does_not_add_up_cannot_be_made() -> None:
    with pytest.raises(Unbalanced, match=r"leave 0\.01 EUR"):
        entry("1", "a +500 eur", "b -499 eur")
    with pytest.raises(Unbalanced, match="leave"):
        entry("1", "a +500 eur", "b -500 usd")
    with pytest.raises(NoPostings):
        entry("1", "a +0 eur")
    with pytest.raises(NoZone):
        entry("1", "a +1 eur", "b -1 eur", at=datetime(2026, 3, 10))  # noqa: DTZ001


async def test_a_hosts_held_money_cannot_become_a_debt_and_available_money_can(
    database: Database, fresh: Fresh
) -> None:
    await database.run(journal.post, [earned("1"), earned("2", drawer="available")])
    before = await books.every_byte(fresh.owner)
    for drawer in ("held", "reserved", "rolling", "in_transit"):
        with pytest.raises(Overdrawn):
            await database.run(journal.post, [earned("0", 1), earned("x", -502, drawer=drawer)])
    assert await books.every_byte(fresh.owner) == before
    back = [earned("3", -500), earned("4", -501, drawer="available")]
    assert await database.run(journal.post, back) == {"3", "4"}
    host = await database.run(balances.of_host, "ada")
    assert (host["eur"]["held"].minor, host["eur"]["available"].minor) == (0, -1)
    assert await books.guilty(database) == {}


async def test_held_money_may_dip_within_a_batch_that_leaves_it_whole(database: Database) -> None:
    """Only what a statement leaves behind is judged: it is the only thing anyone can see."""
    assert await database.run(journal.post, [earned("back", -500), earned("first", 500)])
    assert await books.guilty(database) == {}


async def test_control_without_the_floor_a_hosts_held_money_becomes_a_debt(
    database: Database, fresh: Fresh
) -> None:
    await database.run(journal.post, [earned("1")])
    async with books.behind_the_triggers(fresh.admin):
        await database.run(journal.post, [earned("2", -501)])
    assert await books.guilty(database) == {"liabilities": (f"{ADA}:held",)}


async def test_a_reversal_is_the_exact_opposite_once(database: Database) -> None:
    await database.run(journal.post, [TIP])
    later = NOON + timedelta(days=1)
    assert await database.run(journal.reverse, TIP.key, happened_at=later)
    assert not await database.run(journal.reverse, TIP.key, happened_at=later)
    assert (
        await stories.told(database)
        == """\
payment:1:earned
  clearing:charges +546 eur
  liabilities:host:ada:held -300 eur
  liabilities:host:bob:held -200 eur
  income:fees_covered -46 eur
payment:1:earned:reversed
  clearing:charges -546 eur
  liabilities:host:ada:held +300 eur
  liabilities:host:bob:held +200 eur
  income:fees_covered +46 eur"""
    )
    assert await database.run(balances.trial) == []
    assert await books.guilty(database) == {}


async def test_a_reversal_says_what_it_reverses(database: Database, fresh: Fresh) -> None:
    await database.run(journal.post, [TIP])
    await database.run(journal.reverse, TIP.key, happened_at=NOON, narration="sent by mistake")
    assert await books.ask(
        fresh.owner,
        "SELECT kind, subject, narration, metadata->>'reverses' FROM entries"
        " WHERE key LIKE '%:reversed'",
    ) == [("reversal", "pay_one", "sent by mistake", TIP.id)]


async def test_nobody_reverses_a_reversal_or_what_is_not_there(
    database: Database, fresh: Fresh
) -> None:
    await database.run(journal.post, [TIP])
    await database.run(journal.reverse, TIP.key, happened_at=NOON)
    before = await books.every_byte(fresh.owner)
    with pytest.raises(NotReversible):
        await database.run(journal.reverse, f"{TIP.key}:reversed", happened_at=NOON)
    with pytest.raises(NotFound, match="no entry payment:2"):
        await database.run(journal.reverse, "payment:2", happened_at=NOON)
    assert await books.every_byte(fresh.owner) == before


def leg(posting: Posting) -> str:
    return f"{posting.account} {posting.money.minor} {posting.money.currency}"
