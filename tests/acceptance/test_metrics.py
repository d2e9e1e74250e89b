"""The metrics: each stands still while all is well, and moves when its trouble comes."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families as families

from api import metrics
from api.metrics import GAUGES, QUICK
from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.database import Database
from takings.ledger import accounts, journal, seals
from takings.ledger.entries import Entry, Posting
from takings.money import Money
from takings.payments import asks, cash
from tests import books, box_office, stories
from tests.acceptance import test_cash, test_inbox
from tests.conftest import Fresh

AGES = list(metrics.AGES)

Told = dict[str, float]


async def told(database: Database, now: datetime) -> Told:
    """What a scrape says, by the name of a figure and what its labels are."""
    text = (await metrics.exposition(database, now)).decode()
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in families(text)
        for sample in family.samples
    }


def moved(before: Told, after: Told) -> Told:
    """What is not as it was, of what the database says; what only says when is left out."""
    ours = {name for name in after if name.split()[0] in GAUGES}
    ours -= {"takings_cash_swept_seconds", "takings_figures_age_seconds"}
    ours -= {"takings_seals", "takings_unsealed_seconds"}  # no worker runs here
    return {name: after[name] for name in sorted(ours) if after[name] != before.get(name)}


def entry(key: str, account: str, minor: int, at: datetime) -> Entry:
    """Money that comes from the bank, or goes there."""
    money = Money(minor, "eur")
    legs = (Posting(account, money), Posting(accounts.BANK, -money))
    return Entry(key, "test", f"subject_{account}", at, legs)


async def unheard(runtime: Runtime, _: Fresh) -> timedelta:
    notice = test_inbox.notice("customer.created", {"object": "customer"})
    await test_inbox.receive(runtime, notice)
    return timedelta(seconds=90)


async def failing(runtime: Runtime, _: Fresh) -> timedelta:
    notice = test_inbox.notice("payment_intent.succeeded", test_inbox.paid("pay_nobodys"))
    await test_inbox.receive(runtime, notice)
    await test_inbox.process(runtime)
    return timedelta(seconds=90)


async def hopeless(runtime: Runtime, _: Fresh) -> timedelta:
    found = {"object": "customer"}
    notice = test_inbox.notice("customer.created", found, api_version="2019-01-01")
    await test_inbox.receive(runtime, notice)
    await test_inbox.process(runtime)
    return timedelta(seconds=90)


async def unanswered(runtime: Runtime, _: Fresh) -> timedelta:
    ask = ("payment:pay_1", "payment_intents.create", {})
    await runtime.database.run(asks.write, *ask, runtime.now())  # type: ignore[arg-type]
    return timedelta(seconds=90)


async def unmatured(runtime: Runtime, _: Fresh) -> timedelta:
    line = test_cash.line(runtime.now(), "fee")
    await runtime.database.run(cash.book, [line], runtime.now())
    return timedelta(days=7, seconds=90)


async def out_of_balance(_: Runtime, fresh: Fresh) -> timedelta:
    async with books.connected(fresh.admin) as connection:
        await connection.execute("UPDATE balances SET minor = minor + 7 WHERE minor < 0")
    return timedelta(seconds=90)


async def in_debt(runtime: Runtime, _: Fresh) -> timedelta:
    for host in ("ada", "bob"):
        account = accounts.of_host(host, "available")
        await runtime.database.run(journal.post, [entry(host, account, 500, runtime.now())])
    return timedelta(seconds=90)


async def uncleared(runtime: Runtime, _: Fresh) -> timedelta:
    found = entry("one", accounts.CHARGES, 500, runtime.now())
    await runtime.database.run(journal.post, [found])
    return timedelta(days=2)


async def not_understood(runtime: Runtime, _: Fresh) -> timedelta:
    found = entry("one", accounts.SUSPENSE, -500, runtime.now())
    await runtime.database.run(journal.post, [found])
    return timedelta(days=8)


async def unswept(runtime: Runtime, _: Fresh) -> timedelta:
    await box_office.run(runtime.database, runtime.now(), size=3)
    await box_office.claim(runtime.database, "one", quantity=3, now=runtime.now())
    return timedelta(seconds=600 + 90)


async def ending(runtime: Runtime, fresh: Fresh) -> timedelta:
    passed = await unswept(runtime, fresh)
    await runtime.database.fetch("UPDATE holds SET state = 'expiring'")
    return passed


async def not_returned(runtime: Runtime, fresh: Fresh) -> timedelta:
    async with books.connected(fresh.admin) as connection:
        await connection.execute("SET session_replication_role = replica")  # without its ticket
        owed = "INSERT INTO ticket_refunds (ticket_id, cause, next_at, created_at) "
        await connection.execute(f"{owed} VALUES ('tkt_one', 'asked', $1, $1)", runtime.now())
    return timedelta(seconds=90)


async def in_line(runtime: Runtime, fresh: Fresh) -> timedelta:
    await unswept(runtime, fresh)
    await runtime.database.fetch(
        "INSERT INTO waiting (id, run_id, listener_id, quantity, least, rank, state, created_at)"
        " SELECT 'wait_' || n, 'run_one', n, 2, 1, n, 'waiting', now()"
        " FROM generate_series(1, 3) AS n"
    )
    return timedelta(seconds=90)


async def time_passes(_: Runtime, __: Fresh) -> timedelta:
    return timedelta(days=366)


def clearing(account: str, age: str) -> Told:
    return {f"takings_clearing_open {account} {one} eur": float(one == age) for one in AGES}


TROUBLES: list[tuple[Callable[[Runtime, Fresh], Awaitable[timedelta]], Told]] = [
    (unheard, {"takings_events received": 1, "takings_inbox_lag_seconds": 90}),
    (failing, {"takings_events failed": 1, "takings_inbox_lag_seconds": 90}),
    (hopeless, {"takings_events parked": 1}),
    (unanswered, {"takings_asks_unanswered": 1, "takings_asks_oldest_seconds": 90}),
    (unmatured, {"takings_cash_overdue_seconds": 90}),
    (out_of_balance, {"takings_imbalance_minor eur": 7}),
    (in_debt, {"takings_hosts_in_debt eur": 2, "takings_host_debts_minor eur": 1000}),
    (uncleared, clearing(accounts.CHARGES, "<3d")),
    (not_understood, clearing(accounts.SUSPENSE, "older")),
    (unswept, {"takings_holds held": 1, "takings_holds_overdue_seconds": 90}),
    (ending, {"takings_holds expiring": 1, "takings_holds_overdue_seconds": 90}),
    (
        not_returned,
        {"takings_ticket_refunds": 1, "takings_ticket_refunds_oldest_seconds": 90},
    ),
    (in_line, {"takings_holds held": 1, "takings_waiting": 6}),
    (time_passes, {"takings_months_ahead": 0}),
]


@pytest.mark.parametrize(
    ("trouble", "expected"), TROUBLES, ids=[trouble.__name__ for trouble, _ in TROUBLES]
)
async def test_a_trouble_moves_its_gauge_and_no_other(
    trouble: Callable[[Runtime, Fresh], Awaitable[timedelta]],
    expected: Told,
    runtime: Runtime,
    fresh: Fresh,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = runtime.now()
    monkeypatch.setattr(Runtime, "now", lambda _: start)
    first = entry("paid_out", accounts.of_host("ada", "held"), -1, start)
    await runtime.database.run(journal.post, [first])  # there is a euro account, and all is well
    before = await told(runtime.database, start)
    after = await trouble(runtime, fresh)
    assert moved(before, await told(runtime.database, start + after)) == expected


async def test_every_gauge_is_told_and_all_is_quiet_after_a_tip(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    await stories.paid_tip(runtime, box, 500)
    now = runtime.now()
    found = await told(runtime.database, now)
    assert {name.split()[0] for name in found if name.split()[0] in GAUGES} == set(GAUGES)
    loud = {"takings_up": 1, "takings_months_ahead": 3}
    for name, value in found.items():
        kind = name.split()[0]
        if kind in GAUGES and not kind.endswith("_info"):
            assert kind in loud or value < 60, name
            assert value == loud.get(kind, value), name


async def test_what_could_be_released_and_is_not_is_counted(runtime: Runtime, box: Sandbox) -> None:
    await stories.room(runtime.database, runtime.now())
    await stories.many_paid(runtime, box, 3)
    await stories.spaces.move(runtime.database, "spc_one", "ended", now=runtime.now())
    month = stories.later(days=31)
    assert (await told(runtime.database, month))["takings_releases_due"] == 0  # not at Stripe yet
    await cash.mature(runtime.database, now=month)
    assert (await told(runtime.database, month + metrics.FRESH))["takings_releases_due"] == 3
    await stories.hear(runtime, box, now=month)
    assert (await told(runtime.database, month + 2 * metrics.FRESH))["takings_releases_due"] == 0


async def test_the_last_look_at_stripes_cash_grows_old(runtime: Runtime, box: Sandbox) -> None:
    await stories.hear(runtime, box, now=(now := runtime.now()))
    found = await told(runtime.database, now + timedelta(hours=2))
    assert found["takings_cash_swept_seconds"] == 7200


async def test_an_entry_that_nobody_seals_shows(runtime: Runtime) -> None:
    now = runtime.now()
    await runtime.database.run(journal.post, [entry("one", accounts.CHARGES, 1, now)])
    found = await told(runtime.database, now + timedelta(minutes=10))
    assert found["takings_seals"] == 0
    assert found["takings_unsealed_seconds"] == pytest.approx(600, abs=30)
    await seals.seal(runtime.database, now=runtime.now())
    found = await told(runtime.database, now + timedelta(minutes=20))
    assert (found["takings_seals"], found["takings_unsealed_seconds"]) == (1, 0)


async def test_within_a_minute_only_indexes_are_read(runtime: Runtime) -> None:
    now = runtime.now()
    await told(runtime.database, now)
    with books.counted(runtime.database) as sent:
        found = await told(runtime.database, now + timedelta(seconds=59))
    assert (len(sent), found["takings_figures_age_seconds"]) == (1, 59)
    with books.counted(runtime.database) as sent:
        found = await told(runtime.database, now + timedelta(seconds=60))
    assert len(sent) > 1
    assert found["takings_figures_age_seconds"] == 0


async def test_no_scrape_reads_a_table_that_grows_from_end_to_end(fresh: Fresh) -> None:
    async with books.connected(fresh.app) as connection:
        await connection.execute("SET enable_seqscan = off")  # what has no index is read anyway
        rows = await connection.fetch(f"EXPLAIN {QUICK.replace('$1', 'now()')}")
    plan = "\n".join(row[0] for row in rows)
    for table in ("events", "asks", "cash", "holds", "ticket_refunds", "waiting"):
        assert f"on {table}" in plan
        assert f"Seq Scan on {table}" not in plan


async def test_slow_figures_hold_up_no_scrape(
    runtime: Runtime, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "PATIENCE_S", 0.2)
    now = runtime.now()
    async with books.connected(fresh.owner) as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("LOCK TABLE balances")
        found = await told(runtime.database, now)
        assert "takings_inbox_lag_seconds" in found
        assert "takings_releases_due" not in found
        await transaction.rollback()
    assert "takings_releases_due" in await told(runtime.database, now)


async def test_without_the_database_the_process_still_tells_of_itself() -> None:
    now = stories.later()
    async with Database("postgresql://nobody@127.0.0.1:1/nothing") as away:
        metrics.REQUESTS.seen("tips.create", 503, 0.25)
        found = await told(away, now)
    assert found["takings_up"] == 0
    assert found["takings_http_requests_total tips.create 503"] >= 1
    assert "takings_inbox_lag_seconds" not in found


def test_an_answer_is_counted_by_operation_and_status_and_timed() -> None:
    requests = metrics.Requests()
    for status in (201, 201, 402):
        requests.seen("tips.create", status, 0.02)
    found = {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in requests.registry.collect()
        for sample in family.samples
    }
    assert found["takings_http_requests_total tips.create 201"] == 2
    assert found["takings_http_requests_total tips.create 402"] == 1
    assert found["takings_http_request_duration_seconds_count tips.create"] == 3
    assert found["takings_http_request_duration_seconds_bucket tips.create 0.025"] == 3
