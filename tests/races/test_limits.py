"""Caps hold under fire: of many tips at once exactly as many pass as fit."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.errors import TakingsError
from takings.money import Money
from takings.policies import policies
from takings.policies.presets import PRESETS
from takings.policies.rules import Policy, Velocity
from tests import stories
from tests.conftest import PROVE
from tipping import limits, tips
from tipping.tips import Wish

MANY = 50
ROUNDS = 20 if PROVE else 2
ROOMS = ("spc_one", "spc_two")
BARE = replace(PRESETS[stories.CLUBHOUSE].terms["eur"])
PRESET = replace(PRESETS[stories.CLUBHOUSE], name="capped")
RULES = {
    "listener_cap_reached": replace(
        PRESET, terms={"eur": replace(BARE, listener_maximum=10 * 500)}
    ),
    "room_cap_reached": replace(PRESET, terms={"eur": replace(BARE, room_maximum=10 * 500)}),
    "too_many_tips": replace(PRESET, terms={"eur": BARE}, velocity=Velocity(10, 3600)),
}


async def rooms(runtime: Runtime, policy: Policy, *spaces: str) -> None:
    await policies.publish(runtime.database, policy, now=runtime.now())
    for space in spaces:
        await stories.room(runtime.database, runtime.now(), policy=policy.name, space=space)


async def send(runtime: Runtime, name: str, space: str, listener: str) -> str:
    """Send a tip of 5.00; the code of what came of it."""
    wish = Wish(name, space, listener, Money(500, "eur"), "intent")
    try:
        sent = await tips.send(runtime.database, runtime.stripe, wish, now=runtime.now())
    except TakingsError as error:
        return error.code
    return sent.state


@pytest.mark.parametrize("code", RULES)
async def test_of_fifty_tips_at_once_exactly_ten_fit_under_a_cap_of_ten(
    runtime: Runtime, box: Sandbox, code: str
) -> None:
    spaces = ROOMS[:1] if code == "room_cap_reached" else ROOMS
    await rooms(runtime, RULES[code], *spaces)
    for turn in range(ROUNDS):
        sending = (
            send(runtime, f"tip_{turn}_{n}", spaces[n % len(spaces)], f"lis_{turn}")
            for n in range(MANY)
        )
        answers = Counter(await asyncio.gather(*sending))
        assert answers == {"pending": 10, code: MANY - 10}
    assert len(box.calls("POST", "/v1/payment_intents")) == 10 * ROUNDS


async def test_the_same_tip_sent_many_times_at_once_fits_as_often_as_it_is_sent(
    runtime: Runtime, box: Sandbox
) -> None:
    full = replace(PRESET, terms={"eur": replace(BARE, listener_maximum=500, room_maximum=500)})
    await rooms(runtime, replace(full, velocity=Velocity(1, 3600)), "spc_one")
    sending = (send(runtime, "tip_one", "spc_one", "lis_zoe") for _ in range(20))
    assert set(await asyncio.gather(*sending)) <= {"pending", "in_flight"}
    assert len(box.calls("POST", "/v1/payment_intents")) == 1


async def test_control_without_the_turns_a_cap_is_passed(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rooms(runtime, RULES["listener_cap_reached"], "spc_one")
    monkeypatch.setattr(limits, "TAKE_TURNS", "SELECT $1::text")
    sending = (send(runtime, f"tip_{n}", "spc_one", "lis_zoe") for n in range(MANY))
    assert Counter(await asyncio.gather(*sending))["pending"] > 10
