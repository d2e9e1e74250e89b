"""Sweeps: no gap however long nobody swept, and no line that holds up the others."""

from datetime import UTC, datetime, timedelta

import pytest

from api.runtime import Runtime
from api.settlement import SETTLEMENT
from sandbox.control import Sandbox
from takings.database import fetch
from takings.money import Money
from takings.payments import refunds, sweeps
from takings.payments.stripe import KeyRefused, Stripe, StripeAway
from tests import stories


async def new(runtime: Runtime, now: datetime | None = None) -> int:
    """The quick sweep."""
    return await sweeps.new_cash(
        runtime.database, runtime.stripe, SETTLEMENT, now=now or runtime.now()
    )


async def every(runtime: Runtime, now: datetime | None = None) -> int:
    """The slow sweep."""
    return await sweeps.all_cash(
        runtime.database, runtime.stripe, SETTLEMENT, now=now or runtime.now()
    )


async def paid_unheard(runtime: Runtime, box: Sandbox, minor: int = 500, **named: str) -> str:
    """A tip that is paid while no webhook reaches us; its payment."""
    sent = await stories.tip(runtime, minor, **named)  # type: ignore[arg-type]
    box.pay(sent.payment.intent_id)
    return sent.payment.id


async def uncashed(runtime: Runtime) -> int:
    """How many payments have no cash."""
    rows = await runtime.database.fetch(
        "SELECT count(*) AS n FROM payments p"
        " WHERE NOT EXISTS (SELECT FROM cash c WHERE c.payment_id = p.id)"
    )
    return int(rows[0].n)


async def test_a_first_sweep_that_is_late_begins_before_the_first_payment(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    await paid_unheard(runtime, box)
    assert await new(runtime, stories.later(days=9)) == 1
    assert await uncashed(runtime) == 0


async def test_the_slow_sweep_leaves_no_gap_after_hours_in_which_nobody_swept(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    await paid_unheard(runtime, box)
    await new(runtime)
    for _ in range(3):  # and now nobody sweeps for six hours
        await paid_unheard(runtime, box)
        box.advance(2 * 3600)
    assert await every(runtime, stories.later(hours=6)) == 3
    assert await uncashed(runtime) == 0


async def test_the_slow_sweep_does_not_take_the_quick_one_past_what_it_has_not_read(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    await paid_unheard(runtime, box)
    await new(runtime)
    before = await runtime.database.fetch(sweeps.CURSOR, sweeps.QUICK)
    await paid_unheard(runtime, box)
    since = datetime.now(UTC) + timedelta(days=1)
    await sweeps.all_cash(
        runtime.database, runtime.stripe, SETTLEMENT, since=since, now=runtime.now()
    )
    await every(runtime)
    assert await runtime.database.fetch(sweeps.CURSOR, sweeps.QUICK) == before
    assert await new(runtime) == 0
    assert await uncashed(runtime) == 0


async def test_a_line_that_nobody_understands_is_booked_bare_and_holds_up_nothing(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    params = {
        "amount": 700,
        "currency": "eur",
        "confirm": True,
        "payment_method": "pm_card_visa",
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
    }
    payments = [await paid_unheard(runtime, box) for _ in range(2)]
    stranger = params | {"metadata": {"takings_payment": "pay_of_another_platform"}}
    await runtime.stripe.ask("payment_intents.create", stranger, "a stranger")
    other = params | {"metadata": {"takings_payment": payments[0]}}
    await runtime.stripe.ask("payment_intents.create", other, "another amount")
    payments += [await paid_unheard(runtime, box) for _ in range(2)]
    assert await new(runtime) == 6
    assert await uncashed(runtime) == 0
    journal = await stories.told(runtime.database)
    assert journal.count(":earned") == 4
    assert journal.count("clearing:charges -700 eur") == 2
    theirs = {(key, minor) for key, minor in (await runtime.stripe.balance()).items() if minor}
    ours = await runtime.database.fetch(STRIPES)
    assert {((row.status, row.currency), row.minor) for row in ours} == theirs


STRIPES = """
SELECT split_part(a.name, ':', 3) AS status, a.currency, sum(b.minor)::bigint AS minor
  FROM accounts a JOIN balances b ON b.account_id = a.id
 WHERE a.name LIKE 'assets:stripe:%' GROUP BY 1, 2 HAVING sum(b.minor) <> 0
"""


async def test_the_fee_that_our_refund_kept_may_be_refunded_at_stripe_all_the_same(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    (payment,) = await stories.many_paid(runtime, box, 1)
    done = await refunds.refund(
        runtime.database, runtime.stripe, "ref_1", payment, now=runtime.now()
    )
    assert done.minor == 500
    intent = (await runtime.database.run(fetch, "SELECT intent_id FROM payments"))[0].intent_id
    rest = {"payment_intent": intent, "amount": 46}
    await runtime.stripe.ask("refunds.create", rest, "the dashboard")
    await new(runtime)
    assert "income:fees_covered +46 eur" in await stories.told(runtime.database)
    assert await stories.owed(runtime.database, "eur") == {"host_ada": 0, "host_bob": 0}
    await stories.hear(runtime, box)
    # Stripe keeps its fee of a payment that is returned whole: the platform is short of it.
    assert set(await stories.guilty(runtime.database)) == {"covered"}


async def test_a_refund_that_fails_is_given_back_by_its_cash_alone(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    (payment,) = await stories.many_paid(runtime, box, 1)
    before = await stories.owed(runtime.database, "eur")
    done = await refunds.refund(
        runtime.database, runtime.stripe, "ref_1", payment, Money(200, "eur"), now=runtime.now()
    )
    await new(runtime)
    box.fail_refund(done.stripe_id or "")
    await new(runtime)
    assert await stories.owed(runtime.database, "eur") == before
    assert await stories.guilty(runtime.database) == {}


async def test_a_key_that_stripe_does_not_accept_ends_nothing(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stories.room(runtime.database, runtime.now())
    (payment,) = await stories.many_paid(runtime, box, 1)
    box.faults.call("timeout_with_effect", "/v1/refunds$", times=3)
    with pytest.raises(StripeAway):
        await refunds.refund(runtime.database, runtime.stripe, "ref_1", payment, now=runtime.now())

    async def refused(*_: object) -> None:
        raise KeyRefused

    with monkeypatch.context() as revoked:
        revoked.setattr(Stripe, "ask", refused)
        await sweeps.unanswered(runtime.database, runtime.stripe, SETTLEMENT, now=runtime.now())
    rows = await runtime.database.fetch("SELECT state FROM refunds")
    assert [row.state for row in rows] == ["asked"]
    await sweeps.unanswered(runtime.database, runtime.stripe, SETTLEMENT, now=runtime.now())
    rows = await runtime.database.fetch("SELECT state FROM refunds")
    assert [row.state for row in rows] == ["booked"]
    await stories.hear(runtime, box)
    assert await stories.guilty(runtime.database) == {}
