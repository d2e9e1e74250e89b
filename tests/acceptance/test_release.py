"""Release: when the rules say so and Stripe has the money, once, and never what was taken back."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

import migrations
from api.runtime import Runtime
from api.settlement import SETTLEMENT
from sandbox.control import Sandbox
from takings.database import Database
from takings.ledger import journal
from takings.ledger.entries import Entry
from takings.money import Money
from takings.payments import cash, objects, refunds, releases, sweeps, webhooks
from takings.policies import policies
from takings.policies.presets import PRESETS
from takings.spaces import spaces
from tests import authorised, box_office, stories
from tests.conftest import Fresh

A_WEEK = replace(PRESETS[stories.CLUBHOUSE], name="a-week", release_days=7)


async def release(runtime: Runtime, now: datetime, *, batch: int = 500) -> int:
    """How many payments were released; it comes to an end, or the test fails."""
    async with asyncio.timeout(10):
        return await releases.release(runtime.database, now=now, batch=batch)


async def available(database: Database) -> dict[str, int]:
    """What each host may take, in euro cents."""
    return {row.host: row.minor for row in await database.fetch(AVAILABLE)}


AVAILABLE = """
SELECT split_part(a.name, ':', 3) AS host, -sum(b.minor)::bigint AS minor
  FROM accounts a JOIN balances b ON b.account_id = a.id
 WHERE a.name LIKE 'liabilities:host:%:available' GROUP BY 1 HAVING sum(b.minor) <> 0
"""


async def test_money_is_released_when_the_policys_days_have_passed_and_not_a_second_before(
    runtime: Runtime, box: Sandbox
) -> None:
    await policies.publish(runtime.database, A_WEEK, now=runtime.now())
    await stories.room(runtime.database, runtime.now(), policy="a-week")
    await stories.paid_tip(runtime, box, 500)
    ended = runtime.now()
    await spaces.move(runtime.database, "spc_one", "ended", now=ended)
    await stories.hear(runtime, box, now=ended + timedelta(days=6))  # Stripe has it by then
    due = ended + timedelta(days=7)
    assert await release(runtime, due - timedelta(seconds=1)) == 0
    assert await available(runtime.database) == {}
    assert await release(runtime, due) == 1
    assert await available(runtime.database) == {"host_ada": 300, "host_bob": 200}
    assert await release(runtime, due) == 0
    assert await stories.guilty(runtime.database) == {}


async def test_two_policies_in_one_room_keep_what_was_paid_each_for_its_own_days(
    runtime: Runtime, box: Sandbox
) -> None:
    await policies.publish(runtime.database, A_WEEK, now=runtime.now())
    await stories.room(runtime.database, runtime.now())
    await box_office.run(runtime.database, runtime.now(), policy="a-week")
    ticket = await box_office.bought(runtime, box, "zoe")
    tip = await stories.paid_tip(runtime, box, 500)
    ended = runtime.now()
    await spaces.move(runtime.database, "spc_one", "ended", now=ended)
    await stories.hear(runtime, box, now=ended + timedelta(days=6))
    told = await stories.told(runtime.database)
    assert ticket.payment is not None
    assert f"payment:{tip.payment.id}:released" in told
    assert f"payment:{ticket.payment.id}:released" not in told
    assert await release(runtime, ended + timedelta(days=7)) == 1
    assert await stories.guilty(runtime.database) == {}


async def test_payments_of_an_older_schema_learn_their_space_and_their_days(
    runtime: Runtime, box: Sandbox, fresh: Fresh
) -> None:
    await policies.publish(runtime.database, A_WEEK, now=runtime.now())
    await stories.room(runtime.database, runtime.now(), policy="a-week")
    await stories.room(runtime.database, runtime.now(), space="spc_two")
    await stories.paid_tip(runtime, box, 500)
    await stories.tip(runtime, 500, space="spc_two")
    await authorised.opened(runtime, box, name="tab_empty")
    before = await runtime.database.fetch(KEPT)
    assert sorted((row.space_id, row.release_days) for row in before) == [
        *[("spc_one", 7)] * 2,
        ("spc_two", 0),
    ]
    await asyncio.to_thread(migrations.downgrade, fresh.owner, "takings_app", "0005")
    await asyncio.to_thread(migrations.upgrade, fresh.owner, "takings_app")
    assert await runtime.database.fetch(KEPT) == before


KEPT = "SELECT id, space_id, release_days FROM payments ORDER BY id"


async def test_money_is_not_released_before_stripe_has_made_it_available(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await stories.tip(runtime, 500)
    box.pay(sent.payment.intent_id)
    await spaces.move(runtime.database, "spc_one", "ended", now=runtime.now())
    much_later = stories.later(days=31)
    notices = [("account", objects.notice(event)) for event in box.events]
    await webhooks.receive(runtime.database, notices, now=runtime.now())
    await webhooks.process(runtime.database, runtime.stripe, SETTLEMENT, now=runtime.now())
    assert await release(runtime, much_later) == 0  # paid, but no cash is known
    await sweeps.new_cash(runtime.database, runtime.stripe, SETTLEMENT, now=runtime.now())
    await cash.mature(runtime.database, now=runtime.now())
    assert await release(runtime, much_later) == 0  # the cash is known, but pending
    await cash.mature(runtime.database, now=much_later)
    assert await release(runtime, much_later) == 1
    assert await stories.guilty(runtime.database) == {}


MANY = 6


async def rooms_with_money(runtime: Runtime, box: Sandbox) -> list[str]:
    """Payments that are due for release, beside one of the same hosts that is not; the due ones."""
    await stories.room(runtime.database, runtime.now())
    await stories.room(runtime.database, runtime.now(), space="spc_two")
    due = await stories.many_paid(runtime, box, MANY)
    await stories.paid_tip(runtime, box, 50_000, space="spc_two")
    await spaces.move(runtime.database, "spc_one", "ended", now=runtime.now())
    await cash.mature(runtime.database, now=stories.later(days=31))
    return due


async def test_twenty_releases_at_once_release_each_payment_once(
    runtime: Runtime, box: Sandbox
) -> None:
    due = await rooms_with_money(runtime, box)
    before = await stories.told(runtime.database)
    now = stories.later(days=31)
    done = await asyncio.gather(*(release(runtime, now, batch=2) for _ in range(20)))
    assert sum(done) == MANY
    told = await stories.told(runtime.database)
    entries = [
        f"""\
payment:{payment}:released
  liabilities:host:host_ada:held +300 eur
  liabilities:host:host_ada:available -300 eur
  liabilities:host:host_bob:held +200 eur
  liabilities:host:host_bob:available -200 eur"""
        for payment in due
    ]
    assert len(told) == len(before) + sum(len("\n" + entry) for entry in entries)
    assert all(entry in told for entry in entries)
    assert await stories.guilty(runtime.database) == {}


async def test_control_without_the_walls_payments_are_released_again_and_again(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rooms_with_money(runtime, box)
    monkeypatch.setattr(
        releases, "DUE", releases.DUE.replace("FOR NO KEY UPDATE OF p SKIP LOCKED", "")
    )
    monkeypatch.setattr(releases, "HELD", releases.HELD.replace("FOR NO KEY UPDATE OF a", ""))
    post, waiting = journal.post, asyncio.Barrier(5)

    async def keyless(session: Any, entries: list[Entry], **named: Any) -> Any:
        if entries:  # all of them have read what is held before one of them empties it
            await waiting.wait()
        for entry in entries:
            object.__setattr__(entry, "key", f"{entry.key}:{entry.id}")
        return await post(session, entries, **named)

    monkeypatch.setattr(journal, "post", keyless)
    now = stories.later(days=31)
    await asyncio.gather(*(release(runtime, now) for _ in range(waiting.parties)))
    assert await available(runtime.database) == {
        "host_ada": 5 * MANY * 300,
        "host_bob": 5 * MANY * 200,
    }


@pytest.mark.parametrize(
    ("refunded", "failed", "drawer"),
    [
        ("before", "before", "held"),
        ("before", "after", "available"),
        ("after", "after", "available"),
    ],
)
async def test_what_comes_back_of_a_failed_refund_goes_where_the_lines_money_is_now(
    runtime: Runtime, box: Sandbox, refunded: str, failed: str, drawer: str
) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await stories.paid_tip(runtime, box, 500)
    for when in ("before", "after"):
        if when == "after":
            await stories.end(runtime, box)
        if refunded == when:
            done = await refunds.refund(
                runtime.database,
                runtime.stripe,
                "ref_1",
                sent.payment.id,
                Money(250, "eur"),
                now=runtime.now(),
            )
        if failed == when:
            box.fail_refund(done.stripe_id or "")
            await stories.hear(runtime, box)
    assert (
        f"""\
refund:ref_1:failed
  liabilities:host:host_ada:{drawer} -150 eur
  liabilities:host:host_bob:{drawer} -100 eur
  clearing:refunds +250 eur"""
        in await stories.told(runtime.database)
    )
    await stories.hear(runtime, box, now=stories.later(days=31))
    assert await available(runtime.database) == {"host_ada": 300, "host_bob": 200}
    assert await stories.guilty(runtime.database) == {}


@pytest.mark.parametrize("what", ["the charge fails afterwards", "the bank disputes it"])
async def test_what_the_bank_has_taken_back_is_not_released(
    runtime: Runtime, box: Sandbox, what: str
) -> None:
    await stories.room(runtime.database, runtime.now())
    taken = await stories.tip(runtime, 500)
    if what == "the charge fails afterwards":
        box.pay(taken.payment.intent_id, payment_method="pm_sandbox_failsAfterSuccess")
    else:
        box.pay(taken.payment.intent_id)
    await stories.hear(runtime, box)
    kept = await stories.paid_tip(runtime, box, 700)
    if what == "the charge fails afterwards":
        box.advance(25 * 3600)
    else:
        box.dispute(payment_intent=taken.payment.intent_id)
    await stories.end(runtime, box)
    categories = await runtime.database.fetch("SELECT category FROM cash ORDER BY category")
    assert [row.category for row in categories if row.category != "charge"] == [
        "charge_failure" if what == "the charge fails afterwards" else "dispute"
    ]
    told = await stories.told(runtime.database)
    assert f"payment:{kept.payment.id}:released" in told
    assert f"payment:{taken.payment.id}:released" not in told
    assert await available(runtime.database) == {"host_ada": 420, "host_bob": 280}
