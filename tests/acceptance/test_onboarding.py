"""Onboarding: one account at Stripe for each host, and its state as Stripe shows it."""

import asyncio
from typing import Any

import httpx
import orjson
import pytest

from api import worker
from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.database import Database
from takings.errors import NotFound
from takings.payments import asks
from takings.payments.stripe import StripeAway, StripeRefused
from takings.payouts import onboarding
from takings.payouts.onboarding import Link
from takings.spaces import hosts
from tests import stories
from tests.acceptance.test_asks import crash_after
from tests.conftest import CONNECT_SECRET

PAGES = {"refresh_url": "https://example.com/again", "return_url": "https://example.com/done"}
ASKED = {"country": "de", "email": "ada@example.com", **PAGES}
ACCOUNTS = "/v2/core/accounts"


@pytest.fixture(autouse=True)
async def ada(runtime: Runtime) -> None:
    """Ada is a host."""
    await hosts.register(runtime.database, "host_ada", "Ada", now=runtime.now())


@pytest.fixture
async def hooked(service: str, box: Sandbox) -> None:
    """Stripe tells the service of connected accounts, in events and in thin notifications."""
    where = f"{service}/webhooks/stripe/connect"
    box.webhook(where, CONNECT_SECRET, connect=True)
    box.webhook(where, CONNECT_SECRET, thin=True)


async def link(runtime: Runtime, **changed: Any) -> Link:
    """Ada asks for her page."""
    asked = {**ASKED, "now": runtime.now(), **changed}
    return await onboarding.link(runtime.database, runtime.stripe, "host_ada", **asked)


async def heard(runtime: Runtime, box: Sandbox) -> None:
    """Everything is delivered to the real endpoint, and handled."""
    await box.deliver()
    await worker.drain(runtime, runtime.now())


async def capability(database: Database) -> str:
    """What we think of Ada's account."""
    rows = await database.fetch("SELECT capability FROM hosts WHERE id = 'host_ada'")
    return str(rows[0].capability)


async def account(database: Database) -> str | None:
    """Ada's account."""
    rows = await database.fetch("SELECT stripe_account FROM hosts WHERE id = 'host_ada'")
    found: str | None = rows[0].stripe_account
    return found


async def statuses(database: Database) -> list[str]:
    """What became of the events, one of each kind."""
    rows = await database.fetch("SELECT DISTINCT status FROM events ORDER BY 1")
    return [row.status for row in rows]


async def test_a_host_gets_a_page_and_one_account_however_often_they_ask(
    runtime: Runtime, box: Sandbox
) -> None:
    first, second = await link(runtime), await link(runtime)
    assert first.account == second.account == await account(runtime.database)
    assert len(box.calls("POST", ACCOUNTS)) == 1
    assert first.url.startswith(f"{box.url}/onboard/{first.account}")
    assert first.expires_at > runtime.now()
    assert await capability(runtime.database) == "restricted"
    made = box.calls("POST", ACCOUNTS)[0]
    assert made.idempotency_key == "account:host_ada"
    assert orjson.loads(made.body)["metadata"] == {"takings_host": "host_ada"}


@pytest.mark.usefixtures("hooked")
async def test_the_papers_are_handed_in_and_the_host_can_be_paid(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    answer = await client.post("/v1/hosts/host_ada/onboarding", json=ASKED)
    assert answer.status_code == 200
    told = (await client.get("/v1/hosts/host_ada/account")).json()
    assert (told["capability"], told["due"]) == ("restricted", ["identity.individual.verification"])
    async with httpx.AsyncClient() as browser:
        page = await browser.post(answer.json()["url"])
    assert page.headers["location"] == PAGES["return_url"]
    await heard(runtime, box)
    assert await capability(runtime.database) == "active"
    assert await statuses(runtime.database) == ["done"]
    told = (await client.get("/v1/hosts/host_ada/account")).json()
    assert told == {
        "object": "host_account",
        "host": "host_ada",
        "stripe_account": answer.json()["stripe_account"],
        "capability": "active",
        "due": [],
    }
    rows = await runtime.database.fetch("SELECT DISTINCT endpoint FROM events")
    assert [row.endpoint for row in rows] == ["connect"]
    assert await stories.told(runtime.database) == ""


@pytest.mark.usefixtures("hooked")
async def test_a_closed_account_is_followed_by_a_new_one(runtime: Runtime, box: Sandbox) -> None:
    first = await link(runtime)
    box.capability(first.account)
    box.close_account(first.account)
    await heard(runtime, box)
    assert await capability(runtime.database) == "closed"
    second = await link(runtime)
    assert second.account != first.account
    assert [call.idempotency_key for call in box.calls("POST", ACCOUNTS)] == [
        "account:host_ada",
        "account:host_ada:2",
    ]
    box.capability(second.account)
    await heard(runtime, box)
    assert await capability(runtime.database) == "active"


async def test_a_host_who_comes_back_is_not_sent_to_an_account_that_was_closed_meanwhile(
    runtime: Runtime, box: Sandbox
) -> None:
    first = await link(runtime)
    box.close_account(first.account)  # and no event has come
    assert (await link(runtime)).account != first.account


@pytest.mark.usefixtures("hooked")
async def test_an_account_whose_owner_left_the_platform_is_closed_to_us(
    runtime: Runtime, box: Sandbox
) -> None:
    first = await link(runtime)
    box.capability(first.account)
    await heard(runtime, box)
    box.deauthorize(first.account)
    await heard(runtime, box)
    assert await capability(runtime.database) == "closed"
    assert (await link(runtime)).account != first.account


async def test_a_crash_between_the_account_and_our_note_of_it_makes_no_second_one(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as dying:
        crash_after(dying)
        with pytest.raises(asyncio.CancelledError):
            await link(runtime)
    assert await account(runtime.database) is None
    with pytest.raises(asks.InFlight):  # it holds the lease
        await link(runtime)
    later = stories.later(minutes=2)
    assert await onboarding.unanswered(runtime.database, runtime.stripe, now=later) == 1
    assert len(box.state.table("account").rows) == 1
    assert (await link(runtime)).account == await account(runtime.database)


async def test_who_asks_many_times_at_once_has_one_account(runtime: Runtime, box: Sandbox) -> None:
    every = [link(runtime) for _ in range(12)]
    answers = await asyncio.gather(*every, return_exceptions=True)
    links = [answer for answer in answers if isinstance(answer, Link)]
    assert {type(answer) for answer in answers} <= {Link, asks.InFlight}
    assert {one.account for one in links} == {await account(runtime.database)}
    assert len(box.state.table("account").rows) == 1


async def test_who_looked_before_the_account_was_there_makes_no_second_one(
    runtime: Runtime, box: Sandbox
) -> None:
    first = await link(runtime)
    late = await onboarding._made(  # noqa: SLF001
        runtime.database, runtime.stripe, "host_ada", "de", "ada@example.com", runtime.now()
    )
    assert late == first.account
    assert len(box.state.table("account").rows) == 1


async def test_where_stripe_fails_for_good_there_is_an_account_only_when_its_key_is_forgotten(
    runtime: Runtime, box: Sandbox
) -> None:
    box.faults.call("500", f"{ACCOUNTS}$", method="POST")
    for minutes in (0, 2, 4):
        with pytest.raises(asks.InFlight):
            await link(runtime, now=stories.later(minutes=minutes))
    days_later = stories.later(days=2)
    with pytest.raises(asks.InFlight):
        await link(runtime, now=days_later)
    assert (await link(runtime, now=days_later)).account == await account(runtime.database)


async def test_an_account_whose_key_is_forgotten_is_found_by_its_host(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as dying:
        crash_after(dying)
        with pytest.raises(asyncio.CancelledError):
            await link(runtime)
    for number in range(45):  # newer ones, over several pages
        params = {
            **onboarding._wanted(f"host_{number}", "de", "x@example.com"),  # noqa: SLF001
        }
        await runtime.stripe.ask("v2.core.accounts.create", params, f"another {number}")
    days_later = stories.later(days=2)
    asked = len(box.calls("POST", ACCOUNTS))
    await onboarding.unanswered(runtime.database, runtime.stripe, now=days_later)
    assert len(box.calls("POST", ACCOUNTS)) == asked
    assert await account(runtime.database) == box.state.table("account").rows[0]["id"]


async def test_an_account_that_was_never_made_is_asked_for_anew(
    runtime: Runtime, box: Sandbox
) -> None:
    box.faults.call("timeout_without_effect", ACCOUNTS, times=3)
    with pytest.raises(StripeAway):
        await link(runtime)
    days_later = stories.later(days=2)
    with pytest.raises(asks.InFlight):
        await link(runtime, now=days_later)
    assert (await link(runtime, now=days_later)).account == await account(runtime.database)
    assert box.calls("POST", ACCOUNTS)[-1].idempotency_key == "account:host_ada:2"


async def test_what_stripe_refuses_can_be_put_right(runtime: Runtime, box: Sandbox) -> None:
    with pytest.raises(StripeRefused):
        await link(runtime, email="")
    assert await account(runtime.database) is None
    assert (await link(runtime)).account == await account(runtime.database)
    assert len(box.state.table("account").rows) == 1


async def test_what_a_host_told_stripe_is_not_kept_here(runtime: Runtime) -> None:
    await link(runtime)
    rows = await runtime.database.fetch("SELECT params::text AS params FROM asks")
    assert "ada@example.com" not in rows[0].params


@pytest.mark.parametrize("country", ["", "d", "deu", "d1", "ü"])
async def test_a_country_has_two_letters(runtime: Runtime, box: Sandbox, country: str) -> None:
    with pytest.raises(onboarding.BadCountry):
        await link(runtime, country=country)
    assert not box.requests


async def test_nobody_gets_a_page_for_a_host_who_is_not_there(runtime: Runtime) -> None:
    with pytest.raises(NotFound):
        await onboarding.link(
            runtime.database, runtime.stripe, "host_nobody", **ASKED, now=runtime.now()
        )


@pytest.mark.usefixtures("hooked")
async def test_what_is_told_of_nobodys_account_is_parked_until_it_is_somebodys(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as dying:
        crash_after(dying)
        with pytest.raises(asyncio.CancelledError):
            await link(runtime)
    stranger = onboarding._wanted("host_of_another_platform", "de", "x@example.com")  # noqa: SLF001
    await runtime.stripe.ask("v2.core.accounts.create", stranger, "another platform's")
    ours, theirs = (row["id"] for row in box.state.table("account").rows)
    await heard(runtime, box)
    assert await statuses(runtime.database) == ["parked"]
    box.capability(ours)
    await heard(runtime, box)
    await worker.drain(runtime, stories.later(minutes=2))  # the account becomes Ada's
    await worker.drain(runtime, stories.later(minutes=2))
    rows = await runtime.database.fetch("SELECT DISTINCT account, status FROM events")
    assert {(row.account, row.status) for row in rows} == {(ours, "done"), (theirs, "parked")}
    assert await capability(runtime.database) == "active"


@pytest.mark.usefixtures("hooked")
async def test_what_is_told_of_an_account_in_the_moment_that_it_becomes_somebodys_is_not_parked(
    runtime: Runtime, box: Sandbox
) -> None:
    database, now = runtime.database, runtime.now()
    wanted = "host_ada", "de", "ada@example.com", now
    ask = await database.run(onboarding._write, *wanted)  # noqa: SLF001
    assert isinstance(ask, asks.Ask)
    made = await runtime.stripe.ask(ask.call, ask.params, ask.key)
    await box.deliver()
    async with database.transaction() as session:
        await onboarding._store(session, ask, made, now)  # noqa: SLF001
        handling = asyncio.create_task(worker.drain(runtime, runtime.now()))
        await asyncio.sleep(0.3)
        assert not handling.done()
    await handling
    assert await statuses(database) == ["done"]
