"""Disputes: frozen when opened, booked when the bank takes, given back when it gives back."""

from dataclasses import replace
from itertools import permutations

import pytest

from api import worker
from api.runtime import Runtime
from sandbox.control import Sandbox
from sandbox.tables import Row
from takings.database import fetch
from takings.money import Money
from takings.payments import disputes, objects, refunds, webhooks
from takings.policies import policies
from takings.policies.presets import PRESETS
from tests import stories

ADA, BOB = "liabilities:host:host_ada", "liabilities:host:host_bob"


async def disputed(
    runtime: Runtime, box: Sandbox, *, amount: int | None = None, taken: bool = True
) -> tuple[str, Row]:
    """A tip of 5.00 for Ada and Bob, and its dispute, of which we have heard."""
    await stories.room(runtime.database, runtime.now())
    sent = await stories.paid_tip(runtime, box, 500)
    found = box.dispute(payment_intent=sent.payment.intent_id, amount=amount, taken=taken)
    await stories.hear(runtime, box)
    return sent.payment.id, found


async def about(runtime: Runtime, *words: str) -> str:
    """The entries of the journal whose key has one of these words in it, as text."""
    told = await stories.told(runtime.database)
    entries = told.replace("\n  ", "\0").split("\n")
    wanted = [one for one in entries if any(word in one.split("\0")[0] for word in words)]
    return "\n".join(wanted).replace("\0", "\n  ")


def lines_of(found: Row) -> list[str]:
    """Stripe's own lines of a dispute, oldest first."""
    return [line["id"] for line in found["balance_transactions"]]


async def test_what_is_open_is_frozen_and_what_is_lost_is_taken(
    runtime: Runtime, box: Sandbox
) -> None:
    _, found = await disputed(runtime, box, taken=False)
    opened = f"""\
dispute:{found["id"]}:opened
  {ADA}:held +300 eur
  {ADA}:reserved -300 eur
  {BOB}:held +200 eur
  {BOB}:reserved -200 eur"""
    assert await about(runtime, "dispute:") == opened
    box.withdraw_dispute(found["id"])
    await stories.hear(runtime, box)
    box.close_dispute(found["id"], "lost")
    await stories.hear(runtime, box)
    [line] = lines_of(found)
    assert (
        await about(runtime, "dispute:", line)
        == f"""\
{opened}
dispute:{found["id"]}:withdrawn
  {ADA}:reserved +300 eur
  {BOB}:reserved +200 eur
  income:fees_covered +46 eur
  clearing:disputes -546 eur
txn:{line}
  assets:stripe:available -2046 eur
  expenses:dispute_fees +1500 eur
  clearing:disputes +546 eur"""
    )
    assert await stories.guilty(runtime.database, short=True) == {}


async def test_what_is_won_comes_back_to_where_the_money_is_by_now(
    runtime: Runtime, box: Sandbox
) -> None:
    _, found = await disputed(runtime, box)
    await stories.end(runtime, box)  # the rest of the room is released meanwhile
    box.close_dispute(found["id"], "won", fee_back=True)
    await stories.hear(runtime, box, now=stories.later(days=32))
    assert (
        await about(runtime, ":reinstated")
        == f"""\
dispute:{found["id"]}:reinstated
  {ADA}:available -300 eur
  {BOB}:available -200 eur
  income:fees_covered -46 eur
  clearing:disputes +546 eur"""
    )
    assert "expenses:dispute_fees" not in await _not_zero(runtime)
    assert await stories.owed(runtime.database, "eur") == {"host_ada": 300, "host_bob": 200}
    assert await stories.guilty(runtime.database, short=True) == {}


async def test_closed_with_nothing_taken_the_frozen_goes_home(
    runtime: Runtime, box: Sandbox
) -> None:
    _, found = await disputed(runtime, box, amount=200, taken=False)
    assert await stories.guilty(runtime.database, short=True) == {}
    box.close_dispute(found["id"], "won")
    await stories.hear(runtime, box)
    assert (
        await about(runtime, "dispute:")
        == f"""\
dispute:{found["id"]}:closed
  {ADA}:held -120 eur
  {ADA}:reserved +120 eur
  {BOB}:held -80 eur
  {BOB}:reserved +80 eur
dispute:{found["id"]}:opened
  {ADA}:held +120 eur
  {ADA}:reserved -120 eur
  {BOB}:held +80 eur
  {BOB}:reserved -80 eur"""
    )


async def test_an_inquiry_freezes_nothing_until_it_becomes_a_dispute(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await stories.paid_tip(runtime, box, 500)
    found = box.dispute(payment_intent=sent.payment.intent_id, inquiry=True)
    await stories.hear(runtime, box)
    assert await about(runtime, "dispute:") == ""
    known = await runtime.database.run(disputes.get, found["id"])
    assert (known.status, known.taken, known.frozen) == ("warning_needs_response", 0, 0)
    box.withdraw_dispute(found["id"])
    await stories.hear(runtime, box)
    assert [one.split(":")[2] for one in await _keys(runtime, "dispute:")] == [
        "opened",
        "withdrawn",
    ]
    assert await stories.guilty(runtime.database, short=True) == {}


async def test_a_dispute_of_what_was_refunded_takes_what_is_left_and_is_lost_beyond(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await stories.paid_tip(runtime, box, 500)
    await _refund(runtime, sent.payment.id, 300)
    found = box.dispute(payment_intent=sent.payment.intent_id, amount=546)
    await stories.hear(runtime, box)
    assert (
        await about(runtime, ":withdrawn")
        == f"""\
dispute:{found["id"]}:withdrawn
  {ADA}:reserved +120 eur
  {BOB}:reserved +80 eur
  income:fees_covered +46 eur
  expenses:losses +300 eur
  clearing:disputes -546 eur"""
    )
    assert await stories.guilty(runtime.database, short=True) == {}


async def test_a_dispute_of_all_that_was_refunded_is_a_loss(runtime: Runtime, box: Sandbox) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await stories.paid_tip(runtime, box, 500)
    await _refund(runtime, sent.payment.id, 500)
    found = box.dispute(payment_intent=sent.payment.intent_id, amount=500)
    box.close_dispute(found["id"], "lost")
    await stories.hear(runtime, box)
    assert (
        await about(runtime, "dispute:")
        == f"""\
dispute:{found["id"]}:withdrawn
  income:fees_covered +46 eur
  expenses:losses +454 eur
  clearing:disputes -500 eur"""
    )
    assert await stories.guilty(runtime.database, short=True) == {}


async def test_refund_and_dispute_leave_the_same_in_either_order(
    runtime: Runtime, box: Sandbox
) -> None:
    """A refund at Stripe that we hear of last: the bank's part is divided anew."""
    await stories.room(runtime.database, runtime.now())
    for space in ("spc_two",):
        await stories.room(runtime.database, runtime.now(), space=space)
    left = []
    for space, refund_last in (("spc_one", False), ("spc_two", True)):
        sent = await stories.paid_tip(runtime, box, 500, space=space)
        row = box.state.get("payment_intent", sent.payment.intent_id or "")
        before = await _not_zero(runtime)
        events = len(box.events)
        await runtime.stripe.ask(
            "refunds.create",
            {"payment_intent": row["id"], "amount": 100, "metadata": {}},
            f"by_hand_{space}",
        )
        box.dispute(payment_intent=row["id"], amount=400)
        heard = box.events[events:]
        late = [one for one in heard if "refund" in one["type"]] if refund_last else []
        await _tell(runtime, [one for one in heard if one not in late])
        await _tell(runtime, late)
        await stories.hear(runtime, box)
        after = await _not_zero(runtime)
        left.append({name: after.get(name, 0) - before.get(name, 0) for name in after | before})
    assert left[0] == left[1]
    assert await stories.guilty(runtime.database, short=True) == {}


async def test_a_charge_that_fails_after_all_is_taken_back(runtime: Runtime, box: Sandbox) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await stories.tip(runtime, 500)
    box.pay(sent.payment.intent_id, payment_method="pm_sandbox_failsAfterSuccess")
    await stories.hear(runtime, box)
    box.advance(5 * 86_400)
    await stories.hear(runtime, box)
    assert (
        await about(runtime, ":failed")
        == f"""\
payment:{sent.payment.id}:failed
  {ADA}:held +300 eur
  {BOB}:held +200 eur
  income:fees_covered +46 eur
  clearing:charges -546 eur"""
    )
    assert await stories.guilty(runtime.database, short=True) == {}


async def test_any_order_of_a_disputes_events_leaves_the_same(
    runtime: Runtime, box: Sandbox
) -> None:
    """Opened, taken, won: told in every order, each time of a new tip; the same keys and sums."""
    await stories.room(runtime.database, runtime.now())
    stories_told = set()
    for order in permutations(range(3)):
        events = len(box.events)
        sent = await stories.paid_tip(runtime, box, 500)
        found = box.dispute(payment_intent=sent.payment.intent_id, taken=False)
        box.withdraw_dispute(found["id"])
        box.close_dispute(found["id"], "won")
        told = [one for one in box.events[events:] if "dispute" in one["type"]]
        for place in order:
            await _tell(runtime, [told[place]])
        await stories.hear(runtime, box)
        text = await about(runtime, found["id"])
        stories_told.add(text.replace(found["id"], "dp"))
    assert len(stories_told) == 1
    assert await stories.guilty(runtime.database, short=True) == {}


async def test_an_older_view_of_a_dispute_changes_nothing(runtime: Runtime, box: Sandbox) -> None:
    payment, found = await disputed(runtime, box, taken=False)
    old = await runtime.stripe.fetch("disputes", found["id"])
    box.withdraw_dispute(found["id"])
    await stories.hear(runtime, box)
    before = await stories.told(runtime.database)
    await runtime.database.run(disputes.heard, old, payment, runtime.now())
    assert await stories.told(runtime.database) == before
    known = await runtime.database.run(disputes.get, found["id"])
    assert (known.taken, known.moves, known.stage) == (546, 1, disputes.OPEN)


@pytest.mark.parametrize("fee_back", [False, True])
async def test_the_disputes_fee_is_the_hosts_where_the_policy_says_so(
    runtime: Runtime, box: Sandbox, fee_back: bool
) -> None:
    rules = replace(PRESETS[stories.CLUBHOUSE], name="fee-of-dispute", dispute_fee_bearer="host")
    await policies.publish(runtime.database, rules, now=runtime.now())
    await stories.room(runtime.database, runtime.now(), policy="fee-of-dispute")
    sent = await stories.paid_tip(runtime, box, 500)
    found = box.dispute(payment_intent=sent.payment.intent_id)
    box.close_dispute(found["id"], "won", fee_back=fee_back)
    await stories.hear(runtime, box)
    owed = {"host_ada": 300, "host_bob": 200}
    if not fee_back:
        owed = {"host_ada": 300 - 900, "host_bob": 200 - 600}
    assert await stories.owed(runtime.database, "eur") == owed
    assert "expenses:dispute_fees" not in await _not_zero(runtime)
    assert await stories.guilty(runtime.database, short=True) == {}


async def _refund(runtime: Runtime, payment: str, minor: int) -> None:
    money = Money(minor, "eur")
    named = {"now": runtime.now()}
    await refunds.refund(runtime.database, runtime.stripe, "ref_one", payment, money, **named)


async def _tell(runtime: Runtime, events: list[Row]) -> None:
    """These events alone, and no sweep."""
    notices = [("account", objects.notice(event)) for event in events]
    await webhooks.receive(runtime.database, notices, now=runtime.now())
    while await webhooks.process(
        runtime.database, runtime.stripe, worker.SETTLEMENT, now=runtime.now()
    ):
        pass


async def _not_zero(runtime: Runtime) -> dict[str, int]:
    rows = await runtime.database.run(
        fetch,
        "SELECT a.name, sum(b.minor)::bigint AS minor FROM accounts a JOIN balances b"
        " ON b.account_id = a.id GROUP BY a.name HAVING sum(b.minor) <> 0",
    )
    return {row.name: row.minor for row in rows}


async def _keys(runtime: Runtime, start: str) -> list[str]:
    told = (await stories.told(runtime.database)).split("\n")
    return [line for line in told if line.startswith(start)]
