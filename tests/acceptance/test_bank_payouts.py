"""What Stripe pays to a host's own bank is shown to the host, and the books do not know of it."""

import httpx
import pytest

from api import worker
from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.payments import objects, webhooks
from takings.payments.facts import Overtaken, Told
from takings.payouts import banks
from tests import paying, stories
from tests.conftest import CONNECT_SECRET

DAY = 86_400


@pytest.fixture
async def account(runtime: Runtime, box: Sandbox) -> str:
    """Ada has been paid 9.00 EUR to her account at Stripe."""
    await paying.evening(runtime, box, 900)
    found = await paying.payee(runtime, box)
    await paying.pay(runtime)
    await paying.paying(runtime)
    await paying.hear(runtime, box)
    assert box.balance("eur", found)["available"] == 900
    return found


async def shown(client: httpx.AsyncClient) -> list[tuple[int, str, str | None]]:
    """What Ada is shown."""
    answer = await client.get("/v1/hosts/host_ada/bank_payouts")
    assert answer.status_code == 200
    return [(one["amount"], one["status"], one["failure"]) for one in answer.json()["data"]]


async def test_a_host_sees_the_money_go_to_the_bank_and_come_back(
    runtime: Runtime, box: Sandbox, service: str, client: httpx.AsyncClient, account: str
) -> None:
    before = await stories.told(runtime.database)
    box.webhook(f"{service}/webhooks/stripe/connect", CONNECT_SECRET, connect=True)
    payout = box.host_payout(account, "eur")
    await box.deliver()
    await worker.drain(runtime, runtime.now())
    assert await shown(client) == [(900, "pending", None)]
    box.advance(3 * DAY)
    await box.deliver()
    await worker.drain(runtime, runtime.now())
    assert await shown(client) == [(900, "paid", None)]
    box.fail_payout(payout["id"], account)
    await box.deliver()
    await worker.drain(runtime, runtime.now())
    assert await shown(client) == [(900, "failed", "account_closed")]
    assert await stories.told(runtime.database) == before
    assert (await client.get("/v1/platform_payouts")).json()["data"] == []
    rows = await runtime.database.fetch("SELECT DISTINCT status FROM events")
    assert [row.status for row in rows] == ["done"]


async def test_a_host_who_is_not_there_has_no_bank(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/hosts/host_nobody/bank_payouts")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_in_whatever_order_the_events_come_the_payout_is_as_it_is(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient, account: str
) -> None:
    payout = box.host_payout(account, "eur")
    box.advance(3 * DAY)
    box.fail_payout(payout["id"], account)
    told = [objects.notice(one) for one in box.events if one["type"].startswith("payout.")]
    for one in reversed(told):
        await webhooks.receive(runtime.database, [("connect", one)], now=runtime.now())
        await worker.drain(runtime, runtime.now())
        assert await shown(client) == [(900, "failed", "account_closed")]


async def test_a_host_cannot_pass_a_payout_off_as_the_platforms(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient, account: str
) -> None:
    await runtime.database.fetch(
        "INSERT INTO bank_payouts (id, minor, currency, status, created_at, updated_at)"
        " VALUES ('bp_1', 900, 'eur', 'asked', now(), now())"
    )
    payout = box.host_payout(account, "eur")
    payout["metadata"] = {banks.NAMED: "bp_1"}
    await paying.hear(runtime, box)
    assert await shown(client) == [(900, "pending", None)]
    rows = await runtime.database.fetch("SELECT status FROM bank_payouts WHERE id = 'bp_1'")
    assert rows[0].status == "asked"
    assert "assets:stripe:in_transit" not in await stories.told(runtime.database)


async def test_of_two_who_look_at_once_the_older_view_is_not_booked_last(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient, account: str
) -> None:
    payout = box.host_payout(account, "eur")
    told = Told("payout.updated", runtime.now(), {"id": payout["id"]}, account)
    older = await banks.learn(runtime.database, runtime.stripe, told)
    box.advance(3 * DAY)
    newer = await banks.learn(runtime.database, runtime.stripe, told)
    await runtime.database.run(banks.book, newer, runtime.now())
    with pytest.raises(Overtaken):
        await runtime.database.run(banks.book, older, runtime.now())
    assert await shown(client) == [(900, "paid", None)]
