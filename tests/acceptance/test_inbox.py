"""The inbox: stored once, handled once, tried again, parked when hopeless, replayed when asked."""

import dataclasses
from typing import Any

import orjson
import pytest

from api import worker
from api.runtime import Runtime
from api.settlement import SETTLEMENT
from sandbox.control import Sandbox
from takings.database import Database, fetch
from takings.errors import NotFound
from takings.payments import objects, stripe, webhooks
from takings.payments.objects import Notice
from tests import stories
from tests.conftest import Fresh


async def inbox(runtime: Runtime) -> dict[str, tuple[str, int, str | None]]:
    """Every event's status, attempts and error."""
    rows = await runtime.database.run(fetch, "SELECT * FROM events ORDER BY received_at, id")
    return {row.id: (row.status, row.attempts, row.error) for row in rows}


def notice(kind: str, found: dict[str, Any], **more: object) -> Notice:
    """An event of today's API version about an object."""
    event = {
        "id": f"evt_{kind}",
        "object": "event",
        "type": kind,
        "created": 1_795_000_000,
        "api_version": stripe.API_VERSION,
        "data": {"object": found},
    }
    return dataclasses.replace(objects.notice(event), **more)  # type: ignore[arg-type]


async def receive(runtime: Runtime, *notices: Notice) -> None:
    """They arrive."""
    told = [("account", one) for one in notices]
    await webhooks.receive(runtime.database, told, now=runtime.now())


async def process(runtime: Runtime, **later: int) -> None:
    """They are handled, now or later."""
    while await webhooks.process(
        runtime.database, runtime.stripe, SETTLEMENT, now=stories.later(**later)
    ):
        pass


def paid(payment: str) -> dict[str, Any]:
    """An intent that has succeeded, of 5.46."""
    return {
        "object": "payment_intent",
        "id": "pi_1",
        "status": "succeeded",
        "metadata": {"takings_payment": payment},
        "amount_received": 546,
        "currency": "eur",
        "latest_charge": "ch_1",
        "created": 1_795_000_000,
    }


async def test_an_event_is_stored_once_however_often_it_comes(runtime: Runtime) -> None:
    one = notice("customer.created", {"object": "customer"})
    answers = [
        await webhooks.receive(runtime.database, [("account", one)] * 2, now=runtime.now())
        for _ in range(2)
    ]
    assert [list(new) for new in answers] == [[True, True], [False, False]]
    await process(runtime)
    assert await inbox(runtime) == {one.id: ("done", 1, None)}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"api_version": "2019-08-14"}, "it speaks API version 2019-08-14"),
        ({"account": "acct_nobody"}, "it is about the account acct_nobody"),
        ({"live": True}, "it is of live mode, we are not"),
    ],
)
async def test_what_no_retry_will_heal_is_parked_and_can_be_replayed(
    runtime: Runtime, changed: dict[str, str], why: str
) -> None:
    await receive(runtime, notice("payment_intent.succeeded", paid("pay_1"), **changed))
    for days in (0, 1):
        await process(runtime, days=days)
    ((status, attempts, error),) = (await inbox(runtime)).values()
    assert (status, attempts) == ("parked", 1)
    assert error is not None
    assert why in error
    await webhooks.replay(runtime.database, "evt_payment_intent.succeeded", now=runtime.now())
    assert (await inbox(runtime))["evt_payment_intent.succeeded"][0] == "received"
    with pytest.raises(NotFound):
        await webhooks.replay(runtime.database, "evt_none", now=runtime.now())


async def test_an_event_of_a_hosts_own_account_is_not_parked(
    runtime: Runtime, fresh: Fresh
) -> None:
    await stories.room(runtime.database, runtime.now())
    async with Database(fresh.owner) as owner:
        link = "UPDATE hosts SET stripe_account = 'acct_ada' WHERE id = 'host_ada'"
        await owner.run(fetch, link)
    sent = await stories.tip(runtime, 500)
    await receive(runtime, notice("payout.paid", {"object": "payout"}, account="acct_ada"))
    theirs = notice("payment_intent.succeeded", paid(sent.payment.id), account="acct_ada")
    await receive(runtime, theirs)  # in their own account they may write what they like
    await process(runtime)
    assert [status for status, _, _ in (await inbox(runtime)).values()] == ["done", "done"]
    assert await stories.told(runtime.database) == ""


async def test_an_event_that_fails_waits_longer_each_time_and_is_parked_in_the_end(
    runtime: Runtime,
) -> None:
    await receive(runtime, notice("payment_intent.succeeded", paid("pay_unknown")))
    await process(runtime)
    ((status, attempts, error),) = (await inbox(runtime)).values()
    assert (status, attempts) == ("failed", 1)
    assert error == "unknown_payment: Stripe tells of a payment pay_unknown that we have not."
    await process(runtime)  # it is not due yet
    assert (await inbox(runtime))["evt_payment_intent.succeeded"][1] == 1
    for days in range(1, 20):
        await process(runtime, days=days)
    assert (await inbox(runtime))["evt_payment_intent.succeeded"][:2] == ("parked", 10)


async def test_one_bad_event_does_not_hold_up_the_others_of_its_batch(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = [await stories.tip(runtime, 500) for _ in range(5)]
    for one in sent:
        box.pay(one.payment.intent_id)
    await receive(
        runtime,
        notice("payment_intent.succeeded", paid("pay_unknown")),
        notice("charge.succeeded", {"object": "charge", "metadata": {"takings_payment": "x"}}),
        notice("payment_intent.canceled", {"object": "payment_intent", "metadata": 7}),
    )
    await stories.hear(runtime, box)
    statuses = [status for status, _, _ in (await inbox(runtime)).values()]
    assert statuses.count("failed") == 3
    assert statuses.count("done") == len(statuses) - 3
    assert (await stories.told(runtime.database)).count(":earned") == 5
    assert await stories.guilty(runtime.database) == {}


async def test_a_payment_of_another_amount_books_nothing_and_says_so(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await stories.tip(runtime, 700)
    assert box.requests
    await receive(runtime, notice("payment_intent.succeeded", paid(sent.payment.id)))
    await process(runtime)
    ((status, _, error),) = (await inbox(runtime)).values()
    assert status == "failed"
    assert error is not None
    assert "amount_differs" in error
    assert await stories.told(runtime.database) == ""


async def test_somebody_elses_payments_on_the_same_account_are_left_alone(
    runtime: Runtime,
) -> None:
    theirs = paid("x") | {"metadata": {}}
    charge = {"object": "charge", "metadata": {}, "payment_intent": "pi_theirs", "refunds": None}
    await receive(
        runtime,
        notice("payment_intent.succeeded", theirs),
        notice("charge.refunded", charge | {"amount_refunded": 100}),
        notice("a.type.of.next.year", {"object": "thing"}),
    )
    await worker.drain(runtime, runtime.now())
    assert {status for status, _, _ in (await inbox(runtime)).values()} == {"done"}


def test_a_thin_notification_is_a_notice_where_thin_ones_are_taken() -> None:
    thin = {
        "id": "evt_thin",
        "object": "v2.core.event",
        "type": "v2.core.account.updated",
        "created": "2026-11-20T10:00:00.000Z",
        "context": "acct_1",
    }
    found = objects.notice(thin, thin=True)
    assert (found.account, found.api_version) == ("acct_1", None)
    assert found.created_at.isoformat() == "2026-11-20T10:00:00+00:00"
    assert orjson.loads(found.body) == thin
    with pytest.raises(objects.NotFromStripe):
        objects.notice(thin)


async def test_while_stripe_is_away_one_event_asks_in_vain_and_all_are_handled_later(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    payments = await stories.many_paid(runtime, box, 3)
    rows = await runtime.database.fetch("SELECT intent_id FROM payments")
    for row in rows:
        asked = {"payment_intent": row.intent_id, "amount": 100}
        await runtime.stripe.ask("refunds.create", asked, f"elsewhere:{row.intent_id}")
    told = [objects.notice(event) for event in box.events]
    await receive(runtime, *(one for one in told if one.type == "refund.created"))
    box.faults.call("503", "/v1/refunds/", method="GET", times=3)  # one call and its retries
    await webhooks.process(runtime.database, runtime.stripe, SETTLEMENT, now=runtime.now())
    refunds = [path for r in box.requests if (path := r.path).startswith("/v1/refunds/")]
    assert len(set(refunds)) == 1
    await process(runtime, minutes=5)
    assert {status for status, _, _ in (await inbox(runtime)).values()} == {"done"}
    assert (await stories.told(runtime.database)).count(":booked") == len(payments)
