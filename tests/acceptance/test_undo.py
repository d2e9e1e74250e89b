"""Ten seconds to take a tip back: nothing is ever captured of it, or all of it, once."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from api import worker
from api.runtime import Runtime
from api.settlement import SETTLEMENT
from sandbox.control import Sandbox
from sandbox.errors import StripeError
from takings.database import LawBroken, fetch
from takings.errors import TakingsError
from takings.money import Money
from takings.payments import asks, captures, facts, sweeps
from takings.payments.captures import UNDO
from takings.payments.stripe import Stripe
from tests import stories
from tests.authorised import captures_asked, dies, pay, ways
from tipping import tips
from tipping.tips import Sent, Surface, TipDiffers, Wish

LATE, EARLY = timedelta(seconds=10.1), timedelta(seconds=9.9)


async def authorised(
    runtime: Runtime, box: Sandbox, surface: Surface = "intent", name: str = "tip_1"
) -> Sent:
    """A tip of 5.00 that may be undone, its money set aside by the bank."""
    money = Money(500, "eur")
    more = await ways(runtime, surface)
    wish = Wish(name, "spc_one", "lis_zoe", money, surface, undoable=True, **more)  # type: ignore[arg-type]
    sent = await tips.send(runtime.database, runtime.stripe, wish, now=runtime.now())
    pay(box, sent.payment)
    await stories.hear(runtime, box)
    sent = await tips.get(runtime.database, name)
    assert sent.payment.state == "authorised"
    assert sent.payment.id not in await stories.told(runtime.database)
    return sent


def sent_at(sent: Sent) -> datetime:
    """When the undo time of a tip began."""
    assert sent.undo_until is not None
    return sent.undo_until - UNDO


def intents(box: Sandbox) -> list[str]:
    """How the intents are at Stripe."""
    return [row["status"] for row in box.state.table("payment_intent").rows]


async def undone(runtime: Runtime, now: datetime, name: str = "tip_1") -> str:
    """Undo the tip; its state, or why not."""
    try:
        return (await tips.undo(runtime.database, runtime.stripe, name, now=now)).state
    except TakingsError as error:
        return error.code


@pytest.mark.parametrize("surface", ["checkout", "intent", "saved"])
async def test_until_the_last_moment_a_tip_is_undone_and_nothing_was_ever_captured(
    runtime: Runtime, box: Sandbox, surface: Surface
) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await authorised(runtime, box, surface)
    at = sent_at(sent)
    for _ in range(2):  # the second time it is the same answer
        assert await undone(runtime, at + EARLY) == "cancelled"
    assert intents(box) == ["canceled"]
    await stories.hear(runtime, box, now=at + LATE)
    await stories.hear(runtime, box, now=at + timedelta(hours=1))
    assert await stories.told(runtime.database) == ""
    assert box.balance("eur") == {"available": 0, "pending": 0}
    assert (await tips.get(runtime.database, "tip_1")).payment.state == "cancelled"
    assert await stories.guilty(runtime.database) == {}


@pytest.mark.parametrize("surface", ["checkout", "intent", "saved"])
async def test_after_ten_seconds_it_is_captured_once_and_cannot_be_undone(
    runtime: Runtime, box: Sandbox, surface: Surface
) -> None:
    await stories.room(runtime.database, runtime.now())
    at = sent_at(await authorised(runtime, box, surface))
    assert await undone(runtime, at + UNDO) == "undo_over"  # also where nobody captured it yet
    for _ in range(2):
        await stories.hear(runtime, box, now=at + LATE)
    assert await undone(runtime, at + EARLY) == "undo_over"
    sent = await tips.get(runtime.database, "tip_1")
    assert (sent.state, sent.payment.state, sent.undo_until) == ("settled", "paid", None)
    txn = box.state.table("balance_transaction").rows[-1]["id"]
    assert (
        await stories.told(runtime.database)
        == f"""\
payment:{sent.payment.id}:earned
  clearing:charges +546 eur
  liabilities:host:host_ada:held -300 eur
  liabilities:host:host_bob:held -200 eur
  income:fees_covered -46 eur
txn:{txn}
  assets:stripe:pending +500 eur
  expenses:stripe_fees +46 eur
  clearing:charges -546 eur"""
    )
    assert await stories.guilty(runtime.database) == {}


async def test_twenty_undo_while_the_worker_captures_and_there_is_one_truth(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    for number in range(8):
        name = f"tip_{number}"
        at = sent_at(await authorised(runtime, box, name=name))
        early = at + EARLY  # some asked in time, and are as slow as the worker is late

        async def capture(now: datetime = at + UNDO) -> None:
            await captures.due(runtime.database, runtime.stripe, SETTLEMENT, now=now)

        undoes = [undone(runtime, early, name) for _ in range(20)]
        acts: list[Any] = [*undoes[: number * 2], capture(), *undoes[number * 2 :], capture()]
        answers = {one for one in await asyncio.gather(*acts) if one}
        sent = await tips.get(runtime.database, name)
        status = intents(box)[number]
        assert (answers, sent.state, sent.payment.state, status) in (
            ({"cancelled"}, "cancelled", "cancelled", "canceled"),
            ({"undo_over"}, "settled", "paid", "succeeded"),
        )
        journal = await stories.told(runtime.database)
        earned = journal.count(f"payment:{sent.payment.id}:earned")
        assert earned == (sent.state == "settled")
    await stories.hear(runtime, box)
    assert await stories.guilty(runtime.database) == {}


async def test_control_without_the_payments_lock_an_undo_wins_over_a_capture_that_has_begun(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stories.room(runtime.database, runtime.now())
    at = sent_at(await authorised(runtime, box))
    monkeypatch.setattr(captures, "LOCK", captures.LOCK.replace("FOR NO KEY UPDATE", ""))
    async with runtime.database.transaction() as session:
        assert await fetch(session, captures.DUE, at + UNDO, 1)
        undo = asyncio.ensure_future(undone(runtime, at + EARLY))
        await asyncio.sleep(0.2)  # it has come as far as it can
    assert await undo == "cancelled", "although it was being captured"


async def open_tip(runtime: Runtime, surface: Surface) -> Sent:
    """A tip that may be undone and that nobody has paid yet."""
    await stories.room(runtime.database, runtime.now())
    more = await ways(runtime, surface)
    wish = Wish("tip_1", "spc_one", "lis_zoe", Money(500, "eur"), surface, undoable=True, **more)  # type: ignore[arg-type]
    return await tips.send(runtime.database, runtime.stripe, wish, now=runtime.now())


@pytest.mark.parametrize("surface", ["checkout", "intent"])
async def test_a_tip_that_nobody_has_paid_yet_is_undone_and_cannot_be_paid_any_more(
    runtime: Runtime, box: Sandbox, surface: Surface
) -> None:
    sent = await open_tip(runtime, surface)
    assert sent.undo_until is None
    assert await undone(runtime, stories.later(minutes=5)) == "cancelled"
    with pytest.raises(StripeError):
        pay(box, sent.payment)
    await stories.hear(runtime, box)
    assert (await tips.get(runtime.database, "tip_1")).state == "cancelled"


async def test_a_checkout_that_was_paid_a_moment_ago_is_let_go_by_its_intent(
    runtime: Runtime, box: Sandbox
) -> None:
    sent = await open_tip(runtime, "checkout")
    box.pay(checkout_session=sent.payment.session_id)  # and no event has come yet
    assert await undone(runtime, runtime.now()) == "cancelled"
    assert intents(box) == ["canceled"]
    await stories.hear(runtime, box)
    await stories.hear(runtime, box, now=stories.later(minutes=5))
    assert (await tips.get(runtime.database, "tip_1")).state == "cancelled"
    assert await stories.told(runtime.database) == ""


@pytest.mark.parametrize("surface", ["checkout", "intent", "saved"])
async def test_what_is_undone_before_stripe_has_answered_is_let_go_when_it_has(
    runtime: Runtime, box: Sandbox, surface: Surface, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as crash:
        crash.setattr(captures, "authorised", dies)
        crash.setattr(asks, "answered", dies)
        with pytest.raises(asyncio.CancelledError):
            await open_tip(runtime, surface)
    assert await undone(runtime, runtime.now()) == "cancelled"
    await sweep(runtime, asks.LEASE)
    (session,) = box.state.table("checkout.session").rows or [{"status": "expired"}]
    assert session["status"] == "expired"
    assert set(intents(box)) <= {"canceled"}
    assert (await tips.get(runtime.database, "tip_1")).state == "cancelled"


async def test_a_checkout_that_was_paid_before_we_noted_its_answer_is_captured_all_the_same(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stripe repeats its answer as it was, when the session had no intent yet."""
    with monkeypatch.context() as crash:
        crash.setattr(asks, "answered", dies)
        with pytest.raises(asyncio.CancelledError):
            await open_tip(runtime, "checkout")
    (session,) = box.state.table("checkout.session").rows
    box.pay(checkout_session=session["id"])
    await stories.hear(runtime, box)
    await sweep(runtime, asks.LEASE)
    await capture(runtime, stories.later(minutes=2))
    assert await captured_once(runtime, box)


async def sweep(runtime: Runtime, later: timedelta) -> None:
    """The worker finds what was left behind."""
    now = runtime.now() + later
    await sweeps.unanswered(runtime.database, runtime.stripe, SETTLEMENT, now=now)


async def capture(runtime: Runtime, at: datetime) -> None:
    """The worker captures what is due."""
    await captures.due(runtime.database, runtime.stripe, SETTLEMENT, now=at)


async def captured_once(runtime: Runtime, box: Sandbox) -> bool:
    """Whether the tip has been paid, once, in our books and at Stripe."""
    await stories.hear(runtime, box)
    sent = await tips.get(runtime.database, "tip_1")
    journal = await stories.told(runtime.database)
    assert await stories.guilty(runtime.database) == {}
    charges = [row["amount_captured"] for row in box.state.table("charge").rows]
    facts = (sent.state, sent.payment.state, journal.count(":earned"), charges, intents(box))
    return facts == ("settled", "paid", 1, [546], ["succeeded"])


async def test_a_crash_between_the_decision_and_the_capture_is_finished_by_the_sweep(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stories.room(runtime.database, runtime.now())
    at = sent_at(await authorised(runtime, box))
    with monkeypatch.context() as crash:
        crash.setattr(Stripe, "ask", dies)
        with pytest.raises(asyncio.CancelledError):
            await capture(runtime, at + UNDO)
    assert intents(box) == ["requires_capture"]
    assert await undone(runtime, at + EARLY) == "undo_over"
    await sweep(runtime, UNDO + asks.LEASE)
    assert await captured_once(runtime, box)


@pytest.mark.parametrize("fault", ["timeout_with_effect", "timeout_without_effect", "503", "429"])
async def test_a_stripe_that_is_away_is_asked_again_under_the_same_key(
    runtime: Runtime, box: Sandbox, fault: str
) -> None:
    await stories.room(runtime.database, runtime.now())
    at = sent_at(await authorised(runtime, box))
    box.faults.call(fault, "/capture$", times=4 if fault == "429" else 3)
    await capture(runtime, at + UNDO)
    await sweep(runtime, UNDO)
    assert await captured_once(runtime, box)
    keys = await runtime.database.fetch("SELECT key FROM asks WHERE key LIKE 'capture:%'")
    assert len(keys) == 1


async def test_where_stripe_only_repeats_its_failure_the_intent_says_that_it_must_be_asked_anew(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    at = sent_at(await authorised(runtime, box))
    box.faults.call("500", "/capture$")
    await capture(runtime, at + UNDO)
    assert intents(box) == ["requires_capture"]
    await sweep(runtime, UNDO + asks.LEASE)
    assert await captured_once(runtime, box)
    keys = await runtime.database.fetch("SELECT key FROM asks WHERE key LIKE 'capture:%:2'")
    assert len(keys) == 1


@pytest.mark.parametrize("fault", ["timeout_with_effect", "timeout_without_effect"])
async def test_after_the_life_of_the_key_the_intent_is_looked_at_before_anything_is_asked(
    runtime: Runtime, box: Sandbox, fault: str
) -> None:
    await stories.room(runtime.database, runtime.now())
    at = sent_at(await authorised(runtime, box))
    box.faults.call(fault, "/capture$", times=3)
    await capture(runtime, at + UNDO)
    posts = captures_asked(box)
    await sweep(runtime, timedelta(days=2))
    assert captures_asked(box) == posts
    await sweep(runtime, timedelta(days=2) + asks.LEASE)
    assert await captured_once(runtime, box)


async def test_an_authorisation_that_lapsed_before_it_was_captured_ends_the_tip(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    await authorised(runtime, box)
    box.advance(7 * 86_400)  # no worker ran for a week
    await capture(runtime, stories.later(days=7))
    sent = await tips.get(runtime.database, "tip_1")
    assert (sent.state, sent.payment.state) == ("cancelled", "cancelled")
    await stories.hear(runtime, box, now=stories.later(days=7))
    assert await stories.told(runtime.database) == ""
    assert await stories.guilty(runtime.database) == {}


async def test_letting_go_while_stripe_is_away_is_done_when_it_is_back(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    at = sent_at(await authorised(runtime, box))
    box.faults.call("503", "/cancel$", times=3)
    assert await undone(runtime, at + EARLY) == "cancelled"
    assert intents(box) == ["requires_capture"]
    await sweep(runtime, EARLY)
    assert intents(box) == ["canceled"]


@pytest.mark.parametrize("surface", ["checkout", "intent"])
async def test_an_authorisation_of_which_no_event_came_is_found_by_the_sweep_of_open_payments(
    runtime: Runtime, box: Sandbox, surface: Surface
) -> None:
    sent = await open_tip(runtime, surface)
    pay(box, sent.payment)
    at = stories.later(minutes=11)
    await worker.drain(runtime, at)
    found = await tips.get(runtime.database, "tip_1")
    assert (found.payment.state, found.undo_until) == ("authorised", at + UNDO)
    await worker.drain(runtime, at + UNDO)
    assert await captured_once(runtime, box)


async def test_who_hears_again_that_it_is_authorised_gives_nobody_more_time(
    runtime: Runtime, box: Sandbox
) -> None:
    """Every look at Stripe would put the capture off by ten seconds, and the undo with it."""
    await stories.room(runtime.database, runtime.now())
    sent = await authorised(runtime, box)
    at = sent_at(sent) + EARLY
    await sweeps.open_payments(runtime.database, runtime.stripe, SETTLEMENT, before=at, now=at)
    looked_at = "SELECT looked_at FROM payments"
    assert [row.looked_at for row in await runtime.database.fetch(looked_at)] == [at]
    assert (await tips.get(runtime.database, "tip_1")).undo_until == sent.undo_until


async def test_a_session_proves_no_more_than_the_intent_says_was_captured(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await authorised(runtime, box, "checkout")
    session = box.state.get("checkout.session", sent.payment.session_id or "")
    assert (session["payment_status"], facts.by_session(session, runtime.now())) == ("unpaid", None)
    session = session | {"payment_status": "paid"}  # as it will be when it has been captured
    assert facts.by_session(session, runtime.now()) is None


async def test_only_what_was_sent_as_undoable_can_be_undone(runtime: Runtime, box: Sandbox) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await stories.tip(runtime, 500, name="tip_1")
    assert await undone(runtime, runtime.now()) == "not_undoable"
    same = Wish("tip_1", "spc_one", "lis_zoe", Money(500, "eur"), "intent", undoable=True)
    with pytest.raises(TipDiffers):
        await tips.send(runtime.database, runtime.stripe, same, now=runtime.now())
    box.pay(sent.payment.intent_id)
    await stories.hear(runtime, box)
    assert await undone(runtime, runtime.now()) == "not_undoable"
    assert await undone(runtime, runtime.now(), "tip_2") == "not_found"


async def test_the_amount_of_a_payment_that_is_no_tab_never_changes(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    await authorised(runtime, box)
    with pytest.raises(LawBroken, match="payments_amount_is_final"):
        await runtime.database.fetch("UPDATE payments SET state = 'capturing', minor = 1")
