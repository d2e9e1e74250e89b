"""Refunds never exceed: many at once return exactly what was paid, and every share is exact."""

import asyncio
import random
from collections import Counter

import httpx
import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.database import Database, fetch
from takings.errors import TakingsError
from takings.money import Money
from takings.payments import refunds, returns
from tests import stories, together
from tests.conftest import PROVE, Fresh

PAYMENTS = 200 if PROVE else 20


async def refund(runtime: Runtime, number: int, payment: str, minor: int | None) -> str:
    """Ask for one refund; the code of what came of it."""
    amount = None if minor is None else Money(minor, "eur")
    try:
        done = await refunds.refund(
            runtime.database,
            runtime.stripe,
            f"ref_{payment}_{number}",
            payment,
            amount,
            now=runtime.now(),
        )
    except TakingsError as error:
        return error.code
    return done.state


async def test_each_payment_refunded_five_times_at_once_returns_exactly_what_was_paid(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    payments = await stories.many_paid(runtime, box, PAYMENTS)
    dice = random.Random(5)  # noqa: S311
    for payment in payments:
        wishes = [dice.choice([None, 200, 167, 100, 499]) for _ in range(5)]
        answers = await asyncio.gather(
            *(refund(runtime, n, payment, minor) for n, minor in enumerate(wishes))
        )
        assert set(answers) <= {"booked", "refund_too_large", "nothing_to_refund"}
        assert "booked" in answers
    for payment in payments:  # and whatever is left, all of it
        assert await refund(runtime, 9, payment, None) in ("booked", "nothing_to_refund")
    await stories.hear(runtime, box)
    rows = await runtime.database.run(fetch, RETURNED)
    assert {row.minor for row in rows} == {500}
    assert await stories.guilty(runtime.database) == {}
    assert await stories.owed(runtime.database, "eur") == {"host_ada": 0, "host_bob": 0}


RETURNED = """
SELECT payment_id, sum(minor)::bigint AS minor FROM refunds WHERE state = 'booked'
 GROUP BY payment_id
"""


async def test_control_without_the_lock_and_the_law_a_payment_is_returned_twice(
    runtime: Runtime, box: Sandbox, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stories.room(runtime.database, runtime.now())
    (payment,) = await stories.many_paid(runtime, box, 1)
    async with Database(fresh.owner) as owner:
        law = "lines_returns_no_more_than_paid"
        await owner.run(fetch, f"ALTER TABLE lines DROP CONSTRAINT {law}")
    unlocked = returns.PAYMENT.replace("FOR NO KEY UPDATE", "")
    monkeypatch.setattr(returns, "PAYMENT", unlocked)
    open_ended = returns.LEFT.replace("- l.returned - l.refunding", "")
    monkeypatch.setattr(returns, "LEFT", open_ended.replace("FOR NO KEY UPDATE OF l", ""))
    await asyncio.gather(*(refund(runtime, n, payment, 500) for n in range(5)))
    asked = await runtime.database.run(fetch, "SELECT count(*) AS n FROM refunds")
    assert asked[0].n > 1


async def test_a_refund_that_fails_gives_everyone_back_exactly_their_part(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    (payment,) = await stories.many_paid(runtime, box, 1)
    before = await stories.owed(runtime.database, "eur")
    for number, minor in enumerate((101, 7, 33)):
        assert await refund(runtime, number, payment, minor) == "booked"
    rows = await runtime.database.run(fetch, "SELECT stripe_id FROM refunds ORDER BY id")
    for row in rows:
        box.fail_refund(row.stripe_id)
    await stories.hear(runtime, box)
    assert await stories.owed(runtime.database, "eur") == before
    assert await stories.guilty(runtime.database) == {}
    assert await refund(runtime, 9, payment, None) == "booked"  # and it can be tried again


async def test_a_refund_that_stripe_refuses_reserves_and_books_nothing(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    (payment,) = await stories.many_paid(runtime, box, 1)
    journal = await stories.told(runtime.database)
    intent = (await runtime.database.run(fetch, "SELECT intent_id FROM payments"))[0].intent_id
    elsewhere = {"payment_intent": intent, "amount": 500}
    await runtime.stripe.ask("refunds.create", elsewhere, "somebody else")
    assert await refund(runtime, 1, payment, 100) == "stripe_refused"
    assert await stories.told(runtime.database) == journal
    rows = await runtime.database.run(fetch, "SELECT refunding, returned FROM lines")
    assert [tuple(row) for row in rows] == [(0, 0)]
    await stories.hear(runtime, box)  # and the one that was made at Stripe is booked
    assert await stories.owed(runtime.database, "eur") == {"host_ada": 0, "host_bob": 0}
    assert await stories.guilty(runtime.database) == {}


async def test_a_refund_that_was_called_refused_is_booked_once_when_stripe_tells_of_it(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    (payment,) = await stories.many_paid(runtime, box, 1)
    box.faults.call("timeout_with_effect", "/v1/refunds$", times=3)
    assert await refund(runtime, 1, payment, 100) == "stripe_away"
    await runtime.database.run(returns.refuse, f"ref_{payment}_1", "lost", runtime.now())
    for _ in range(2):
        await stories.hear(runtime, box)
        assert await refund(runtime, 1, payment, 100) == "booked"
    rows = await runtime.database.run(fetch, "SELECT refunding, returned FROM lines")
    assert [tuple(row) for row in rows] == [(0, 100)]
    assert await stories.owed(runtime.database, "eur") == {"host_ada": 240, "host_bob": 160}
    assert await stories.guilty(runtime.database) == {}


async def test_a_refund_that_was_cancelled_at_stripe_gives_everyone_back_their_part(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    (payment,) = await stories.many_paid(runtime, box, 1)
    before = await stories.owed(runtime.database, "eur")
    assert await refund(runtime, 1, payment, 101) == "booked"
    [row] = await runtime.database.run(fetch, "SELECT stripe_id FROM refunds")
    box.stall_refund(row.stripe_id)
    async with httpx.AsyncClient(base_url=box.url, auth=("sk_test_takings", "")) as dashboard:
        (await dashboard.post(f"/v1/refunds/{row.stripe_id}/cancel")).raise_for_status()
    await stories.hear(runtime, box)
    assert await refund(runtime, 1, payment, 101) == "failed"
    assert await stories.owed(runtime.database, "eur") == before
    assert await stories.guilty(runtime.database) == {}


async def test_a_refund_after_release_comes_out_of_what_is_available(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    (payment,) = await stories.many_paid(runtime, box, 1)
    await stories.end(runtime, box)
    assert await refund(runtime, 1, payment, 250) == "booked"
    journal = await stories.told(runtime.database)
    assert "liabilities:host:host_ada:available +150 eur" in journal
    assert "liabilities:host:host_bob:available +100 eur" in journal
    await stories.hear(runtime, box)
    assert await stories.guilty(runtime.database) == {}


async def test_a_refund_made_at_stripe_that_many_hear_of_at_once_is_booked_once(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    (payment,) = await stories.many_paid(runtime, box, 1)
    intent = (await runtime.database.run(fetch, "SELECT intent_id FROM payments"))[0].intent_id
    asked = {"payment_intent": intent, "amount": 123}
    found = await runtime.stripe.ask("refunds.create", asked, "elsewhere")
    told = (runtime.database.run(returns.heard, found, payment, runtime.now()) for _ in range(10))
    assert set(await asyncio.gather(*told)) == {found["id"]}
    assert (await stories.told(runtime.database)).count(":booked") == 1
    await stories.hear(runtime, box)
    assert await stories.guilty(runtime.database) == {}


async def test_lines_that_many_refunds_name_at_once_return_no_more_than_they_have(
    runtime: Runtime, box: Sandbox
) -> None:
    await together.room(runtime)
    payment, lines = await together.paid(runtime, box, [500, 700, 1001])
    dice = random.Random(7)  # noqa: S311

    async def one(number: int) -> str:
        named = {line: dice.randint(1, 300) for line in dice.sample(lines, 2)}
        try:
            done = await refunds.refund(
                runtime.database,
                runtime.stripe,
                f"ref_{number}",
                payment,
                lines=named,
                now=runtime.now(),
            )
        except refunds.RefundTooLarge as error:
            return error.code
        return done.state

    answers = Counter(await asyncio.gather(*(one(number) for number in range(30))))
    assert set(answers) == {"booked", "refund_too_large"}
    assert await refund(runtime, 99, payment, None) in ("booked", "nothing_to_refund")
    await stories.hear(runtime, box)
    rows = await runtime.database.fetch("SELECT minor, returned, refunding FROM lines")
    assert all((row.returned, row.refunding) == (row.minor, 0) for row in rows)
    assert set((await stories.owed(runtime.database, "eur")).values()) == {0}
    assert await stories.guilty(runtime.database) == {}
