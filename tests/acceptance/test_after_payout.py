"""What comes back after the money had gone: asked back of the host, else owed and netted."""

from itertools import permutations
from random import Random

import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.money import Money
from takings.payments import refunds
from takings.payouts import payouts
from tests import paying, stories
from tests.conftest import PROVE

ADA = "liabilities:host:host_ada"


async def paid_out(runtime: Runtime, box: Sandbox, *minors: int) -> tuple[list[str], str]:
    """Tips for Ada, released and sent to her account; their payments, and the account."""
    payments = await paying.evening(runtime, box, *minors)
    account = await paying.payee(runtime, box)
    await paying.pay(runtime)
    await paying.hear(runtime, box)
    return payments, account


async def refund(runtime: Runtime, payment: str, minor: int, name: str = "ref_1") -> str:
    """So much of a payment goes back; Stripe's id of the refund."""
    money, now = Money(minor, "eur"), runtime.now()
    found = await refunds.refund(
        runtime.database, runtime.stripe, name, payment, money, reason="", now=now
    )
    return found.stripe_id or ""


async def entries(runtime: Runtime, *words: str) -> str:
    """The entries whose key begins with one of these words, as text."""
    told = (await stories.told(runtime.database)).replace("\n  ", "\0").split("\n")
    return "\n".join(one for one in told if one.startswith(words)).replace("\0", "\n  ")


async def settled(runtime: Runtime, box: Sandbox) -> None:
    """What is to be asked back is asked, and its cash booked; the books hold."""
    await paying.hear(runtime, box)
    await paying.paying(runtime)
    await paying.hear(runtime, box)
    assert await stories.guilty(runtime.database, short=True) == {}


async def test_a_refund_after_the_payout_is_asked_back_of_the_hosts_account(
    runtime: Runtime, box: Sandbox
) -> None:
    [payment], account = await paid_out(runtime, box, 500)
    await refund(runtime, payment, 200)
    assert await paying.available(runtime.database) == -200
    await settled(runtime, box)
    [transfer] = box.state.table("transfer").rows
    [reversal] = box.state.table("transfer_reversal").rows
    assert (
        await entries(runtime, "refund:", "reversal:", f"txn:{reversal['balance_transaction']}")
        == f"""\
refund:ref_1:booked
  {ADA}:available +200 eur
  clearing:refunds -200 eur
reversal:{reversal["id"]}:booked
  clearing:transfers +200 eur
  {ADA}:available -200 eur
txn:{reversal["balance_transaction"]}
  assets:stripe:available +200 eur
  clearing:transfers -200 eur"""
    )
    assert transfer["amount_reversed"] == 200
    assert await paying.available(runtime.database) == 0
    assert box.balance("eur", account)["available"] == 300


async def test_an_account_that_is_short_leaves_a_debt_that_later_earnings_repay(
    runtime: Runtime, box: Sandbox
) -> None:
    [payment], account = await paid_out(runtime, box, 500)
    box.host_payout(account, "eur")  # it is at her bank by now
    await refund(runtime, payment, 200)
    await settled(runtime, box)
    [row] = await runtime.database.fetch("SELECT state, error FROM reversals")
    assert row.state == "refused"
    assert "insufficient" in row.error
    assert await paying.available(runtime.database) == -200
    await settled(runtime, box)
    assert len(box.calls("POST", f"/v1/transfers/{await _transfer(runtime)}/reversals")) == 1
    await paying.evening(runtime, box, 500)
    assert (await paying.pay(runtime, "po_2")).minor == 300
    assert await paying.paid(runtime, "po_2") == [("refund", -200), ("earning", 500)]


async def test_a_dispute_that_is_lost_after_the_payout_leaves_the_host_in_debt(
    runtime: Runtime, box: Sandbox
) -> None:
    [payment], account = await paid_out(runtime, box, 500)
    await paying.evening(runtime, box, 5_000, shares=[("host_zed", 10_000)])  # funds for the fee
    box.host_payout(account, "eur")
    intent = await _intent(runtime, payment)
    found = box.dispute(payment_intent=intent)
    box.close_dispute(found["id"], "lost")
    await paying.hear(runtime, box)
    assert (
        await entries(runtime, "dispute:")
        == f"""\
dispute:{found["id"]}:opened
  {ADA}:reserved -500 eur
  {ADA}:available +500 eur
dispute:{found["id"]}:withdrawn
  {ADA}:reserved +500 eur
  income:fees_covered +46 eur
  clearing:disputes -546 eur"""
    )
    await settled(runtime, box)
    assert await paying.available(runtime.database) == -500
    await paying.evening(runtime, box, 700)
    assert (await paying.pay(runtime, "po_2")).minor == 200
    lines = await paying.paid(runtime, "po_2")
    assert lines == [("dispute_opened", -500), ("earning", 700)]


async def test_a_refund_that_fails_after_the_clawback_gives_it_all_back(
    runtime: Runtime, box: Sandbox
) -> None:
    [payment], account = await paid_out(runtime, box, 500)
    found = await refund(runtime, payment, 500)
    await settled(runtime, box)
    assert (await paying.available(runtime.database), box.balance("eur", account)["available"]) == (
        0,
        0,
    )
    box.fail_refund(found)
    await settled(runtime, box)
    assert (
        await entries(runtime, "refund:ref_1:failed")
        == f"""\
refund:ref_1:failed
  {ADA}:available -500 eur
  clearing:refunds +500 eur"""
    )
    assert (await paying.pay(runtime, "po_2")).minor == 500
    assert await paying.paid(runtime, "po_2") == [
        ("refund", -500),
        ("returned_payout", 500),
        ("refund_failed", 500),
    ]
    await settled(runtime, box)
    assert box.balance("eur", account)["available"] == 500


async def test_a_payout_that_comes_back_from_a_closed_account_is_the_hosts_again(
    runtime: Runtime, box: Sandbox
) -> None:
    _, account = await paid_out(runtime, box, 500)
    transfer = await _transfer(runtime)
    await runtime.stripe.ask(  # Stripe sends the money back: nobody of ours asked for it
        "transfers.reversals.create",
        {"id": transfer, "amount": 500, "metadata": {}},
        "by_stripe",
    )
    box.state.get("account", account)["closed"] = True
    box.capability(account, "restricted")
    await settled(runtime, box)
    [reversal] = box.state.table("transfer_reversal").rows
    assert (
        await entries(runtime, "reversal:")
        == f"""\
reversal:{reversal["id"]}:booked
  clearing:transfers +500 eur
  {ADA}:available -500 eur"""
    )
    with pytest.raises(payouts.HostNotPayable):
        await paying.pay(runtime, "po_2")
    again = await paying.payee(runtime, box)  # she hands in her papers anew
    assert again != account
    assert (await paying.pay(runtime, "po_3")).minor == 500
    assert await paying.paid(runtime, "po_3") == [("returned_payout", 500)]
    await settled(runtime, box)
    assert box.balance("eur", again)["available"] == 500


PARTS = (1, 99, 120, 130, 151)  # of 5.01
ALL = sorted(permutations(PARTS))
ORDERS = ALL if PROVE else Random(7).sample(ALL, 20)  # noqa: S311 - it has to replay


async def test_five_partial_refunds_in_any_order_return_every_share_exactly(
    runtime: Runtime, box: Sandbox
) -> None:
    database = runtime.database
    await stories.room(
        database,
        runtime.now(),
        shares=[("host_ada", 4500), ("host_bob", 4500), ("host_cleo", 1000)],
    )
    told = set()
    for turn, order in enumerate(ORDERS):
        sent = await stories.paid_tip(runtime, box, sum(PARTS))
        whole = await stories.owed(database, "eur")
        for minor in order:
            await refund(runtime, sent.payment.id, minor, f"ref_{turn}_{minor}")
        assert await stories.owed(database, "eur") == dict.fromkeys(whole, 0)
        rows = await database.fetch(TAKEN, sent.payment.id)
        told.add(tuple((row.host_id, row.credited, row.taken) for row in rows))
    assert len(told) == 1
    await stories.hear(runtime, box)
    assert await stories.guilty(database) == {}


TAKEN = """
SELECT a.host_id, a.credited, a.taken
  FROM allotments a JOIN lines l ON l.id = a.line_id WHERE l.payment_id = $1 ORDER BY a.position
"""


async def _transfer(runtime: Runtime) -> str:
    [row] = await runtime.database.fetch("SELECT stripe_id FROM transfers")
    return str(row.stripe_id)


async def _intent(runtime: Runtime, payment: str) -> str:
    [row] = await runtime.database.fetch("SELECT intent_id FROM payments WHERE id = $1", payment)
    return str(row.intent_id)
