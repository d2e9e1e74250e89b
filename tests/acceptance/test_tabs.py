"""A tab gathers a listener's tips of one room into one charge: opened, given on, closed, ended."""

from datetime import timedelta

import pytest

from api import worker
from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.errors import TakingsError
from takings.money import Money
from takings.spaces import spaces
from tests import stories
from tests.authorised import Surface, captures_asked, close, give, intent, opened
from tipping import tabs, tips
from tipping.tabs import TabTip, TabWish

WEEK_S = 7 * 86_400


@pytest.mark.parametrize("surface", ["checkout", "intent", "saved"])
async def test_the_end_of_the_room_closes_its_tabs_on_every_surface(
    runtime: Runtime, box: Sandbox, surface: Surface
) -> None:
    await stories.room(runtime.database, runtime.now())
    await opened(runtime, box, surface=surface)
    await give(runtime, "tip_1")
    await spaces.move(runtime.database, "spc_one", "ended", now=runtime.now())
    await stories.hear(runtime, box)
    tab = await tabs.get(runtime.database, "tab_1")
    assert (tab.state, tab.payment.minor, intent(box)) == (
        "settled",
        546,
        ("succeeded", 10_000, 546),
    )
    await stories.hear(runtime, box)  # what Stripe tells of the rest is no refund
    assert await stories.guilty(runtime.database) == {}
    assert await stories.owed(runtime.database, "eur") == {"host_ada": 300, "host_bob": 200}


async def test_a_tab_on_which_nothing_was_given_is_let_go(runtime: Runtime, box: Sandbox) -> None:
    await stories.room(runtime.database, runtime.now())
    await opened(runtime, box)
    await give(runtime, "tip_1")
    at = (await tips.get(runtime.database, "tip_1")).undo_until
    assert at is not None
    for _ in range(2):
        early = at - timedelta(seconds=0.1)
        undone = await tips.undo(runtime.database, runtime.stripe, "tip_1", now=early)
        assert undone.state == "cancelled"
    assert len([one for one in box.requests if one.path.endswith("/cancel")]) == 0
    assert await close(runtime) == "cancelled"
    assert intent(box) == ("canceled", 10_000, 0)
    await stories.hear(runtime, box)
    assert await stories.told(runtime.database) == ""
    assert box.balance("eur") == {"available": 0, "pending": 0}


async def test_a_tip_on_a_tab_is_undone_within_ten_seconds_and_not_later(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    await opened(runtime, box)
    at = runtime.now()
    for name in ("tip_1", "tip_2", "tip_3"):
        await give(runtime, name, now=at)
    early, late = at + timedelta(seconds=9.9), at + timedelta(seconds=10)
    await tips.undo(runtime.database, runtime.stripe, "tip_1", now=early)
    with pytest.raises(tips.UndoOver):
        await tips.undo(runtime.database, runtime.stripe, "tip_2", now=late)
    assert await close(runtime) == "settled"
    with pytest.raises(tips.UndoOver):  # what is closed is decided
        await tips.undo(runtime.database, runtime.stripe, "tip_3", now=early)
    states = [(await tips.get(runtime.database, f"tip_{n}")).state for n in (1, 2, 3)]
    assert states == ["cancelled", "settled", "settled"]
    assert (await tabs.get(runtime.database, "tab_1")).given == Money(1000, "eur")


async def test_an_open_tab_stays_uncaptured_however_long_its_room_lasts(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    await opened(runtime, box)
    await give(runtime, "tip_1")
    await stories.hear(runtime, box, now=stories.later(hours=3))
    assert (await tabs.get(runtime.database, "tab_1")).state == "open"
    assert captures_asked(box) == 0
    assert await close(runtime) == "settled"
    assert intent(box) == ("succeeded", 10_000, 546)


async def test_the_cap_holds_a_tip_and_its_card_fee_to_the_cent(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    await opened(runtime, box, 546)
    await opened(runtime, box, 545, name="tab_2")
    assert await give(runtime, "tip_1") == "pending"
    assert await give(runtime, "tip_2", tab="tab_2") == "tab_full"
    assert [await close(runtime), await close(runtime, "tab_2")] == ["settled", "cancelled"]


async def test_an_authorisation_that_lapses_ends_the_tab_and_its_tips(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    await opened(runtime, box)
    await give(runtime, "tip_1")
    box.advance(WEEK_S)
    await stories.hear(runtime, box)
    assert (await tabs.get(runtime.database, "tab_1")).state == "cancelled"
    assert (await tips.get(runtime.database, "tip_1")).state == "cancelled"
    assert await give(runtime, "tip_2") == "tab_not_open"
    assert await close(runtime) == "cancelled"
    assert await stories.told(runtime.database) == ""


async def test_an_authorisation_that_lapsed_unheard_is_noticed_when_the_tab_is_closed(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    await opened(runtime, box)
    await give(runtime, "tip_1")
    box.advance(WEEK_S)
    assert await close(runtime) == "cancelled"
    assert (await tips.get(runtime.database, "tip_1")).state == "cancelled"
    await stories.hear(runtime, box)
    assert await stories.told(runtime.database) == ""
    assert await stories.guilty(runtime.database) == {}


@pytest.mark.parametrize("fault", ["timeout_with_effect", "timeout_without_effect", "503"])
async def test_a_close_while_stripe_is_away_is_captured_when_it_is_back(
    runtime: Runtime, box: Sandbox, fault: str
) -> None:
    await stories.room(runtime.database, runtime.now())
    await opened(runtime, box)
    await give(runtime, "tip_1")
    box.faults.call(fault, "/capture$", times=3)
    assert await close(runtime) == "closing"
    await worker.drain(runtime, runtime.now())
    assert (await tabs.get(runtime.database, "tab_1")).state == "settled"
    await stories.hear(runtime, box)
    assert await stories.guilty(runtime.database) == {}


@pytest.mark.parametrize("surface", ["checkout", "intent"])
async def test_a_tab_that_was_never_authorised_takes_no_tip_and_closes_into_nothing(
    runtime: Runtime, box: Sandbox, surface: Surface
) -> None:
    await stories.room(runtime.database, runtime.now())
    tab = await opened(runtime, box, surface=surface, paid=False)
    assert tab.state == "opening"
    assert await give(runtime, "tip_1") == "tab_not_open"
    await spaces.move(runtime.database, "spc_one", "cancelled", now=runtime.now())
    await stories.hear(runtime, box)
    assert (await tabs.get(runtime.database, "tab_1")).state == "cancelled"
    assert [row["status"] for row in box.state.table("checkout.session").rows] in ([], ["expired"])


async def test_what_was_sent_again_is_the_same_and_what_differs_is_refused(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    first = await opened(runtime, box)
    again = await opened(runtime, box, paid=False)
    assert again.payment.id == first.payment.id
    with pytest.raises(tabs.TabDiffers):
        await opened(runtime, box, 9_999)
    assert [await give(runtime, "tip_1") for _ in range(3)] == ["pending"] * 3
    assert await give(runtime, "tip_1", 501) == "tip_differs"
    unnamed = TabTip("tip_1", "tab_1", Money(500, "eur"), anonymous=True)
    with pytest.raises(tips.TipDiffers):
        await tabs.tip(runtime.database, unnamed, now=runtime.now())
    assert await give(runtime, "tip_2", tab="tab_2") == "not_found"
    await stories.tip(runtime, 500, name="tip_3")
    assert await give(runtime, "tip_3") == "tip_differs"
    assert await close(runtime) == "settled"
    assert await give(runtime, "tip_1") == "settled"
    assert (await tabs.get(runtime.database, "tab_1")).tips == 1
    with pytest.raises(tabs.CapTooSmall) as caught:
        await opened(runtime, box, 80, name="tab_small", paid=False)
    least = caught.value.facts["charge"]
    assert (await opened(runtime, box, least.minor, name="tab_small")).state == "open"


async def test_the_room_must_be_live_and_the_tip_within_the_policy(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    await opened(runtime, box)
    assert await give(runtime, "tip_1", 1) == "below_minimum"
    given = TabTip("tip_2", "tab_1", Money(500, "usd"))
    with pytest.raises(TakingsError):
        await tabs.tip(runtime.database, given, now=runtime.now())
    await spaces.move(runtime.database, "spc_one", "ended", now=runtime.now())
    assert await give(runtime, "tip_3") == "space_not_live"
    wish = TabWish("tab_2", "spc_one", "lis_zoe", Money(1000, "eur"), "intent")
    with pytest.raises(tips.SpaceNotLive):
        await tabs.open(runtime.database, runtime.stripe, wish, now=runtime.now())
