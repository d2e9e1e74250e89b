"""Tabs: whoever comes at the same time, or dies in between, no more is charged than was given."""

import asyncio
from collections import Counter

import pytest

from api.runtime import Runtime
from api.settlement import SETTLEMENT
from sandbox.control import Sandbox
from takings.database import LawBroken
from takings.payments import asks, captures, sweeps
from takings.payments.stripe import Stripe
from tests import stories
from tests.authorised import captures_asked, close, dies, give, intent, opened
from tipping import tabs


async def test_fifty_tips_at_once_never_exceed_the_cap_with_its_card_fee(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    await opened(runtime, box, 5_180)  # 50.00 and its card fee: ten tips of 5.00
    answers = await asyncio.gather(*(give(runtime, f"tip_{n}") for n in range(50)))
    assert Counter(answers) == {"pending": 10, "tab_full": 40}
    assert await close(runtime) == "settled"
    assert intent(box) == ("succeeded", 5_180, 5_180)
    await stories.hear(runtime, box)
    assert await stories.guilty(runtime.database) == {}


async def test_control_without_the_payments_lock_the_cap_is_exceeded(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stories.room(runtime.database, runtime.now())
    await opened(runtime, box, 5_180)
    monkeypatch.setattr(captures, "LOCK", captures.LOCK.replace("FOR NO KEY UPDATE", ""))
    answers = await asyncio.gather(*(give(runtime, f"tip_{n}") for n in range(50)))
    assert Counter(answers)["pending"] > 10
    with pytest.raises(LawBroken, match="payments_amount_is_final"):  # the last wall
        await close(runtime)


async def test_ten_close_at_once_while_tips_come_and_there_is_one_capture_of_what_was_given(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    await opened(runtime, box)
    await give(runtime, "tip_first")
    acts = [close(runtime) if n % 3 == 1 else give(runtime, f"tip_{n}") for n in range(30)]
    await asyncio.gather(*acts)
    await stories.hear(runtime, box)
    tab = await tabs.get(runtime.database, "tab_1")
    rows = await runtime.database.fetch("SELECT settled_at FROM tips")
    assert {row.settled_at is not None for row in rows} == {True}, "what was taken was captured"
    assert (tab.state, tab.tips) == ("settled", len(rows))
    assert captures_asked(box) == 1
    assert await give(runtime, "tip_late") == "tab_not_open"
    assert intent(box)[2] == tab.payment.minor
    assert await stories.guilty(runtime.database) == {}


async def test_a_crash_between_the_close_and_the_capture_is_finished_by_the_sweep(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stories.room(runtime.database, runtime.now())
    await opened(runtime, box)
    await give(runtime, "tip_1")
    with monkeypatch.context() as crash:
        crash.setattr(Stripe, "ask", dies)
        with pytest.raises(asyncio.CancelledError):
            await close(runtime)
    assert await close(runtime) == "closing"
    assert await give(runtime, "tip_2") == "tab_not_open"
    later = runtime.now() + asks.LEASE
    await sweeps.unanswered(runtime.database, runtime.stripe, SETTLEMENT, now=later)
    assert (await tabs.get(runtime.database, "tab_1")).state == "settled"
    await stories.hear(runtime, box)
    assert (await stories.told(runtime.database)).count(":earned") == 1
    assert await stories.guilty(runtime.database) == {}
