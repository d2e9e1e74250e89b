"""The house gives tickets away: out of the same quota, valid at once, once."""

from dataclasses import replace
from typing import Any

import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.errors import TakingsError
from tests import box_office, stories
from ticketing import comps
from ticketing.comps import CompWish
from ticketing.purchases import Bought
from ticketing.wishes import TierWish

TIERS = (
    TierWish("Seat", "fixed", 1000, "tier_seat"),
    TierWish("Guests", "comp", 0, "tier_guests", size=4),
)
THREE = CompWish("pur_guests", "run_one", "tier_guests", "lis_ann", 3, ("Ann", "Bea", "Cyd"))


async def opened(runtime: Runtime, **named: Any) -> None:
    await box_office.run(runtime.database, runtime.now(), size=5, tiers=TIERS, **named)


async def give(runtime: Runtime, wish: CompWish = THREE) -> Bought:
    return await comps.give(runtime.database, wish, now=runtime.now())


async def refused(runtime: Runtime, wish: CompWish) -> str:
    with pytest.raises(TakingsError) as error:
        await give(runtime, wish)
    return error.value.code


async def test_given_tickets_are_valid_at_once_and_come_out_of_the_runs_quota(
    runtime: Runtime, box: Sandbox
) -> None:
    await opened(runtime, opens_at=stories.later(days=1))  # the house needs no sale
    given = await give(runtime)
    assert (given.state, given.payment) == ("settled", None)
    told = [(one.number, one.holder, one.minor, one.state) for one in given.tickets]
    names = THREE.holders
    assert told == [(n, name, 0, "valid") for n, name in enumerate(names, 1)]
    assert await box_office.left(runtime.database) == (5, 0, 3)
    assert await box_office.left(runtime.database, "tier_guests") == (4, 0, 3)
    assert await give(runtime) == given
    assert await box_office.left(runtime.database) == (5, 0, 3)
    assert box.requests == []
    assert await stories.guilty(runtime.database) == {}


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"quantity": 2, "holders": ()}, "purchase_differs"),
        ({"holders": ("Ann", "Bea", "Dot")}, "purchase_differs"),
        ({"id": "pur_two", "quantity": 2, "holders": ()}, "sold_out"),
        ({"id": "pur_two", "holders": ("Ann",)}, "holders_do_not_match"),
        ({"id": "pur_two", "quantity": 0, "holders": ()}, "quantity_out_of_range"),
        ({"id": "pur_two", "quantity": 10**9, "holders": ()}, "quantity_out_of_range"),
        ({"id": "pur_two", "tier": "tier_seat"}, "not_a_comp"),
        ({"id": "pur_two", "tier": "tier_none"}, "not_found"),
        ({"id": "pur_two", "run": "run_none"}, "not_found"),
    ],
)
async def test_what_cannot_be_given_is_refused_and_changes_nothing(
    runtime: Runtime, changed: dict[str, Any], code: str
) -> None:
    await opened(runtime)
    await give(runtime)
    assert await refused(runtime, replace(THREE, **changed)) == code
    assert await box_office.left(runtime.database) == (5, 0, 3)


async def test_what_is_given_is_not_for_sale_and_what_is_sold_cannot_be_given(
    runtime: Runtime,
) -> None:
    await opened(runtime)
    await give(runtime)
    now = runtime.now()
    assert await box_office.claim(runtime.database, "zoe", now=now, quantity=3) == "sold_out"
    assert await box_office.claim(runtime.database, "zoe", now=now, quantity=2) == "held"
    one = replace(THREE, id="pur_two", quantity=1, holders=())
    assert await refused(runtime, one) == "sold_out"
