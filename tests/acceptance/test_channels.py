"""Through an app store a sale is priced, and never settled: it is refused, whatever it is of."""

from typing import Any

import httpx
import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.database import Database
from takings.money import Money
from takings.payments import orders
from takings.policies.rules import Channel
from tests import box_office, stories
from ticketing.wishes import TierWish
from tipping import tips
from tipping.tips import Wish

WRITTEN = """
SELECT (SELECT count(*) FROM tips) AS tips, (SELECT count(*) FROM tabs) AS tabs,
       (SELECT count(*) FROM purchases) AS purchases, (SELECT count(*) FROM payments) AS payments,
       (SELECT count(*) FROM asks) AS asks
"""


async def written(database: Database) -> tuple[int, ...]:
    """How much there is of whatever a sale writes."""
    (found,) = await database.fetch(WRITTEN)
    return tuple(found)


PAYS = {"listener": "lis_zoe", "surface": "intent"}
SALES = {
    "/v1/tips": PAYS | {"space": "spc_one", "amount": 500, "currency": "eur"},
    "/v1/tabs": PAYS | {"space": "spc_one", "cap": 2000, "currency": "eur"},
    "/v1/purchases": PAYS | {"hold": "hold_zoe"},
}


@pytest.mark.parametrize("channel", ["ios", "android"])
@pytest.mark.parametrize("path", SALES)
async def test_a_sale_through_a_store_is_refused_and_nothing_is_written(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient, path: str, channel: Channel
) -> None:
    database = runtime.database
    await box_office.run(database, runtime.now())
    await box_office.claim(database, "zoe", now=runtime.now())
    asked = len(box.state.table("payment_intent").rows)
    answer = await client.post(path, json=SALES[path] | {"channel": channel})
    assert answer.status_code == 403
    told = answer.json()
    assert (told["code"], told["param"]) == ("channel_not_settled", "channel")
    assert f"through {channel}" in told["detail"]
    assert await written(database) == (0, 0, 0, 0, 0)
    assert len(box.state.table("payment_intent").rows) == asked
    taken = await client.post(path, json=SALES[path] | {"channel": "web"})  # the control
    assert taken.status_code == 200, taken.text
    assert sum(await written(database)) > 0


async def test_what_costs_nothing_is_no_sale_of_the_stores(
    runtime: Runtime, client: httpx.AsyncClient
) -> None:
    database, now = runtime.database, runtime.now()
    free: Any = (TierWish("Guest", "free", 0, "tier_free"),)
    await box_office.run(database, now, tiers=free)
    await box_office.claim(database, "zoe", now=now)
    bought = await client.post("/v1/purchases", json=SALES["/v1/purchases"] | {"channel": "ios"})
    assert bought.json()["state"] == "settled"


async def test_from_python_it_is_the_same(runtime: Runtime) -> None:
    await stories.room(runtime.database, runtime.now())
    cents = Money(500, "eur")
    wish = Wish("tip_one", "spc_one", "lis_zoe", cents, "intent", channel="ios")
    with pytest.raises(orders.ChannelNotSettled) as refused:
        await tips.send(runtime.database, runtime.stripe, wish, now=runtime.now())
    assert "preview" in refused.value.remedy
