"""Limits of tips: nobody tips themselves, caps count what was given, and haste has to wait."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.runtime import Runtime
from api.settlement import SETTLEMENT
from sandbox.control import Sandbox
from takings.database import Database
from takings.errors import Refused, TakingsError, Unavailable
from takings.money import Money
from takings.payments import payments, refunds
from takings.policies import policies
from takings.policies.presets import PRESETS
from takings.policies.rules import Velocity
from takings.records import BadId, new_id
from takings.spaces import hosts
from takings.spaces.hosts import HostDiffers, ListenerTaken
from tests import stories
from tipping import tips
from tipping.limits import ListenerCapReached, RoomCapReached, SelfTip, TooManyTips
from tipping.tips import Sent, Wish

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
PRESET = PRESETS[stories.CLUBHOUSE]


async def rooms(
    database: Database, *spaces: str, velocity: Velocity | None = None, **caps: Any
) -> None:
    """Live Spaces under a policy with these limits."""
    terms = {currency: replace(PRESET.terms[currency], **caps) for currency in ("eur", "usd")}
    policy = replace(PRESET, name="limited", terms=terms, velocity=velocity)
    await policies.publish(database, policy, now=NOON)
    for space in spaces:
        await stories.room(database, NOON, policy=policy.name, space=space)


async def tip(  # a listener gives so much, so long after noon
    runtime: Runtime,
    minor: int,
    *,
    name: str | None = None,
    space: str = "spc_one",
    listener: str = "lis_zoe",
    currency: str = "eur",
    after: timedelta = timedelta(0),
) -> Sent:
    wish = Wish(name or new_id("tip"), space, listener, Money(minor, currency), "intent")
    return await tips.send(runtime.database, runtime.stripe, wish, now=NOON + after)


async def test_nobody_tips_a_room_whose_money_they_share(runtime: Runtime, box: Sandbox) -> None:
    database = runtime.database
    await hosts.register(database, "host_bob", "Bob", listener="lis_bob", now=NOON)
    await stories.room(database, NOON)
    for listener, host in (("host_ada", "host_ada"), ("lis_bob", "host_bob")):
        with pytest.raises(SelfTip, match=f"{listener} is {host}, who is paid") as caught:
            await tip(runtime, 500, listener=listener)
        assert isinstance(caught.value, Refused)
    assert box.calls("POST", "/v1/payment_intents") == []
    await stories.agreed(database, NOON, {"host_ada": 10_000})
    assert (await tip(runtime, 500, listener="lis_bob")).state == "pending"  # no payee any more


async def test_who_a_host_is_as_a_listener_is_told_once_and_of_one_host(runtime: Runtime) -> None:
    database = runtime.database
    for listener in (None, "lis_ada", "lis_ada", None):  # it may be told later, and again
        ada = await hosts.register(database, "host_ada", "Ada", listener=listener, now=NOON)
    assert ada.listener_id == "lis_ada"
    with pytest.raises(HostDiffers, match="with another listener"):
        await hosts.register(database, "host_ada", "Ada", listener="lis_bob", now=NOON)
    with pytest.raises(ListenerTaken, match="lis_ada is another host"):
        await hosts.register(database, "host_bob", "Bob", listener="lis_ada", now=NOON)
    await hosts.register(database, "host_bob", "Bob", now=NOON)
    with pytest.raises(ListenerTaken):
        await hosts.register(database, "host_bob", "Bob", listener="lis_ada", now=NOON)
    with pytest.raises(BadId):
        await hosts.register(database, "host_bob", "Bob", listener="no id", now=NOON)


async def test_a_listeners_cap_is_for_all_rooms_of_the_policy_and_any_24_hours(
    runtime: Runtime,
) -> None:
    await rooms(runtime.database, "spc_one", "spc_two", listener_maximum=1000)
    await stories.room(runtime.database, NOON, space="spc_free")
    await tip(runtime, 600)
    await tip(runtime, 5000, space="spc_free")  # another policy counts for itself
    await tip(runtime, 300, space="spc_two", after=timedelta(hours=1))
    with pytest.raises(ListenerCapReached) as caught:
        await tip(runtime, 101, space="spc_two", after=timedelta(hours=23))
    assert caught.value.message == (
        "1.01 EUR is more than the 1.00 EUR that the listener may still tip: 10.00 EUR in 24 hours."
    )
    await tip(runtime, 100, after=timedelta(hours=23))
    await tip(runtime, 1000, currency="usd")  # each currency by itself
    await tip(runtime, 1000, listener="lis_yan")  # each listener by themselves
    with pytest.raises(ListenerCapReached, match=r"more than the 0\.00 EUR"):
        await tip(runtime, 50, after=timedelta(hours=24, microseconds=-1))
    await tip(runtime, 600, after=timedelta(hours=24))


async def test_a_rooms_cap_is_what_one_listener_gives_there_however_long_it_lasts(
    runtime: Runtime,
) -> None:
    await rooms(runtime.database, "spc_one", "spc_two", room_maximum=1000)
    await tip(runtime, 950)
    with pytest.raises(RoomCapReached, match=r"0\.51 EUR is more than the 0\.50 EUR .* one room"):
        await tip(runtime, 51, after=timedelta(days=3))
    await tip(runtime, 50, after=timedelta(days=3))
    await tip(runtime, 1000, space="spc_two")
    await tip(runtime, 1000, listener="lis_yan")
    await tip(runtime, 1000, currency="usd")


async def test_a_tip_that_fits_is_the_same_tip_when_it_is_sent_again(runtime: Runtime) -> None:
    await rooms(
        runtime.database,
        "spc_one",
        listener_maximum=500,
        room_maximum=500,
        velocity=Velocity(tips=1, seconds=60),
    )
    for _ in range(2):
        assert (await tip(runtime, 500, name="tip_one")).tip.id == "tip_one"


async def test_what_was_cancelled_counts_no_more_and_what_was_returned_does(
    runtime: Runtime, box: Sandbox
) -> None:
    limits = {"listener_maximum": 500, "room_maximum": 500}
    await rooms(runtime.database, "spc_one", **limits)
    over = [(await tip(runtime, 500)).payment.id]
    with pytest.raises(TakingsError):
        await tip(runtime, 500)
    await runtime.database.run(payments.cancel, over, SETTLEMENT, NOON)
    sent = await tip(runtime, 500)
    box.pay(sent.payment.intent_id)
    await stories.hear(runtime, box)
    await refunds.refund(
        runtime.database, runtime.stripe, "ref_1", sent.payment.id, now=runtime.now()
    )
    for hours, error in ((2, ListenerCapReached), (25, RoomCapReached)):
        with pytest.raises(error):
            await tip(runtime, 50, after=timedelta(hours=hours))


async def test_whoever_tries_card_after_card_is_in_haste_too(runtime: Runtime) -> None:
    await rooms(runtime.database, "spc_one", velocity=Velocity(tips=1, seconds=60))
    over = [(await tip(runtime, 500)).payment.id]
    await runtime.database.run(payments.cancel, over, SETTLEMENT, NOON)
    with pytest.raises(TooManyTips):
        await tip(runtime, 500)


async def test_haste_has_to_wait_and_is_told_how_long(runtime: Runtime) -> None:
    await rooms(runtime.database, "spc_one", "spc_two", velocity=Velocity(tips=3, seconds=60))
    await stories.room(runtime.database, NOON, space="spc_free")
    seconds = [timedelta(seconds=number) for number in range(100)]
    for second, space in ((0, "spc_one"), (10, "spc_two"), (20, "spc_free")):  # whatever room
        await tip(runtime, 500, space=space, after=seconds[second])
    with pytest.raises(TooManyTips) as caught:
        await tip(runtime, 500, name="tip_four", after=seconds[21] + timedelta(milliseconds=1))
    assert isinstance(caught.value, Unavailable)  # the same again, later
    assert caught.value.facts["retry_after_s"] == 39
    assert "3 times in 60 seconds" in caught.value.message
    await tip(runtime, 500, space="spc_free", after=seconds[21])  # where there is no such rule
    await tip(runtime, 500, listener="lis_yan", after=seconds[21])
    with pytest.raises(TooManyTips):
        await tip(runtime, 500, name="tip_four", after=seconds[60])
    await tip(runtime, 500, name="tip_four", after=seconds[70])
