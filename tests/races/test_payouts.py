"""Whoever meets a payout on a host's money, nobody is paid what is not there, nor twice."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.database import Database, fetch
from takings.errors import TakingsError
from takings.money import Money
from takings.payments import refunds, releases
from takings.payouts import batches, funds, payouts, plans, transfers
from takings.spaces import spaces
from tests import crowd, paying, stories
from tests.conftest import PROVE, Fresh

ROUNDS = 40 if PROVE else 4


async def asked(runtime: Runtime, name: str, **named: str) -> str:
    """The state of a payout that is asked for, or the code of why there is none."""
    try:
        return (await paying.pay(runtime, name, **named)).state
    except TakingsError as error:
        return error.code


async def test_of_many_who_ask_at_once_one_is_paid(runtime: Runtime, box: Sandbox) -> None:
    account = None
    for number in range(ROUNDS):
        await paying.evening(runtime, box, 500)
        account = account or await paying.payee(runtime, box)
        names = [f"po_{number}_{n}" for n in range(8)]
        answers = Counter(await asyncio.gather(*(asked(runtime, name) for name in names)))
        assert answers["sent"] == 1
        assert set(answers) <= {"sent", "payout_under_way", "nothing_to_pay"}
        assert box.balance("eur", account or "")["available"] == 500 * (number + 1)
    await paying.hear(runtime, box)
    assert await stories.guilty(runtime.database) == {}


async def test_the_same_payout_that_many_ask_for_at_once_is_one(
    runtime: Runtime, box: Sandbox
) -> None:
    await paying.evening(runtime, box, 500)
    await paying.payee(runtime, box)
    answers = await asyncio.gather(*(asked(runtime, "po_1") for _ in range(20)))
    assert set(answers) <= {"sent", "sending"}
    assert len(box.calls("POST", "/v1/transfers")) == 1
    assert await stories.guilty(runtime.database) == {}


async def test_control_without_the_lock_and_the_law_the_same_money_is_paid_twice(
    runtime: Runtime, box: Sandbox, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    await paying.evening(runtime, box, 500)
    await paying.evening(runtime, box, 500, shares=[("host_bob", 10_000)])  # which pays for it
    await paying.payee(runtime, box)
    await runtime.database.run(plans.get, "host_ada", runtime.now())  # else they meet there
    async with Database(fresh.owner) as owner:
        await owner.run(fetch, "DROP INDEX payouts_under_way_key")

    async def unlocked(session: AsyncSession, host_ids: Sequence[str]) -> list[int]:
        names = [funds.available(host) for host in host_ids]
        sql = "SELECT id FROM accounts WHERE name = ANY($1::text[])"
        return [row.id for row in await fetch(session, sql, names)]

    seen = asyncio.Barrier(2)
    whole = funds.of

    async def both_look_first(*args: object) -> object:
        found = await whole(*args)  # type: ignore[arg-type]
        await seen.wait()
        return found

    monkeypatch.setattr(funds, "lock", unlocked)
    monkeypatch.setattr(funds, "of", both_look_first)
    assert await asyncio.gather(*(asked(runtime, f"po_{n}") for n in range(2))) == ["sent"] * 2
    assert await paying.available(runtime.database) == -500
    assert "payouts in a row" in await stories.guilty(runtime.database)


async def test_refunds_that_meet_a_payout_are_in_it_or_in_the_next_one(
    runtime: Runtime, box: Sandbox
) -> None:
    database, door = runtime.database, runtime.stripe
    payments = await paying.evening(runtime, box, *([500] * 2 * ROUNDS))
    await paying.payee(runtime, box)

    async def refunded(payment: str) -> None:
        await refunds.refund(
            database, door, f"ref_{payment}", payment, Money(120, "eur"), now=runtime.now()
        )

    for number in range(ROUNDS):
        await paying.evening(runtime, box, 300)
        some = payments[2 * number : 2 * number + 2]
        await asyncio.gather(
            asked(runtime, f"po_{number}"), *(refunded(payment) for payment in some)
        )
    await asked(runtime, "po_last")
    rows = await database.fetch("SELECT id FROM payouts WHERE state = 'sent'")
    lines = [line for row in rows for line in await paying.paid(runtime, row.id)]
    counted = Counter(kind for kind, _ in lines)
    debt = min(0, await paying.available(database))
    earned = sum(minor for _, minor in lines)
    assert earned + debt <= 500 * 2 * ROUNDS + 300 * ROUNDS - 120 * 2 * ROUNDS
    assert counted["earning"] <= 3 * ROUNDS
    await paying.hear(runtime, box)
    assert await stories.guilty(database) == {}


async def test_a_batch_meets_releases_and_requests_and_pays_everybody_all_they_earned(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, door, now = runtime.database, runtime.stripe, runtime.now()
    monkeypatch.setattr(batches, "STEP", 5)
    hosts = await crowd.earned(runtime, box, 40)
    shares = [(host, 250) for host in hosts]
    await stories.room(database, now, shares=shares, space="spc_late")
    sent = [await stories.tip(runtime, 8000, space="spc_late") for _ in range(5)]
    for one in sent:
        box.pay(one.payment.intent_id, payment_method=paying.AT_ONCE)
    await paying.hear(runtime, box)
    await spaces.move(database, "spc_late", "ended", now=now)
    await batches.of_today(database, now=now)
    await asyncio.gather(
        batches.write(database, {}, now=now),
        releases.release(database, now=now, batch=1),
        *(asked(runtime, f"po_{host}", host=host) for host in hosts[::4]),
        transfers.send(database, door, now=now),
    )
    await transfers.send(database, door, now=now)
    await batches.start(database, "pob_rest", actor="key_ada", now=now)
    await batches.write(database, {}, now=now)
    await transfers.send(database, door, now=now)
    assert await crowd.sums(runtime, box) == [crowd.EACH + 5 * 200] * 40
    await paying.hear(runtime, box)
    assert await stories.guilty(database) == {}


async def test_an_approval_and_a_refusal_at_once_are_one_of_them(
    runtime: Runtime, box: Sandbox
) -> None:
    database, door, now = runtime.database, runtime.stripe, runtime.now()
    await paying.evening(runtime, box, 500)
    await paying.payee(runtime, box)
    for number in range(ROUNDS):
        name = f"po_{number}"
        assert (await paying.pay(runtime, name, approval={"eur": 1})).state == "waiting"
        await asyncio.gather(
            payouts.approve(database, door, name, actor="key_bob", now=now),
            payouts.refuse(database, name, why="no", now=now),
            return_exceptions=True,
        )
        found = await database.run(payouts.get, name)
        assert found.state in ("sent", "refused")
        if found.state == "sent":
            await paying.evening(runtime, box, 500)
    await paying.hear(runtime, box)
    assert await stories.guilty(database) == {}
