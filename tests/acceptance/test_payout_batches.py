"""A batch pays everybody who is due, once, however often it is killed and whoever carries it on."""

import asyncio
import itertools
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.database import Database, DatabaseAway, fetch
from takings.ledger import journal
from takings.money import Money
from takings.payments import asks, refunds
from takings.payouts import batches, funds, payouts, plans, transfers
from tests import crowd, paying, stories
from tests.conftest import Fresh

MANY = 40


@pytest.fixture(autouse=True)
def _short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "STEP", 7)


async def test_a_day_pays_everybody_who_is_due_and_says_how_far_it_is(
    runtime: Runtime, box: Sandbox
) -> None:
    database, now = runtime.database, runtime.now()
    await crowd.earned(runtime, box, 200)
    assert await batches.of_today(database, now=now) == 1
    assert await batches.of_today(database, now=now) == 0
    name = f"pob_{now:%Y-%m-%d}"
    begun = await database.run(batches.progress, name)
    assert (begun.hosts, begun.batch.looked, begun.batch.written_at) == (200, 0, None)
    assert await batches.write(database, {}, now=now) == 200
    written = await database.run(batches.progress, name)
    assert (written.batch.looked, written.batch.written) == (200, 200)
    assert written.batch.written_at == now
    assert (written.payouts, written.money["sending"]) == (
        {"sending": 200},
        (Money(200 * crowd.EACH, "eur"),),
    )
    assert await transfers.send(database, runtime.stripe, now=now) == 200
    assert (await database.run(batches.progress, name)).payouts == {"sent": 200}
    assert await crowd.sums(runtime, box) == crowd.once(200)
    assert len(box.calls("POST", "/v1/transfers")) == 200
    await paying.hear(runtime, box)
    assert await stories.guilty(database) == {}
    assert await batches.write(database, {}, now=now) == 0


INSIDE: list[tuple[Any, str]] = [
    (plans, "start"),
    (funds, "lock"),
    (funds, "due"),
    (payouts, "write"),
    (journal, "post"),
    (transfers, "write"),
    (asks, "write_many"),
    (plans, "advance"),
]


class Killed(Exception):
    """The process died here."""


def kill(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, *, after: bool) -> None:
    """The third time that this is called the process dies, before or after it."""
    whole: Callable[..., Any] = getattr(module, name)
    calls = 0

    async def dying(*args: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        done = await whole(*args, **named) if after or calls != 3 else None
        if calls == 3:
            raise Killed
        return done

    monkeypatch.setattr(module, name, dying)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("module", "name"), INSIDE, ids=[name for _, name in INSIDE])
async def test_a_batch_that_was_killed_anywhere_goes_on_where_it_was(
    runtime: Runtime,
    box: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
    after: bool,
) -> None:
    database, now = runtime.database, runtime.now()
    await crowd.earned(runtime, box, MANY)
    await batches.of_today(database, now=now)
    with monkeypatch.context() as dying:
        kill(dying, module, name, after=after)
        with pytest.raises(Killed):
            await batches.write(database, {}, now=now)
    assert await crowd.states(runtime) == {"sending": 14}
    assert await batches.write(database, {}, now=now) == MANY - 14
    await transfers.send(database, runtime.stripe, now=now)
    assert await crowd.sums(runtime, box) == crowd.once(MANY)
    await paying.hear(runtime, box)
    assert await stories.guilty(database) == {}


async def test_control_what_advances_before_it_has_paid_leaves_hosts_out(
    runtime: Runtime, box: Sandbox
) -> None:
    database, now = runtime.database, runtime.now()
    await crowd.earned(runtime, box, MANY)
    await batches.of_today(database, now=now)
    advance = "UPDATE payout_batches SET upto = 'host_0020', looked = 21"
    await database.fetch(advance)  # in a transaction of its own, and then it dies
    await batches.write(database, {}, now=now)
    assert await crowd.states(runtime) == {"sending": MANY - 21}


def away(whole: Callable[..., Any]) -> Callable[..., Any]:
    """From the third commit on the database is away: what Stripe answered is lost."""
    calls = itertools.count(1)

    async def dying(*args: Any) -> None:
        if next(calls) > 2:
            raise DatabaseAway
        await whole(*args)

    return dying


@pytest.mark.parametrize("fault", ["timeout_with_effect", "timeout_without_effect"])
async def test_what_died_between_stripe_and_the_books_is_sent_once(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    database, now = runtime.database, runtime.now()
    await crowd.earned(runtime, box, MANY)
    await batches.of_today(database, now=now)
    await batches.write(database, {}, now=now)
    box.faults.call(fault, "/v1/transfers$", times=9)
    with monkeypatch.context() as dying:
        dying.setattr(transfers, "book", away(transfers.book))
        sent = await transfers.send(database, runtime.stripe, now=now)
    assert 0 < sent < MANY
    later = now + 2 * asks.LEASE
    assert sent + await transfers.send(database, runtime.stripe, now=later) == MANY
    assert await crowd.sums(runtime, box) == crowd.once(MANY)
    await paying.hear(runtime, box)
    assert await stories.guilty(database) == {}


async def test_many_workers_at_one_batch_pay_everybody_once(runtime: Runtime, box: Sandbox) -> None:
    database, door, now = runtime.database, runtime.stripe, runtime.now()
    await crowd.earned(runtime, box, 100)
    begun = await asyncio.gather(*(batches.of_today(database, now=now) for _ in range(5)))
    assert sum(begun) == 1
    await batches.start(database, "pob_hand", actor="key_ada", now=now)
    made = await asyncio.gather(*(batches.write(database, {}, now=now) for _ in range(5)))
    assert sum(made) == 100
    sent = await asyncio.gather(*(transfers.send(database, door, now=now) for _ in range(5)))
    assert sum(sent) == 100
    assert await crowd.sums(runtime, box) == crowd.once(100)
    assert len(box.calls("POST", "/v1/transfers")) == 100
    await paying.hear(runtime, box)
    assert await stories.guilty(database) == {}


async def test_who_is_not_due_is_left_out_and_nobody_else(runtime: Runtime, box: Sandbox) -> None:
    database, door, now = runtime.database, runtime.stripe, runtime.now()
    hosts = await crowd.earned(runtime, box, 10)
    paused, poor, asked, weekly, gone, owing, waiting, *due = hosts
    await plans.pause(database, paused, why="a review", now=now)
    low = {"eur": crowd.EACH + 1}
    await plans.edit(database, poor, schedule="daily", minimums=low, now=now)
    await plans.edit(database, asked, schedule="manual", now=now)
    await plans.edit(database, weekly, schedule="weekly", anchor=now.isoweekday(), now=now)
    await crowd.restricted(runtime, box, gone)
    [payment] = await paying.evening(runtime, box, 300, shares=[(owing, 10_000)])
    await paying.pay(runtime, "po_owing", host=owing)
    await refunds.refund(database, door, "ref_1", payment, now=now)
    await paying.pay(runtime, "po_waiting", host=waiting, approval={"eur": 1})
    tomorrow = now + timedelta(days=1)
    await batches.of_today(database, now=tomorrow)
    assert await batches.write(database, {}, now=tomorrow) == len(due)
    rows = await database.fetch("SELECT host_id FROM payouts WHERE batch_id IS NOT NULL")
    assert sorted(row.host_id for row in rows) == due
    await batches.start(database, "pob_hand", actor="key_ada", now=tomorrow)
    assert await batches.write(database, {"eur": 1}, now=tomorrow) == 1  # by hand: the weekly too
    by_hand = await database.run(batches.progress, "pob_hand")
    assert by_hand.payouts == {"waiting": 1}
    with pytest.raises(batches.BatchDiffers):
        await batches.start(database, "pob_hand", actor="key_bob", now=tomorrow)


async def test_a_refused_payout_is_tried_anew_by_the_next_batch(
    runtime: Runtime, box: Sandbox
) -> None:
    database, door, now = runtime.database, runtime.stripe, runtime.now()
    await crowd.earned(runtime, box, 10)
    await batches.of_today(database, now=now)
    await batches.write(database, {}, now=now)
    box.faults.call("balance_insufficient", "/v1/transfers$", times=4)
    assert await transfers.send(database, door, now=now) == 10
    assert await crowd.states(runtime) == {"refused": 4, "sent": 6}
    tomorrow = now + timedelta(days=1)
    await batches.of_today(database, now=tomorrow)
    assert await batches.write(database, {}, now=tomorrow) == 4
    await transfers.send(database, door, now=tomorrow)
    assert await crowd.sums(runtime, box) == crowd.once(10)
    await paying.hear(runtime, box)
    assert await stories.guilty(database) == {}


async def test_a_weekly_host_is_paid_on_their_day_or_a_week_later(
    runtime: Runtime, box: Sandbox
) -> None:
    database, now = runtime.database, runtime.now()
    await paying.evening(runtime, box, 500)
    await paying.payee(runtime, box)
    anchor = now.isoweekday()
    await plans.edit(
        database, "host_ada", schedule="weekly", anchor=anchor, minimums={"eur": 501}, now=now
    )
    made = []
    for day in range(1, 15):
        then = now + timedelta(days=day)
        await batches.of_today(database, now=then)
        made.append(await batches.write(database, {}, now=then))
        if day == 8:  # she was below her minimum on her day
            await plans.edit(
                database, "host_ada", schedule="weekly", anchor=anchor, minimums={}, now=then
            )
    assert made == [0] * 13 + [1]


async def test_a_plan_begins_with_the_policy_of_the_first_space(
    runtime: Runtime, box: Sandbox
) -> None:
    database, now = runtime.database, runtime.now()
    await paying.world(runtime, box, schedule="monthly", payout_minimum=700)
    await paying.evening(runtime, box, 500, policy=paying.WORLD)
    await paying.evening(runtime, box, 100)  # under another, later
    plan = await database.run(plans.get, "host_ada", now)
    assert (plan.version, plan.schedule, plan.anchor) == (1, "monthly", 1)
    assert plan.minimums == dict.fromkeys(paying.ELSEWHERE, 700)
    assert plan.next_on is not None
    assert plan.next_on.day == 1
    await paying.payee(runtime, box)
    first = crowd.at(f"{plan.next_on}")
    await batches.of_today(database, now=first)
    assert await batches.write(database, {}, now=first) == 0  # 6.00 of 7.00


async def test_the_day_is_that_of_the_books_zone(runtime: Runtime, fresh: Fresh) -> None:
    async with Database(fresh.owner) as owner:
        await owner.run(fetch, "UPDATE books SET zone = 'Pacific/Auckland'")
    await batches.of_today(runtime.database, now=crowd.at("2026-11-20"))
    [row] = await runtime.database.fetch("SELECT id, due_on FROM payout_batches")
    assert (row.id, row.due_on) == ("pob_2026-11-21", date(2026, 11, 21))


@pytest.mark.parametrize(
    ("schedule", "anchor", "day", "following"),
    [
        ("daily", None, "2026-02-28", "2026-03-01"),
        ("weekly", 5, "2026-11-20", "2026-11-27"),  # a Friday
        ("weekly", 6, "2026-11-20", "2026-11-21"),
        ("weekly", 4, "2026-11-20", "2026-11-26"),
        ("monthly", 28, "2024-02-28", "2024-03-28"),
        ("monthly", 1, "2026-12-31", "2027-01-01"),
    ],
)
def test_the_following_day_of_a_schedule(
    schedule: str, anchor: int | None, day: str, following: str
) -> None:
    found = plans.following(schedule, anchor, date.fromisoformat(day))
    assert found == date.fromisoformat(following)
