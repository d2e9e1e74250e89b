"""Payouts check themselves: no check cries where all is well, and each names who breaks its law."""

import re
from dataclasses import dataclass

import pytest

from api.checks import CHECKS as GATHERED
from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.money import Money
from takings.payments import refunds
from takings.payments.stripe import StripeRefused
from takings.payouts import reversals
from takings.payouts.checks import CHECKS
from tests import books, paying, stories
from tests.conftest import Fresh

BEN = [("host_ben", 10_000)]


@pytest.fixture
async def paid(runtime: Runtime, box: Sandbox) -> Runtime:
    """Ada was sent two payouts, one of which Stripe refused first and one came back in part.

    Ben's waits for a person.
    """
    database, door, now = runtime.database, runtime.stripe, runtime.now()
    policy = await paying.world(runtime, box)
    payment, _ = await paying.evening(runtime, box, 60_000, 20_075, currency="huf", policy=policy)
    await paying.evening(runtime, box, 500, shares=BEN, policy=policy)
    await paying.payee(runtime, box)
    await paying.payee(runtime, box, "host_ben")
    await paying.pay(runtime, currency="huf")
    back = Money(10_000, "huf")
    await refunds.refund(database, door, "ref_1", payment, back, now=now)
    await reversals.recover(database, door, now=now)
    await paying.evening(runtime, box, 50_000, currency="huf", policy=policy)
    box.faults.call("balance_insufficient", "/v1/transfers$")
    with pytest.raises(StripeRefused):
        await paying.pay(runtime, "po_2", currency="huf")
    await paying.pay(runtime, "po_3", currency="huf")
    await paying.pay(runtime, "po_ben", host="host_ben", approval={"eur": 1})
    await paying.hear(runtime, box)
    return runtime


async def test_every_check_holds_where_much_was_paid(paid: Runtime) -> None:
    assert await stories.guilty(paid.database) == {}
    rows = await paid.database.fetch("SELECT id, state FROM payouts ORDER BY id")
    states = {row.id: row.state for row in rows}
    assert states == {"po_1": "sent", "po_2": "refused", "po_3": "sent", "po_ben": "waiting"}
    [row] = await paid.database.fetch("SELECT state, minor FROM reversals")
    assert (row.state, row.minor) == ("booked", 9925)  # the 75 that were carried paid the rest
    assert set(CHECKS) <= set(GATHERED)


@dataclass(frozen=True, slots=True)
class Damage:
    check: str
    name: str
    sql: str
    guilty: tuple[str, ...]


def named(guilty: str) -> str:
    """Only the kind of it, where nobody chose the id."""
    kind = re.split("[_:]", guilty)[0]
    return kind if kind in ("trf", "rev", "reversal", "transfer") else guilty


PLANTED = (
    Damage(
        "payout lines", "it pays more than its lines",
        "UPDATE payouts SET minor = minor + 1 WHERE id = 'po_1'", ("po_1",),
    ),
    Damage(
        "payout lines", "a line too few",
        "UPDATE payouts SET after_seq = after_seq + 1 WHERE id = 'po_3'", ("po_3",),
    ),
    Damage(
        "payouts in a row", "what was left is brought twice",
        "UPDATE payouts SET brought = brought + 1, carried = carried + 1 WHERE id = 'po_3'",
        ("po_3",),
    ),
    Damage(
        "payouts in a row", "a payout between two is gone",
        """UPDATE payouts SET state = 'refused' WHERE id = 'po_1'""", ("po_3",),
    ),
    Damage(
        "in transit", "sent, and still in transit",
        "UPDATE payouts SET state = 'sent' WHERE id = 'po_ben'", ("host_ben",),
    ),
    Damage(
        "in transit", "under way, and not in transit",
        "UPDATE payouts SET state = 'sending' WHERE id = 'po_1'", ("host_ada",),
    ),
    Damage(
        "transfers", "less was sent",
        "UPDATE transfers SET minor = minor - 1 WHERE payout_id = 'po_3'", ("po_3",),
    ),
    Damage(
        "transfers", "on its way without a transfer",
        "UPDATE payouts SET state = 'sending' WHERE id = 'po_ben'", ("po_ben",),
    ),
    Damage(
        "transfers", "sent, and not posted",
        "UPDATE transfers SET id = 'trf_other' WHERE payout_id = 'po_3'", ("transfer", "trf"),
    ),
    Damage(
        "reversals", "more came back than was reversed",
        "UPDATE transfers SET reversed = reversed + 1 WHERE payout_id = 'po_1'", ("trf",),
    ),
    Damage(
        "reversals", "nobody asks for what is to come back",
        "UPDATE transfers SET reversing = 1 WHERE payout_id = 'po_1'", ("trf",),
    ),
    Damage(
        "reversals", "booked twice",
        "UPDATE reversals SET stripe_id = 'trr_other'", ("rev", "reversal"),
    ),
)  # fmt: skip


def test_every_check_has_a_damage_that_it_must_find() -> None:
    assert {planted.check for planted in PLANTED} == {check.name for check in CHECKS}


async def test_each_check_names_whom_it_was_planted_on(paid: Runtime, fresh: Fresh) -> None:
    async with books.connected(fresh.admin) as admin:
        for planted in PLANTED:
            check = next(check for check in CHECKS if check.name == planted.check)
            async with books.undone(admin):
                assert not (await admin.execute(planted.sql)).endswith(" 0"), planted.name
                rows = await admin.fetch(check.sql)
                found = sorted(named(row["guilty"]) for row in rows)
                assert tuple(found) == planted.guilty, planted.name
                assert all(row["why"] for row in rows), planted.name
    assert await stories.guilty(paid.database) == {}, "what was planted is gone"
