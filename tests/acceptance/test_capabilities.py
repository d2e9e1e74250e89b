"""Capabilities: what we think of an account is what Stripe shows, whatever comes in which order."""

from typing import Any

import pytest

from api import worker
from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.payments import facts, objects, stripe, webhooks
from takings.payments.facts import Overtaken, Told
from takings.payments.stripe import Stripe
from takings.payouts import capabilities, onboarding
from takings.spaces import hosts
from tests.acceptance.test_onboarding import (
    ASKED,
    ada,
    capability,
    heard,
    hooked,
    link,
    statuses,
)

__all__ = ["ada", "hooked"]  # the fixtures


@pytest.mark.usefixtures("hooked")
@pytest.mark.parametrize("status", ["pending", "restricted", "rejected", "unsupported", "active"])
async def test_whatever_stripe_says_of_an_account_is_what_we_think(
    runtime: Runtime, box: Sandbox, status: str
) -> None:
    found = await link(runtime)
    box.capability(found.account, status)
    await heard(runtime, box)
    assert await capability(runtime.database) == status


def test_what_stripe_may_say_next_year_counts_as_restricted() -> None:
    transfers = {"stripe_transfers": {"status": "a_word_of_next_year"}}
    shown = {
        "closed": False,
        "configuration": {"recipient": {"capabilities": {"stripe_balance": transfers}}},
    }
    assert capabilities.said(shown, "active") == "restricted"
    assert capabilities.said({"closed": False, "configuration": None}, "active") == "restricted"
    assert capabilities.said(None, "active") == "restricted"
    assert capabilities.said({"closed": True}, "active") == "closed"
    assert capabilities.said(None, "closed") == "closed"


async def test_an_account_that_is_not_shown_to_us_is_only_restricted(
    runtime: Runtime, box: Sandbox
) -> None:
    found = await link(runtime)
    box.capability(found.account)
    await capabilities.sweep(runtime.database, runtime.stripe, now=runtime.now())
    assert await capability(runtime.database) == "active"
    box.state.get("account", found.account)["deauthorized"] = True  # or it is the wrong key
    await capabilities.sweep(runtime.database, runtime.stripe, now=runtime.now())
    assert await capability(runtime.database) == "restricted"
    box.state.get("account", found.account)["deauthorized"] = False
    await capabilities.sweep(runtime.database, runtime.stripe, now=runtime.now())
    assert await capability(runtime.database) == "active"


async def test_the_sweep_goes_round_all_accounts(runtime: Runtime, box: Sandbox) -> None:
    for name in ("bob", "cyd", "dee"):
        await hosts.register(runtime.database, f"host_{name}", name, now=runtime.now())
        await onboarding.link(
            runtime.database, runtime.stripe, f"host_{name}", **ASKED, now=runtime.now()
        )
    for row in box.state.table("account").rows:
        row["status"] = "active"  # nobody tells us
    looked = [
        await capabilities.sweep(runtime.database, runtime.stripe, now=runtime.now(), most=2)
        for _ in range(3)
    ]
    assert looked == [2, 1, 2]
    rows = await runtime.database.fetch("SELECT capability FROM hosts WHERE id <> 'host_ada'")
    assert [row.capability for row in rows] == ["active"] * 3


@pytest.mark.parametrize("kind", ["account.updated", "capability.updated"])
async def test_an_event_is_not_believed_but_asked_about(
    runtime: Runtime, box: Sandbox, kind: str
) -> None:
    found = await link(runtime)
    event = {
        "id": "evt_claims",
        "object": "event",
        "type": kind,
        "created": box.now,
        "api_version": stripe.API_VERSION,
        "account": found.account,
        "data": {"object": {"object": "account", "capabilities": {"transfers": "active"}}},
    }
    told = [("connect", objects.notice(event))]
    await webhooks.receive(runtime.database, told, now=runtime.now())
    await worker.drain(runtime, runtime.now())
    assert await capability(runtime.database) == "restricted"
    assert await statuses(runtime.database) == ["done"]


async def test_of_two_who_look_at_once_the_older_view_is_not_booked_last(
    runtime: Runtime, box: Sandbox
) -> None:
    found = await link(runtime)
    told = Told("account.updated", runtime.now(), {}, found.account)
    older = await capabilities.learn(runtime.database, runtime.stripe, told)
    box.capability(found.account)
    newer = await capabilities.learn(runtime.database, runtime.stripe, told)
    await runtime.database.run(capabilities.book, newer, runtime.now())
    with pytest.raises(Overtaken):
        await runtime.database.run(capabilities.book, older, runtime.now())
    assert await capability(runtime.database) == "active"


async def test_an_older_view_loses_also_where_the_newer_one_changed_nothing(
    runtime: Runtime, box: Sandbox
) -> None:
    found = await link(runtime)
    told = Told("account.updated", runtime.now(), {}, found.account)
    box.capability(found.account)
    older = await capabilities.learn(runtime.database, runtime.stripe, told)
    box.capability(found.account, "restricted")
    newer = await capabilities.learn(runtime.database, runtime.stripe, told)
    await runtime.database.run(capabilities.book, newer, runtime.now())
    with pytest.raises(Overtaken):
        await runtime.database.run(capabilities.book, older, runtime.now())
    assert await capability(runtime.database) == "restricted"


async def test_who_looks_while_somebody_else_does_looks_again(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await link(runtime)
    box.capability(found.account)
    shown, looks = Stripe.fetch, []

    async def interrupted(self: Stripe, kind: str, account_id: str, *more: Any) -> Any:
        answer = await shown(self, kind, account_id, *more)
        if not looks:
            box.capability(found.account, "rejected")
            told = Told("account.updated", runtime.now(), {}, account_id)
            looks.append(told)
            view = await capabilities.learn(runtime.database, runtime.stripe, told)
            await runtime.database.run(capabilities.book, view, runtime.now())
        return answer

    monkeypatch.setattr(Stripe, "fetch", interrupted)
    seen = await capabilities.look(runtime.database, runtime.stripe, "host_ada", now=runtime.now())
    assert seen.capability == await capability(runtime.database) == "rejected"


def test_every_reader_reads_what_no_fact_says() -> None:
    assert not set(capabilities.READERS) & {*facts.PROOFS, *facts.OVER, *facts.FETCHED}
