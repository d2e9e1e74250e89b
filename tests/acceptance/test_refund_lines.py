"""A refund that names lines: exactly those lines' hosts pay, and no line gives more than it has."""

import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.errors import NotFound
from takings.money import Money
from takings.payments import refunds
from takings.payments.refunds import LinesDoNotSum, NothingToRefund, RefundDiffers
from takings.payments.returns import RefundTooLarge
from takings.payments.tables import Refund
from tests import stories, together


async def refund(
    runtime: Runtime, name: str, payment: str, lines: dict[str, int], amount: int | None = None
) -> Refund:
    money = None if amount is None else Money(amount, "eur")
    return await refunds.refund(
        runtime.database,
        runtime.stripe,
        name,
        payment,
        money,
        lines=lines,
        now=runtime.now(),
    )


EARNED = (
    """\
  liabilities:host:host_ada:held -300 eur
  liabilities:host:host_bob:held -200 eur
  income:fees_covered -22 eur
""",
    """\
  liabilities:host:host_ada:held -350 eur
  liabilities:host:host_cleo:held -350 eur
  income:fees_covered -31 eur
""",
    """\
  liabilities:host:host_ada:held -334 eur
  liabilities:host:host_bob:held -333 eur
  liabilities:host:host_cleo:held -334 eur
  income:fees_covered -44 eur
""",
)


async def test_one_of_three_tips_is_returned_and_only_its_hosts_pay(
    runtime: Runtime, box: Sandbox
) -> None:
    await together.room(runtime)
    payment, lines = await together.paid(runtime, box, [500, 700, 1001])
    legs = dict(zip(lines, EARNED, strict=True))
    before = await stories.told(runtime.database)
    assert (
        before.partition("txn:")[0]
        == f"""\
payment:{payment}:earned
  clearing:charges +2298 eur
{"".join(legs[line] for line in sorted(lines))}"""
    )
    done = await refund(runtime, "ref_second", payment, {lines[1]: 700})
    assert (done.state, done.minor) == ("booked", 700)
    await stories.hear(runtime, box)
    after = await stories.told(runtime.database)
    assert (
        """\
refund:ref_second:booked
  liabilities:host:host_ada:held +350 eur
  liabilities:host:host_cleo:held +350 eur
  clearing:refunds -700 eur
"""
        in after
    )
    assert await stories.owed(runtime.database, "eur") == {
        "host_ada": 634,
        "host_bob": 533,
        "host_cleo": 334,
    }
    assert await stories.guilty(runtime.database) == {}


async def test_parts_of_two_lines_make_one_refund_and_a_failed_one_gives_them_back(
    runtime: Runtime, box: Sandbox
) -> None:
    await together.room(runtime)
    payment, lines = await together.paid(runtime, box, [500, 700, 1001])
    owed = await stories.owed(runtime.database, "eur")
    parts = {lines[0]: 101, lines[2]: 7}
    done = await refund(runtime, "ref_parts", payment, parts, 108)
    assert done.minor == 108
    assert len(box.calls("POST", "/v1/refunds")) == 1
    rows = await runtime.database.fetch("SELECT returned FROM lines ORDER BY minor")
    assert [row.returned for row in rows] == [101, 0, 7]
    box.fail_refund(done.stripe_id or "")
    await stories.hear(runtime, box)
    assert await stories.owed(runtime.database, "eur") == owed
    assert await stories.guilty(runtime.database) == {}


async def test_a_line_is_never_asked_for_more_than_it_has_left(
    runtime: Runtime, box: Sandbox
) -> None:
    await together.room(runtime)
    payment, (first, *_) = await together.paid(runtime, box, [500, 700])
    await refund(runtime, "ref_1", payment, {first: 450})
    with pytest.raises(RefundTooLarge, match=rf"0\.51 EUR is more than the 0\.50 EUR .* {first}\."):
        await refund(runtime, "ref_2", payment, {first: 51})
    await refund(runtime, "ref_2", payment, {first: 50})
    with pytest.raises(RefundTooLarge, match=r"more than the 0\.00 EUR"):
        await refund(runtime, "ref_3", payment, {first: 1})
    assert len(box.calls("POST", "/v1/refunds")) == 2


async def test_lines_and_amount_must_agree_and_name_something(
    runtime: Runtime, box: Sandbox
) -> None:
    await together.room(runtime)
    payment, (first, second) = await together.paid(runtime, box, [500, 700])
    with pytest.raises(LinesDoNotSum, match=r"sum to 3\.00 EUR, .* amount of 4\.00 EUR"):
        await refund(runtime, "ref_1", payment, {first: 100, second: 200}, 400)
    with pytest.raises(NotFound, match=rf"no line tip_0 of {payment}"):
        await refund(runtime, "ref_1", payment, {"tip_0": 100})
    for nothing in ({first: 0}, {first: -1}, {}):
        with pytest.raises(NothingToRefund):
            await refund(runtime, "ref_1", payment, nothing)
    assert box.calls("POST", "/v1/refunds") == []
    rows = await runtime.database.fetch("SELECT refunding FROM lines")
    assert {row.refunding for row in rows} == {0}


async def test_the_same_refund_again_is_answered_and_another_one_differs(
    runtime: Runtime, box: Sandbox
) -> None:
    await together.room(runtime)
    payment, (first, second) = await together.paid(runtime, box, [500, 700])
    done = await refund(runtime, "ref_1", payment, {first: 100, second: 200})
    for amount in (None, 300):
        again = await refund(runtime, "ref_1", payment, {second: 200, first: 100}, amount)
        assert again.stripe_id == done.stripe_id
    others = ({first: 200, second: 100}, {first: 300}, {first: 100}, {})
    for lines in others:
        with pytest.raises(RefundDiffers):
            await refund(runtime, "ref_1", payment, lines)
    with pytest.raises(RefundDiffers):
        await refund(runtime, "ref_1", payment, {first: 100, second: 200}, 299)
    other, same = await stories.many_paid(runtime, box, 1), Money(300, "eur")
    with pytest.raises(RefundDiffers):
        await refunds.refund(
            runtime.database, runtime.stripe, "ref_1", *other, same, now=runtime.now()
        )
    assert len(box.calls("POST", "/v1/refunds")) == 1


async def test_what_stripe_returned_of_the_covered_fee_leaves_the_other_lines_refundable(
    runtime: Runtime, box: Sandbox
) -> None:
    await together.room(runtime)
    payment, (first, second) = await together.paid(runtime, box, [500, 700])
    rows = await runtime.database.fetch("SELECT intent_id FROM payments")
    await refund(runtime, "ref_1", payment, {first: 500})
    asked = {"payment_intent": rows[0].intent_id, "amount": 60}  # a part of what the first has left
    await runtime.stripe.ask("refunds.create", asked, "the dashboard")
    await stories.hear(runtime, box)
    found = await runtime.database.fetch("SELECT id, returned, minor FROM lines ORDER BY minor")
    assert found[0].returned > found[0].minor
    left = found[1].minor - found[1].returned
    done = await refunds.refund(
        runtime.database, runtime.stripe, "ref_rest", payment, now=runtime.now()
    )
    assert done.minor == left
    await stories.hear(runtime, box)
    assert second == found[1].id
    assert set((await stories.owed(runtime.database, "eur")).values()) == {0}
    assert list(await stories.guilty(runtime.database)) == ["covered"], "the platform paid the fee"
