"""A Space that will not be: every ticket ends, everybody has their money, whatever goes wrong."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.database import Database
from takings.spaces import spaces
from tests import box_office, stories
from ticketing import cancellations, comps, purchases, returns, tickets, waitlist
from ticketing.cancellations import Progress
from ticketing.comps import CompWish
from ticketing.tickets import Transfer
from ticketing.waitlist import WaitWish
from ticketing.wishes import TierWish

TIERS = (TierWish("Seat", "fixed", 1000, "tier_seat"), TierWish("Friends", "comp", 0, "tier_comp"))


async def cancelled(runtime: Runtime) -> None:
    await spaces.move(runtime.database, "spc_one", "cancelled", now=runtime.now())


async def progress(database: Database) -> Progress:
    return await database.run(cancellations.progress, "spc_one")


async def returned(box: Sandbox) -> int:
    return sum(row["amount"] for row in box.state.table("refund").rows)


async def sold_to_many(runtime: Runtime, box: Sandbox, many: int) -> list[str]:
    """That many tickets, paid two by two."""
    made = [await box_office.ordered(runtime, f"l{n}", quantity=2) for n in range(many // 2)]
    for one in made:
        assert one.payment is not None
        box.pay(one.payment.intent_id)
    await stories.hear(runtime, box)
    return [ticket.id for one in made for ticket in one.tickets]


async def a_full_house(runtime: Runtime, box: Sandbox) -> str:
    """60 tickets sold, some passed on, 5 given, 10 held, somebody waiting; and a payment to come.

    Answers with its intent.  What another Space leaves pays Stripe's fees.
    """
    database, now = runtime.database, runtime.now()
    dear = (TierWish("Gala", "fixed", 90_000, "tier_gala"),)
    await box_office.planned(runtime, space="spc_other", name="run_other", tiers=dear)
    await box_office.bought(runtime, box, "gala", run="run_other")
    await box_office.planned(runtime, size=80, tiers=TIERS)
    for ticket in (await sold_to_many(runtime, box, 60))[:10]:
        who = (await tickets.get(database, ticket)).ticket.listener_id
        await tickets.transfer(database, ticket, Transfer("lis_friend"), listener=who)
    await comps.give(
        database, CompWish("pur_comp", "run_one", "tier_comp", "lis_guest", 5), now=now
    )
    for name, many in (("undecided", 3), ("rest", 6)):
        assert await box_office.claim(database, name, now=now, quantity=many) == "held"
    late = await box_office.ordered(runtime, "late")
    assert late.payment is not None
    place = WaitWish("wait_one", "run_one", "lis_patient", 8, 8)
    await waitlist.join(database, place, now=now)
    assert await box_office.left(database) == (80, 10, 65)
    return late.payment.intent_id or ""


async def killed_between_batches(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice somebody begins to call it off, and does not come to an end."""
    database = runtime.database
    real, killed_at = database.run, iter([False, True, False, False, True])

    async def run(step: Any, *args: Any, **named: Any) -> Any:
        if next(killed_at, False):
            raise RuntimeError("killed")
        return await real(step, *args, **named)

    with monkeypatch.context() as patched:
        patched.setattr(database, "run", run)
        for voided in (20, 60):
            with pytest.raises(RuntimeError):
                await cancellations.carry(database, now=runtime.now())
            rows = await database.fetch("SELECT count(voided_at) AS n FROM tickets")
            assert rows[0].n == voided


async def test_of_a_cancelled_space_everybody_has_their_money_whatever_happens_meanwhile(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = runtime.database
    late = await a_full_house(runtime, box)
    await cancelled(runtime)
    monkeypatch.setattr(cancellations, "BATCH", 20)
    await killed_between_batches(runtime, monkeypatch)
    box.pay(late)  # before anybody could tell Stripe
    await stories.hear(runtime, box)
    found = await progress(database)
    assert (found.tickets, found.voided) == (65, 65)

    box.faults.call("balance_insufficient", "/v1/refunds$", times=3)
    for minute in (0, 2, 5, 10, 20, 40):
        await stories.hear(runtime, box, now=stories.later(minutes=minute))
    found = await progress(database)
    assert (found.tickets, found.voided, found.to_refund, found.refunded) == (65, 65, 61, 61)
    assert (found.failed, found.paused, found.done) == (0, None, True)
    assert [(one.minor, one.currency) for one in found.amounts] == [(61_000, "eur")]
    assert await returned(box) == 61_000
    assert await box_office.left(database) == (80, 0, 0)
    assert (await purchases.get(database, "pur_late")).state == "unseated"
    assert (await waitlist.get(database, "wait_one", now=runtime.now())).state == "lapsed"
    assert await stories.owed(database, "eur") == {"host_ada": 48_600, "host_bob": 32_400}
    assert await stories.guilty(database) == {}


async def test_an_open_payment_ends_at_stripe_before_its_place_is_free(
    runtime: Runtime, box: Sandbox
) -> None:
    await box_office.planned(runtime)
    made = await box_office.ordered(runtime, "zoe")
    assert made.payment is not None
    await cancelled(runtime)
    await cancellations.carry(runtime.database, now=runtime.now())
    assert await box_office.left(runtime.database) == (10, 1, 0)
    assert not (await progress(runtime.database)).done
    for _ in range(2):
        await stories.hear(runtime, box)
    assert await box_office.left(runtime.database) == (10, 0, 0)
    assert (await purchases.get(runtime.database, "pur_zoe")).state == "cancelled"
    intent = box.state.get("payment_intent", made.payment.intent_id or "")
    assert intent["status"] == "canceled"
    assert (await progress(runtime.database)).done


async def test_a_cancelled_space_sells_nothing_more_and_a_repetition_changes_nothing(
    runtime: Runtime, box: Sandbox
) -> None:
    await box_office.planned(runtime)
    await box_office.bought(runtime, box, "zoe")
    await cancelled(runtime)
    assert await box_office.claim(runtime.database, "ann", now=runtime.now()) == "not_on_sale"
    for _ in range(3):
        await stories.hear(runtime, box)
    assert await returned(box) == 1000
    assert await cancellations.carry(runtime.database, now=runtime.now()) == 0


async def test_a_refund_that_a_bank_sends_back_is_counted_as_failed(
    runtime: Runtime, box: Sandbox
) -> None:
    await box_office.planned(runtime)
    await box_office.bought(runtime, box, "zoe")
    await cancelled(runtime)
    await stories.hear(runtime, box)
    box.fail_refund(box.state.table("refund").rows[0]["id"])
    await stories.hear(runtime, box)
    found = await progress(runtime.database)
    assert (found.refunded, found.failed, found.amounts) == (0, 1, ())


async def test_a_space_with_tickets_that_nobody_opens_is_cancelled_and_refunded(
    runtime: Runtime, box: Sandbox
) -> None:
    start = runtime.now() + timedelta(hours=1)
    await box_office.planned(runtime, starts_at=start)
    await box_office.bought(runtime, box, "zoe")
    await spaces.schedule(  # tips alone: nobody has paid for anything
        runtime.database, "spc_tips", host="host_ada", title="B", policy="house", starts_at=start,
        now=runtime.now(),
    )  # fmt: skip
    too_early = start + cancellations.NO_SHOW - timedelta(microseconds=1)
    assert await cancellations.no_shows(runtime.database, now=too_early) == 0
    await spaces.reschedule(
        runtime.database, "spc_one", start + timedelta(days=1), now=runtime.now()
    )
    assert await cancellations.no_shows(runtime.database, now=start + cancellations.NO_SHOW) == 0
    late = start + timedelta(days=1) + cancellations.NO_SHOW
    assert await cancellations.no_shows(runtime.database, now=late) == 1
    space = await runtime.database.run(spaces.get, "spc_one")
    assert (space.state, space.no_show, space.ended_at) == ("cancelled", True, late)
    assert (await runtime.database.run(spaces.get, "spc_tips")).state == "scheduled"
    await cancellations.carry(runtime.database, now=late)
    await returns.pay(runtime.database, runtime.stripe, now=late)
    rows = await runtime.database.fetch("SELECT cause FROM ticket_refunds")
    assert [row.cause for row in rows] == ["no_show"]
    assert await returned(box) == 1000
    with pytest.raises(spaces.SpaceCannotMove):
        await spaces.move(runtime.database, "spc_one", "live", now=late)


async def test_a_space_that_went_live_is_no_no_show(runtime: Runtime) -> None:
    start = runtime.now() + timedelta(hours=1)
    await box_office.planned(runtime, starts_at=start)
    await spaces.move(runtime.database, "spc_one", "live", now=runtime.now())
    late = start + timedelta(days=1)
    assert await cancellations.no_shows(runtime.database, now=late) == 0


async def test_the_progress_of_a_cancellation_is_told_over_http(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    at = "/v1/spaces/spc_one/cancellation"
    assert (await client.get(at)).status_code == 404
    await box_office.planned(runtime)
    await box_office.bought(runtime, box, "zoe", quantity=2)
    early = await client.get(at)
    assert (early.status_code, early.json()["code"]) == (409, "not_cancelled")
    await client.post("/v1/spaces/spc_one/cancel")
    begun = (await client.get(at)).json()
    assert (begun["tickets"], begun["voided"], begun["done"]) == (2, 0, False)
    box.faults.call("balance_insufficient", "/v1/refunds$")
    await stories.hear(runtime, box)
    paused = (await client.get(at)).json()
    assert (paused["to_refund"], paused["refunded"], paused["done"]) == (2, 0, False)
    assert "balance_insufficient" in paused["paused"]
    await stories.hear(runtime, box, now=stories.later(minutes=2))
    done = (await client.get(at)).json()
    assert done == {
        "object": "cancellation",
        "space": "spc_one",
        "no_show": False,
        "tickets": 2,
        "voided": 2,
        "to_refund": 2,
        "refunded": 2,
        "failed": 0,
        "amounts": [{"amount": 2000, "currency": "eur"}],
        "paused": None,
        "done": True,
    }
