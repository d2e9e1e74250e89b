"""Tabs and tips: amounts that Stripe does not take, and ids that two want at once."""

import asyncio
from collections import Counter

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.commission import FeeSchedule
from takings.errors import TakingsError
from takings.money import Money, NotChargeable
from takings.payments.asks import Ask
from takings.policies import policies
from takings.policies.rules import Bearer, Policy, Terms
from takings.spaces import spaces
from tests import authorised, stories
from tipping import tabs, tips
from tipping.tabs import TabTip, TabWish
from tipping.tips import Wish


@pytest.mark.parametrize(
    ("bearer", "currency", "minor"),
    [("platform", "isk", 150), ("host", "isk", 150), ("platform", "kwd", 101)],
)
async def test_a_tab_takes_no_tip_whose_sum_stripe_would_not_capture(
    runtime: Runtime, box: Sandbox, bearer: Bearer, currency: str, minor: int
) -> None:
    """Once it was taken, and its capture refused and asked anew until the authorisation lapsed."""
    await a_room(runtime, bearer, currency)
    wish = TabWish("tab_1", "spc_one", "lis_zoe", Money(100_000, currency), "intent")
    tab = await tabs.open(runtime.database, runtime.stripe, wish, now=runtime.now())
    authorised.pay(box, tab.payment)
    await stories.hear(runtime, box)
    odd = TabTip("tip_odd", "tab_1", Money(minor, currency))
    with pytest.raises(NotChargeable):
        await tabs.tip(runtime.database, odd, now=runtime.now())
    whole = TabTip("tip_whole", "tab_1", Money(1_000, currency))
    await tabs.tip(runtime.database, whole, now=runtime.now())
    assert await authorised.close(runtime) == "settled"


async def a_room(runtime: Runtime, bearer: Bearer, currency: str) -> None:
    terms = Terms(fee=FeeSchedule(290, 30), minimum=1, maximum=1_000_000)
    refunds: Bearer = "platform" if bearer == "platform" else "host"
    policy = Policy(
        name="odd",
        version=1,
        source="an attack",
        terms={currency: terms},
        fee_bearer=bearer,
        refund_fee_bearer=refunds,
    )
    await policies.publish(runtime.database, policy, now=runtime.now())
    await stories.room(runtime.database, runtime.now(), policy="odd")


@pytest.mark.parametrize("batch", [50, 1])
async def test_a_tab_that_cannot_be_closed_does_not_keep_the_others_open(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    await stories.room(runtime.database, runtime.now())
    for name in ("a", "b", "c"):
        await authorised.opened(runtime, box, name=f"tab_{name}")
        await authorised.give(runtime, f"tip_{name}", tab=f"tab_{name}")
    await spaces.move(runtime.database, "spc_one", "ended", now=runtime.now())
    close = tabs._close  # noqa: SLF001 - the attack is inside

    async def fails(session: AsyncSession, tab: str, *rest: object) -> Ask | None:
        if tab == "tab_a":
            raise TakingsError
        return await close(session, tab, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(tabs, "_close", fails)
    monkeypatch.setattr(tabs, "BATCH", batch)
    rounds = 1 if batch > 1 else 100  # of one that is drawn
    now, closed = runtime.now(), 0
    for _ in range(rounds):
        closed += await tabs.close_ended(runtime.database, runtime.stripe, now=now)
    assert closed == 2
    found = [await tabs.get(runtime.database, f"tab_{name}") for name in ("a", "b", "c")]
    assert [tab.state for tab in found] == ["open", "settled", "settled"]


async def test_of_many_tips_at_once_under_one_id_one_is_sent_and_the_others_are_told(
    runtime: Runtime,
) -> None:
    """Once the others were shown the first one's, with what is needed to pay it."""
    await stories.room(runtime.database, runtime.now())

    async def send(n: int) -> str:
        wish = Wish("tip_same", "spc_one", f"lis_{n}", Money(500 + n, "eur"), "intent")
        try:
            sent = await tips.send(runtime.database, runtime.stripe, wish, now=runtime.now())
        except TakingsError as error:
            return error.code
        return "sent" if sent.tip.listener_id == wish.listener else "somebody else's"

    told = Counter(await asyncio.gather(*(send(n) for n in range(8))))
    assert told == {"sent": 1, "tip_differs": 7}


async def test_of_many_tabs_at_once_under_one_id_one_is_opened_and_the_others_are_told(
    runtime: Runtime,
) -> None:
    await stories.room(runtime.database, runtime.now())

    async def open_(n: int) -> str:
        wish = TabWish("tab_same", "spc_one", f"lis_{n}", Money(5_000 + n, "eur"), "intent")
        try:
            opened = await tabs.open(runtime.database, runtime.stripe, wish, now=runtime.now())
        except TakingsError as error:
            return error.code
        return "opened" if opened.tab.listener_id == wish.listener else "somebody else's"

    told = Counter(await asyncio.gather(*(open_(n) for n in range(8))))
    assert told == {"opened": 1, "tab_differs": 7}
