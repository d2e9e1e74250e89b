"""Tickets given back: when that is possible, where the money goes, and that it arrives once."""

from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.errors import TakingsError
from takings.money import Money
from takings.payments import refunds
from takings.spaces import spaces
from tests import at_the_door, box_office, stories
from ticketing import comps, door_keys, returns, tickets
from ticketing.comps import CompWish
from ticketing.tickets import Issued, Transfer
from ticketing.wishes import TierWish

DAY = timedelta(days=1)


async def bought(
    runtime: Runtime, box: Sandbox, *, quantity: int = 1, starts_in: timedelta | None = 3 * DAY
) -> list[str]:
    """Tickets that can be given back until a day before the Space starts."""
    starts_at = None if starts_in is None else runtime.now() + starts_in
    await box_office.planned(runtime, starts_at=starts_at, refund_until_h=24)
    made = await box_office.bought(runtime, box, "zoe", quantity=quantity)
    return [ticket.id for ticket in made.tickets]


async def back(
    runtime: Runtime, ticket: str, *, listener: str = "lis_zoe", now: datetime | None = None
) -> Issued:
    at = now or runtime.now()
    return await returns.give_back(
        runtime.database, runtime.stripe, ticket, listener=listener, now=at
    )


async def refused(runtime: Runtime, ticket: str, **named: object) -> str:
    with pytest.raises(TakingsError) as refusal:
        await back(runtime, ticket, **named)  # type: ignore[arg-type]
    return refusal.value.code


def asked(box: Sandbox) -> int:
    return len(box.calls("POST", "/v1/refunds"))


async def test_a_ticket_given_back_in_time_frees_its_place_and_all_of_its_money_returns(
    runtime: Runtime, box: Sandbox
) -> None:
    (ticket,) = await bought(runtime, box)
    done = await back(runtime, ticket)
    assert (done.ticket.state, done.refund_state) == ("void", "done")
    assert await box_office.left(runtime.database) == (10, 0, 0)
    assert done.refund is not None
    await stories.hear(runtime, box)
    refund = done.refund.refund_id
    assert (
        f"""\
refund:{refund}:booked
  liabilities:host:host_ada:held +540 eur
  liabilities:host:host_bob:held +360 eur
  liabilities:deferred:tickets +100 eur
  clearing:refunds -1000 eur
"""
        in await stories.told(runtime.database)
    )
    assert set((await stories.owed(runtime.database, "eur")).values()) == {0}
    again = await back(runtime, ticket)
    assert again.refund is not None
    assert (again.refund.refund_id, asked(box)) == (refund, 1)
    assert await refused(runtime, ticket, listener="lis_max") == "not_your_ticket"
    assert list(await stories.guilty(runtime.database)) == ["covered"], "Stripe keeps its fee"


async def test_one_of_three_tickets_goes_back_and_the_others_stay(
    runtime: Runtime, box: Sandbox
) -> None:
    first, second, third = await bought(runtime, box, quantity=3)
    await back(runtime, second)
    lines = await runtime.database.fetch("SELECT subject, returned FROM lines ORDER BY subject")
    assert {row.subject: row.returned for row in lines} == {first: 0, second: 1000, third: 0}
    states = [(await tickets.get(runtime.database, one)).ticket.state for one in (first, third)]
    assert states == ["valid", "valid"]
    assert await box_office.left(runtime.database) == (10, 0, 2)
    assert await stories.guilty(runtime.database) == {}


async def test_a_ticket_can_be_given_back_until_so_many_hours_before_and_not_later(
    runtime: Runtime, box: Sandbox
) -> None:
    first, second = await bought(runtime, box, quantity=2)
    space = await runtime.database.run(spaces.get, "spc_one")
    assert space.starts_at is not None
    until = space.starts_at - DAY
    assert (await back(runtime, first, now=until)).ticket.state == "void"
    late = until + timedelta(microseconds=1)
    assert await refused(runtime, second, now=late) == "refund_too_late"
    await spaces.move(runtime.database, "spc_one", "live", now=runtime.now())
    assert await refused(runtime, second) == "refund_too_late"
    await spaces.move(runtime.database, "spc_one", "cancelled", now=runtime.now())
    assert await refused(runtime, second) == "refund_too_late", "its money comes by itself"


async def test_what_cannot_be_given_back_says_why(runtime: Runtime, box: Sandbox) -> None:
    (ticket,) = await bought(runtime, box, starts_in=None)
    assert await refused(runtime, ticket) == "refund_not_offered", "nobody knows when it starts"
    assert await refused(runtime, ticket, listener="lis_max") == "not_your_ticket"
    assert await refused(runtime, "tkt_none") == "not_found"
    pending = (await box_office.ordered(runtime, "ann")).tickets[0].id
    assert await refused(runtime, pending, listener="lis_ann") == "ticket_not_paid"
    shown = await runtime.database.run(door_keys.sign, ticket, now=runtime.now())
    assert await at_the_door.scanned(runtime.database, shown, runtime.now()) == "admitted"
    assert await refused(runtime, ticket) == "ticket_used"
    void = "SELECT void_tickets('run_one', ARRAY[$1], 'cancelled', $2)"
    await runtime.database.fetch(void, ticket, runtime.now())
    assert await refused(runtime, ticket) == "ticket_void"


async def test_whose_space_is_moved_may_opt_out_until_it_starts_if_they_bought_before(
    runtime: Runtime, box: Sandbox
) -> None:
    start = runtime.now() + timedelta(hours=2)
    await box_office.planned(runtime, starts_at=start)
    made = await box_office.bought(runtime, box, "zoe", quantity=2)
    first, second = (ticket.id for ticket in made.tickets)
    assert await refused(runtime, first) == "refund_not_offered"
    for _ in range(2):
        moved = await spaces.reschedule(
            runtime.database, "spc_one", start + 3 * DAY, now=runtime.now()
        )
    assert moved.starts_at == start + 3 * DAY
    later = await box_office.bought(runtime, box, "ann")
    assert await refused(runtime, later.tickets[0].id, listener="lis_ann") == "refund_not_offered"
    done = await back(runtime, first)
    assert done.refund is not None
    assert (done.refund.cause, done.refund_state) == ("rescheduled", "done")
    assert await refused(runtime, second, now=start + 3 * DAY) == "refund_not_offered"


async def test_whose_space_is_moved_while_they_pay_may_opt_out_too(
    runtime: Runtime, box: Sandbox
) -> None:
    await box_office.planned(runtime, starts_at=runtime.now() + DAY)
    made = await box_office.ordered(runtime, "zoe")
    await spaces.reschedule(runtime.database, "spc_one", runtime.now() + 3 * DAY, now=runtime.now())
    box.pay(made.payment.intent_id if made.payment else None)
    await stories.hear(runtime, box)
    done = await back(runtime, made.tickets[0].id)
    assert done.refund is not None
    assert (done.refund.cause, done.refund_state) == ("rescheduled", "done")


async def test_what_is_owed_for_a_ticket_is_not_released_to_the_hosts(
    runtime: Runtime, box: Sandbox
) -> None:
    """Stripe's balance is empty, or the charge disputed, until long after the Space."""
    (ticket,) = await bought(runtime, box)
    box.faults.call("503", path="/v1/refunds", times=1000)
    assert (await back(runtime, ticket)).refund_state in ("owed", "asked")
    await spaces.move(runtime.database, "spc_one", "live", now=runtime.now())
    await stories.end(runtime, box)
    assert ":released" not in await stories.told(runtime.database)
    box.faults.clear()
    for days in (32, 33):  # first that Stripe has no such refund, then another
        await stories.hear(runtime, box, now=stories.later(days=days))
    assert (await tickets.get(runtime.database, ticket)).refund_state == "done"
    told = await stories.told(runtime.database)
    assert ("host_ada:held +540 eur" in told, "available +540" in told) == (True, False)


async def test_the_money_of_a_gift_goes_back_to_who_paid_for_it(
    runtime: Runtime, box: Sandbox
) -> None:
    (ticket,) = await bought(runtime, box)
    await tickets.transfer(runtime.database, ticket, Transfer("lis_max"), listener="lis_zoe")
    assert await refused(runtime, ticket) == "not_your_ticket"
    done = await back(runtime, ticket, listener="lis_max")
    assert done.refund_state == "done"
    rows = await runtime.database.fetch("SELECT listener_id, id FROM payments")
    found = await runtime.database.fetch("SELECT payment_id FROM refunds")
    assert [(row.listener_id, row.id) for row in rows] == [("lis_zoe", found[0].payment_id)]


async def test_a_ticket_that_cost_nothing_goes_back_without_stripe(
    runtime: Runtime, box: Sandbox
) -> None:
    tiers = (TierWish("Friends", "comp", 0, "tier_comp"), TierWish("Open", "free", 0, "tier_free"))
    start = runtime.now() + 3 * DAY
    await box_office.planned(runtime, starts_at=start, tiers=tiers, refund_until_h=1)
    free = (await box_office.bought(runtime, box, "zoe")).tickets[0].id
    wish = CompWish("pur_comp", "run_one", "tier_comp", "lis_zoe")
    comp = (await comps.give(runtime.database, wish, now=runtime.now())).tickets[0].id
    for ticket in (free, comp):
        done = await back(runtime, ticket)
        assert (done.ticket.state, done.refund) == ("void", None)
    assert await box_office.left(runtime.database) == (10, 0, 0)
    assert box.requests == []


async def test_who_covered_the_card_fee_gets_the_price_back_where_the_policy_says_so(
    runtime: Runtime, box: Sandbox
) -> None:
    start = runtime.now() + 3 * DAY
    await box_office.planned(runtime, starts_at=start, policy=stories.CLUBHOUSE, refund_until_h=1)
    ticket = (await box_office.bought(runtime, box, "zoe")).tickets[0].id
    done = await back(runtime, ticket)
    assert done.refund is not None
    found = await runtime.database.fetch("SELECT minor FROM refunds")
    paid = await runtime.database.fetch("SELECT minor FROM payments")
    assert (found[0].minor, paid[0].minor) == (1000, 1061)
    assert await stories.guilty(runtime.database) == {}


@pytest.mark.parametrize("fault", ["timeout_with_effect", "timeout_without_effect", "503"])
async def test_what_stripe_did_not_answer_is_paid_once_all_the_same(
    runtime: Runtime, box: Sandbox, fault: str
) -> None:
    (ticket,) = await bought(runtime, box)
    box.faults.call(fault, "/v1/refunds$", times=3)
    owed = await back(runtime, ticket)
    assert (owed.ticket.state, owed.refund_state) == ("void", "asked")
    for _ in range(2):
        await stories.hear(runtime, box, now=stories.later(minutes=2))
    assert (await tickets.get(runtime.database, ticket)).refund_state == "done"
    assert [row.minor for row in await runtime.database.fetch("SELECT minor FROM refunds")] == [
        1000
    ]
    assert len(box.state.table("refund").rows) == 1


async def test_an_empty_balance_pauses_all_refunds_of_its_currency_until_there_is_money(
    runtime: Runtime, box: Sandbox
) -> None:
    start = runtime.now() + 3 * DAY
    await box_office.planned(runtime, starts_at=start, refund_until_h=24)
    names = ("zoe", "ann", "max")
    owned = [(await box_office.bought(runtime, box, name)).tickets[0].id for name in names]
    box.faults.call("balance_insufficient", "/v1/refunds$", times=4)
    paused = await back(runtime, owned[0])
    assert (paused.ticket.state, paused.refund_state) == ("void", "owed")
    assert paused.refund is not None
    assert "balance_insufficient" in (paused.refund.error or "")
    void = "SELECT void_tickets('run_one', $1, 'cancelled', $2)"
    await runtime.database.fetch(void, owned[1:], runtime.now())
    for _ in range(3):
        await stories.hear(runtime, box)
    assert asked(box) == 1, "the others wait with it"
    await stories.hear(runtime, box, now=stories.later(seconds=61))  # tried anew: still empty
    assert asked(box) == 4
    await stories.hear(runtime, box, now=stories.later(seconds=122))  # the first waits longer now
    assert asked(box) == 4
    await stories.hear(runtime, box, now=stories.later(minutes=4))
    for ticket in owned:
        assert (await tickets.get(runtime.database, ticket)).refund_state == "done"
    assert len(box.state.table("refund").rows) == 3
    assert set((await stories.owed(runtime.database, "eur")).values()) == {0}


async def test_one_that_stripe_refuses_does_not_hold_up_the_others(
    runtime: Runtime, box: Sandbox
) -> None:
    start = runtime.now() + 3 * DAY
    await box_office.planned(runtime, starts_at=start)
    stuck = await box_office.bought(runtime, box, "zoe")
    other = await box_office.bought(runtime, box, "ann")
    assert stuck.payment is not None
    box.dispute(payment_intent=stuck.payment.intent_id)
    void = "SELECT void_tickets('run_one', ARRAY(SELECT id FROM tickets), 'cancelled', $1)"
    await runtime.database.fetch(void, runtime.now())
    done = await returns.pay(runtime.database, runtime.stripe, now=runtime.now())
    assert done == 1
    assert (await tickets.get(runtime.database, other.tickets[0].id)).refund_state == "done"
    owed = await tickets.get(runtime.database, stuck.tickets[0].id)
    assert owed.refund is not None
    assert (owed.refund_state, owed.refund.attempts) == ("owed", 1)
    assert "charged back" in (owed.refund.error or "")
    assert await returns.pay(runtime.database, runtime.stripe, now=runtime.now()) == 0
    for minutes, attempts in ((2, 2), (3, 2), (6, 3)):  # asked anew, later and later
        await returns.pay(
            runtime.database, runtime.stripe, now=stories.later(minutes=minutes, seconds=1)
        )
        owed = await tickets.get(runtime.database, stuck.tickets[0].id)
        assert owed.refund is not None
        assert owed.refund.attempts == attempts
    states = await runtime.database.fetch("SELECT state FROM refunds ORDER BY state")
    assert [row.state for row in states] == ["booked", "refused", "refused", "refused"]


@pytest.mark.parametrize("reached", [False, True], ids=["before Stripe", "after Stripe"])
async def test_a_crash_while_stripe_is_asked_pays_once(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch, *, reached: bool
) -> None:
    (ticket,) = await bought(runtime, box)
    real = refunds.carry

    async def killed(*args: Any, **named: Any) -> None:
        if reached:
            await real(*args, **named)
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(refunds, "carry", killed)
        with pytest.raises(RuntimeError):
            await back(runtime, ticket)
    assert asked(box) == reached
    for _ in range(2):
        await stories.hear(runtime, box, now=stories.later(minutes=2))
    assert asked(box) == 1
    assert (await tickets.get(runtime.database, ticket)).refund_state == "done"


async def test_what_finance_refunds_by_hand_is_not_refunded_again(
    runtime: Runtime, box: Sandbox
) -> None:
    first, second = await bought(runtime, box, quantity=2)
    rows = await runtime.database.fetch("SELECT id, payment_id, subject FROM lines")
    line = {row.subject: row.id for row in rows}
    by_hand = (runtime.database, runtime.stripe, "ref_hand", rows[0].payment_id)
    parts = {line[first]: 1000, line[second]: 400}
    await refunds.refund(*by_hand, Money(1400, "eur"), lines=parts, now=runtime.now())
    assert (await back(runtime, first)).refund_state == "done"
    assert asked(box) == 1
    assert (await back(runtime, second)).refund_state == "done"
    found = await runtime.database.fetch("SELECT minor FROM refunds ORDER BY minor")
    assert [row.minor for row in found] == [600, 1400]


async def test_a_refund_by_hand_that_is_under_way_is_waited_for(
    runtime: Runtime, box: Sandbox
) -> None:
    (ticket,) = await bought(runtime, box)
    rows = await runtime.database.fetch("SELECT id, payment_id FROM lines")
    box.faults.call("503", "/v1/refunds$", times=3)
    by_hand = (runtime.database, runtime.stripe, "ref_hand", rows[0].payment_id)
    with pytest.raises(TakingsError):
        await refunds.refund(*by_hand, Money(300, "eur"), now=runtime.now())
    assert (await back(runtime, ticket)).refund_state == "owed"
    for minutes in (2, 4):
        await stories.hear(runtime, box, now=stories.later(minutes=minutes))
    assert (await tickets.get(runtime.database, ticket)).refund_state == "done"
    found = await runtime.database.fetch("SELECT minor FROM refunds ORDER BY minor")
    assert [row.minor for row in found] == [300, 700]


async def test_a_ticket_is_given_back_over_http(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    (ticket,) = await bought(runtime, box)
    other = await client.post(f"/v1/tickets/{ticket}/refund", json={"listener": "lis_max"})
    assert (other.status_code, other.json()["code"]) == (403, "not_your_ticket")
    body = {"listener": "lis_zoe"}
    done = (await client.post(f"/v1/tickets/{ticket}/refund", json=body)).json()
    assert (done["state"], done["refund"]["state"]) == ("void", "done")
    refund = (await client.get(f"/v1/refunds/{done['refund']['refund']}")).json()
    assert (refund["amount"], refund["reason"]) == (1000, "the ticket was given back")


async def test_a_space_is_moved_over_http_while_it_is_still_to_come(
    runtime: Runtime, client: httpx.AsyncClient
) -> None:
    await box_office.planned(runtime)
    at = "/v1/spaces/spc_one/reschedule"
    past = await client.post(at, json={"starts_at": 1_000_000_000})
    assert (past.status_code, past.json()["code"]) == (422, "starts_in_the_past")
    start = int((runtime.now() + DAY).timestamp())
    moved = (await client.post(at, json={"starts_at": start})).json()
    assert (moved["starts_at"], moved["rescheduled_at"] is None) == (start, False)
    await client.post("/v1/spaces/spc_one/live")
    late = await client.post(at, json={"starts_at": start})
    assert (late.status_code, late.json()["code"]) == (409, "not_scheduled")
    assert (
        await client.post("/v1/spaces/spc_x/reschedule", json={"starts_at": 1})
    ).status_code == 404
