"""Bad input about tickets is told what is wrong, under a stable code, and nothing is lost by it.

The control: the same requests without their one mistake are taken.
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from api.runtime import Runtime
from api.settings import sealed
from takings.payments.stripe import Stripe
from takings.spaces import spaces
from tests import at_the_door, box_office
from tests.acceptance.conftest import documented
from tests.acceptance.world import World, grown, inside
from ticketing import codes, door_keys, holds
from ticketing.codes import CodeWish
from ticketing.wishes import TierWish

Asked = tuple[str, Any]
Problem = tuple[int, str, str | None]

HUGE = 10**9
ZOE, EVE = {"listener": "lis_zoe"}, {"listener": "lis_eve"}


def hold(**changed: Any) -> Asked:
    return "/v1/holds", {"run": "run_one", "listener": "lis_eve", "surface": None} | changed


def buy(hold: str = "hold_zoe", **changed: Any) -> Asked:
    told = {"hold": hold, "listener": f"lis_{hold[5:]}", "surface": "intent"}
    return "/v1/purchases", told | changed


def comp(**changed: Any) -> Asked:
    return "/v1/runs/run_one/comps", {"tier": "tier_guest", "listener": "lis_eve"} | changed


def wait(run: str = "run_full", **changed: Any) -> Asked:
    return f"/v1/runs/{run}/waiting", EVE | changed


def door(said: str, **changed: Any) -> Asked:
    return "/v1/admissions", {"pass": said, "space": "spc_one", "door": "north"} | changed


def run(**changed: Any) -> Asked:
    step = {"name": "Seat", "price": 1000}
    return "/v1/runs", {"space": "spc_one", "size": 10, "currency": "eur", "tiers": [step]} | changed


def edit(what: str, **changed: Any) -> Asked:
    return f"PATCH /v1/runs/{what}", changed


TYPED = (422, "invalid_request")
BAD: Mapping[str, tuple[Asked, Problem]] = {
    # what is wrong: (path, body), (status, code, param)
    "no tickets": (hold(quantity=0), (422, "quantity_out_of_range", "quantity")),
}
