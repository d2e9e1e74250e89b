"""Disputes over HTTP: found, shown with their lines; and what a host may safely spend meanwhile."""

from collections.abc import Awaitable, Callable

import httpx
import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.money import Money
from takings.payments import payments, refunds
from takings.payments.stripe import StripeAway
from tests import paying, stories
from tests.acceptance.test_api_resources import every, get

Before = Callable[[Runtime, Sandbox, str], Awaitable[None]]


async def test_a_dispute_is_shown_with_how_it_lies_on_the_lines(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await stories.paid_tip(runtime, box, 500)
    found = box.dispute(payment_intent=sent.payment.intent_id, taken=False)
    await stories.hear(runtime, box)
    path = f"/v1/disputes/{found['id']}"
    opened = await get(client, path)
    line = {"kind": "tip", "subject": sent.tip.id, "paid": 546, "returned": 0}
    [shown] = opened["lines"]
    assert shown == {"id": shown["id"], **line, "disputed": 0, "frozen": 546}
    assert (opened["status"], opened["reason"]) == ("needs_response", "fraudulent")
    assert opened["due_by"] == found["evidence_details"]["due_by"]
    sums = {"amount": 546, "taken": 0, "frozen": 546, "lost": 0, "closed_at": None}
    assert {name: opened[name] for name in sums} == sums
    box.withdraw_dispute(found["id"])
    box.close_dispute(found["id"], "lost")
    await stories.hear(runtime, box)
    [lost] = (await get(client, "/v1/disputes", open=False, **{"expand[]": "data.payment"}))["data"]
    assert (lost["taken"], lost["frozen"], lost["closed_at"] is not None) == (546, 0, True)
    assert lost["payment"] == await get(client, f"/v1/payments/{sent.payment.id}")
    assert lost["payment"]["lines"][0]["disputed"] == lost["lines"][0]["disputed"] == 546
    whole = await get(client, path, **{"expand[]": "payment"})
    assert whole == lost


async def test_disputes_are_found_by_payment_status_and_whether_they_are_over(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    await stories.room(runtime.database, runtime.now())
    made = []
    for taken in (True, False, False, True):
        sent = await stories.paid_tip(runtime, box, 500)
        made.append(box.dispute(payment_intent=sent.payment.intent_id, taken=taken)["id"])
        box.advance(1)
    box.close_dispute(made[0], "lost")
    box.close_dispute(made[2], "won")
    await stories.hear(runtime, box)
    assert await every(client, "/v1/disputes") == made[::-1]
    assert await every(client, "/v1/disputes", open=True) == [made[3], made[1]]
    assert await every(client, "/v1/disputes", open=False) == [made[2], made[0]]
    assert await every(client, "/v1/disputes", status="won") == [made[2]]
    assert await every(client, "/v1/disputes", payment=sent.payment.id) == [made[3]]
    for path in ("/v1/disputes/dp_none", "/v1/disputes/dp_none/evidence"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_what_the_bank_takes_beyond_the_lines_is_shown_as_lost(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await stories.paid_tip(runtime, box, 500)
    half = Money(300, "eur")
    told = (runtime.database, runtime.stripe, "ref_one", sent.payment.id, half)
    await refunds.refund(*told, now=runtime.now())
    found = box.dispute(payment_intent=sent.payment.intent_id, amount=546)
    await stories.hear(runtime, box)
    shown = await get(client, f"/v1/disputes/{found['id']}")
    [line] = shown["lines"]
    assert (shown["lost"], line["returned"], line["disputed"]) == (300, 300, 246)
    assert (await get(client, f"/v1/payments/{sent.payment.id}"))["lost"] == 300
    receipt = await get(client, f"/v1/payments/{sent.payment.id}/receipt")
    assert (receipt["paid"], receipt["returned"]) == (546, 546)


async def inquired(runtime: Runtime, box: Sandbox, payment: str) -> None:
    """The bank asks about all of it."""
    row = await runtime.database.run(payments.get, payment)
    box.dispute(payment_intent=row.intent_id, inquiry=True)
    await paying.hear(runtime, box)


async def asked(runtime: Runtime, _: Sandbox, payment: str) -> None:
    """A refund of 2.01 is on its way, and Stripe is silent."""
    told = (runtime.database, runtime.stripe, "ref_one", payment, Money(201, "eur"))
    with pytest.raises(StripeAway):
        await refunds.refund(*told, now=runtime.now())


async def both(runtime: Runtime, box: Sandbox, payment: str) -> None:
    """The bank asks about all of it, and then 2.01 are on their way."""
    await inquired(runtime, box, payment)
    await asked(runtime, box, payment)


async def happens(runtime: Runtime, box: Sandbox) -> None:
    """Stripe answers again, and the banks take what they asked about."""
    box.faults.clear()
    for row in await runtime.database.fetch("SELECT id FROM disputes WHERE stage = 1"):
        box.withdraw_dispute(row.id)
    await paying.hear(runtime, box, now=stories.later(hours=1))


async def safe(client: httpx.AsyncClient, host: str) -> tuple[int, int]:
    """What is available to the host, and what of it is safe to spend."""
    [money] = (await get(client, f"/v1/hosts/{host}/balance"))["balances"]
    return money["available"], money["safe_to_spend"]


THREE = (("host_ada", 4500), ("host_bob", 4500), ("host_cleo", 1000))


@pytest.mark.parametrize("what", [inquired, asked, both], ids=lambda what: what.__name__)
async def test_what_is_safe_to_spend_is_what_is_left_when_all_that_may_be_taken_is(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient, what: Before
) -> None:
    one, _ = await paying.evening(runtime, box, 507, 333, shares=THREE)
    hosts = [host for host, _ in THREE]
    before = [await safe(client, host) for host in hosts]
    assert all(available == safely > 0 for available, safely in before)
    box.faults.call("503", "/v1/refunds$", times=100)
    await what(runtime, box, one)
    told = [await safe(client, host) for host in hosts]
    assert [available for available, _ in told] == [available for available, _ in before]
    assert all(safely < available for available, safely in told)
    await happens(runtime, box)
    after = [await safe(client, host) for host in hosts]
    assert after == [(safely, safely) for _, safely in told]


async def test_what_the_held_and_the_reserved_money_pays_leaves_the_available_alone(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    first, second = await paying.evening(runtime, box, 500, 500)
    row = await runtime.database.run(payments.get, first)
    box.dispute(payment_intent=row.intent_id, taken=False)
    await paying.hear(runtime, box)
    assert await safe(client, "host_ada") == (500, 500), "the other 5.00 are frozen already"
    sent = await stories.paid_tip(
        runtime,
        box,
        700,
        space=await stories.room(
            runtime.database, runtime.now(), shares=paying.ADA, space="spc_live"
        ),
    )
    await inquired(runtime, box, sent.payment.id)
    assert await safe(client, "host_ada") == (500, 500), "the 7.00 are still held"
    await inquired(runtime, box, second)
    assert await safe(client, "host_ada") == (500, 0)


async def test_who_owes_us_has_nothing_to_spend(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    [one] = await paying.evening(runtime, box, 500)
    await paying.payee(runtime, box)
    await paying.pay(runtime)
    await paying.hear(runtime, box)
    assert await safe(client, "host_ada") == (0, 0)
    await inquired(runtime, box, one)
    assert await safe(client, "host_ada") == (0, 0)
    await happens(runtime, box)
    assert await safe(client, "host_ada") == (-500, 0)
