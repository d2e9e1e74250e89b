"""Three surfaces of one act: a hosted Checkout, an embedded intent, a saved payment method."""

import asyncio

import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.errors import TakingsError
from takings.money import Money
from takings.payments import asks, sweeps
from takings.payments.orders import PaymentOver
from takings.payments.stripe import CardDeclined, Stripe, StripeAway
from tests import stories
from tipping import tips
from tipping.tips import Surface, Wish


def wish(surface: Surface, **more: str) -> Wish:
    """A tip of 5.00 on that surface."""
    money = Money(500, "eur")
    return Wish("tip_1", "spc_one", "lis_zoe", money, surface=surface, **more)  # type: ignore[arg-type]


URLS = {"success_url": "https://example.com/thanks", "cancel_url": "https://example.com/back"}


async def saved(runtime: Runtime, method: str = "pm_card_visa") -> dict[str, str]:
    """A listener whose payment method is kept at Stripe."""
    found = await runtime.stripe.ask("customers.create", {}, "a customer")  # type: ignore[arg-type]
    return {"customer": found["id"], "payment_method": method}


async def test_checkout_shows_where_to_pay_and_settles_by_webhook(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await tips.send(
        runtime.database, runtime.stripe, wish("checkout", **URLS), now=runtime.now()
    )
    assert sent.payment.url is not None
    assert sent.payment.url.startswith(box.url)
    assert sent.state == "pending"
    box.pay(checkout_session=sent.payment.session_id)
    await stories.hear(runtime, box)
    assert (await tips.get(runtime.database, "tip_1")).state == "settled"
    assert await stories.guilty(runtime.database) == {}


async def test_a_checkout_that_expires_ends_the_tip(runtime: Runtime, box: Sandbox) -> None:
    await stories.room(runtime.database, runtime.now())
    await tips.send(runtime.database, runtime.stripe, wish("checkout", **URLS), now=runtime.now())
    box.advance(25 * 3600)
    await stories.hear(runtime, box)
    assert (await tips.get(runtime.database, "tip_1")).state == "cancelled"
    assert await stories.told(runtime.database) == ""


async def test_a_saved_card_settles_in_the_answer_and_the_webhook_changes_nothing(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await tips.send(
        runtime.database, runtime.stripe, wish("saved", **await saved(runtime)), now=runtime.now()
    )
    assert sent.state == "settled"
    before = await stories.told(runtime.database)
    assert before.count(":earned") == 1
    await stories.hear(runtime, box)
    after = await stories.told(runtime.database)
    assert after.startswith(before)
    assert await stories.guilty(runtime.database) == {}


async def test_a_saved_card_that_is_declined_ends_the_tip_and_books_nothing(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    order = wish("saved", **await saved(runtime, "pm_card_chargeDeclined"))
    with pytest.raises(CardDeclined):
        await tips.send(runtime.database, runtime.stripe, order, now=runtime.now())
    with pytest.raises(TakingsError, match="can no longer be paid"):
        await tips.send(runtime.database, runtime.stripe, order, now=runtime.now())
    await stories.hear(runtime, box)
    assert (await tips.get(runtime.database, "tip_1")).state == "cancelled"
    assert await stories.told(runtime.database) == ""


@pytest.mark.parametrize("fault", ["timeout_with_effect", "timeout_without_effect", "503"])
async def test_stripe_away_loses_nothing_and_the_same_tip_is_asked_once(
    runtime: Runtime, box: Sandbox, fault: str
) -> None:
    await stories.room(runtime.database, runtime.now())
    box.faults.call(fault, "/v1/payment_intents$", times=3)
    with pytest.raises(StripeAway):
        await tips.send(runtime.database, runtime.stripe, wish("intent"), now=runtime.now())
    sent = await tips.send(runtime.database, runtime.stripe, wish("intent"), now=runtime.now())
    assert sent.payment.intent_id == box.state.table("payment_intent").rows[0]["id"]
    assert len(box.state.table("payment_intent").rows) == 1


async def test_what_a_crash_left_unasked_the_worker_asks_when_the_lease_is_over(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stories.room(runtime.database, runtime.now())
    with monkeypatch.context() as crash:
        crash.setattr(Stripe, "ask", cancelled)
        with pytest.raises(asyncio.CancelledError):
            await tips.send(runtime.database, runtime.stripe, wish("intent"), now=runtime.now())
    with pytest.raises(asks.InFlight):
        await tips.send(runtime.database, runtime.stripe, wish("intent"), now=runtime.now())
    later = runtime.now() + asks.LEASE
    done = await sweeps.unanswered(runtime.database, runtime.stripe, tips.SETTLEMENT, now=later)
    assert done == 1
    sent = await tips.send(runtime.database, runtime.stripe, wish("intent"), now=later)
    assert sent.payment.intent_id == box.state.table("payment_intent").rows[0]["id"]


async def cancelled(*_: object) -> None:
    """The process dies before anything is sent."""
    raise asyncio.CancelledError


async def test_where_stripe_will_only_repeat_its_failure_its_list_is_asked_instead(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    box.faults.call("500", "/v1/payment_intents$")
    with pytest.raises(PaymentOver):
        await tips.send(runtime.database, runtime.stripe, wish("intent"), now=runtime.now())
    assert box.calls("GET", "/v1/payment_intents")
    assert (await tips.get(runtime.database, "tip_1")).state == "cancelled"


async def test_an_ask_whose_key_stripe_has_forgotten_is_looked_up_and_never_sent_again(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    box.faults.call("timeout_with_effect", "/v1/payment_intents$", times=3)
    with pytest.raises(StripeAway):
        await tips.send(runtime.database, runtime.stripe, wish("intent"), now=runtime.now())
    calls = len(box.calls("POST", "/v1/payment_intents"))
    much_later = stories.later(days=2)
    await sweeps.unanswered(runtime.database, runtime.stripe, tips.SETTLEMENT, now=much_later)
    assert len(box.calls("POST", "/v1/payment_intents")) == calls
    sent = await tips.get(runtime.database, "tip_1")
    assert sent.payment.intent_id == box.state.table("payment_intent").rows[0]["id"]
    box.pay(sent.payment.intent_id)
    await stories.hear(runtime, box)
    assert (await tips.get(runtime.database, "tip_1")).state == "settled"
    assert await stories.guilty(runtime.database) == {}
