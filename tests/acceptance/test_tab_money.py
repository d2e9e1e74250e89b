"""What a tab does to the books: one charge, divided tip by tip, and what is returned of it."""

from collections import Counter
from dataclasses import replace

import pytest

from api.runtime import Runtime
from sandbox import payments as stripes_payments
from sandbox.control import Sandbox
from takings.money import Money
from takings.payments import cash, refunds
from takings.policies import policies
from takings.policies.presets import PRESETS
from tests import books, stories
from tests.authorised import close, give, intent, opened
from tests.conftest import Fresh
from tipping import tabs


async def entry(runtime: Runtime, key: str) -> str:
    """One entry as text, what it posts on an account over all lines as one sum."""
    sums: Counter[str] = Counter()
    whole = await stories.told(runtime.database)
    for line in whole.partition(key + "\n")[2].splitlines():
        if not line.startswith("  "):
            break
        account, minor, currency = line.split()
        sums[f"{account} {currency}"] += int(minor)
    return "\n".join([key, *(f"  {name} {minor:+d}" for name, minor in sorted(sums.items()))])


VERSIONS = (
    {"host_ada": 6000, "host_bob": 4000},
    {"host_ada": 3333, "host_bob": 6667},
    {"host_ada": 10_000},
)


async def test_twelve_tips_over_three_agreements_are_one_charge_divided_each_by_its_own(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    tab = await opened(runtime, box, 10_000)
    assert (tab.state, intent(box)) == ("open", ("requires_capture", 10_000, 0))
    amounts = [100, 250, 333, 500, 101, 77, 999, 200, 150, 50, 300, 1000]
    for number, minor in enumerate(amounts):
        if number % 4 == 0:
            await stories.agreed(runtime.database, runtime.now(), VERSIONS[number // 4])
        assert await give(runtime, f"tip_{number}", minor) == "pending"
    assert await stories.told(runtime.database) == ""
    assert await close(runtime) == "settled"
    await stories.hear(runtime, box)
    tab = await tabs.get(runtime.database, "tab_1")
    assert (tab.given, tab.tips) == (Money(4060, "eur"), 12)
    # 40.60 and its card fee; Ada 60 % of 11.83, 33.33 % of 13.77, all of 15.00, tip by tip.
    assert intent(box) == ("succeeded", 10_000, 4212)
    ada = [60, 150, 200, 300, 34, 26, 333, 67, 150, 50, 300, 1000]
    assert (
        await entry(runtime, f"payment:{tab.payment.id}:earned")
        == f"""\
payment:{tab.payment.id}:earned
  clearing:charges eur +4212
  income:fees_covered eur -152
  liabilities:host:host_ada:held eur -{sum(ada)}
  liabilities:host:host_bob:held eur -{4060 - sum(ada)}"""
    )
    rows = await runtime.database.fetch(BY_TIP)
    assert [(row.version, row.ada) for row in rows] == [
        (number // 4 + 1, minor) for number, minor in enumerate(ada)
    ]
    assert {row.settled for row in rows} == {True}
    assert len(box.state.table("charge").rows) == 1
    assert box.balance("eur") == {"available": 0, "pending": 4060}
    assert (tab.payment.minor, tab.payment.fees_covered) == (4212, 152)
    assert await stories.guilty(runtime.database) == {}
    await stories.end(runtime, box)
    assert (await tabs.get(runtime.database, "tab_1")).payment.released_at is not None
    assert await stories.guilty(runtime.database) == {}


BY_TIP = """
SELECT l.agreement_version AS version, a.credited AS ada, t.settled_at IS NOT NULL AS settled
  FROM tips t JOIN lines l ON l.subject = t.id AND l.agreement_version = t.agreement_version
  JOIN allotments a ON a.line_id = l.id AND a.host_id = 'host_ada' ORDER BY t.created_at
"""


async def test_one_tip_of_a_tab_is_refunded_and_only_its_hosts_pay(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    await opened(runtime, box)
    await give(runtime, "tip_1", 1000)
    await stories.agreed(runtime.database, runtime.now(), VERSIONS[2])
    await give(runtime, "tip_2", 700)
    await close(runtime)
    await stories.hear(runtime, box)
    before = await stories.owed(runtime.database, "eur")
    rows = await runtime.database.fetch("SELECT id, payment_id FROM lines WHERE subject = 'tip_2'")
    await refunds.refund(
        runtime.database,
        runtime.stripe,
        "ref_1",
        rows[0].payment_id,
        lines={rows[0].id: 700},
        now=runtime.now(),
    )
    await stories.hear(runtime, box)
    after = await stories.owed(runtime.database, "eur")
    assert (before, after) == (
        {"host_ada": 1300, "host_bob": 400},
        {"host_ada": 600, "host_bob": 400},
    )
    assert await stories.guilty(runtime.database) == {}


@pytest.mark.parametrize("turned", [1, -1])
async def test_hosts_who_bear_the_card_fee_bear_it_of_what_was_captured_not_of_the_cap(
    runtime: Runtime, box: Sandbox, turned: int
) -> None:
    preset = PRESETS[stories.CLUBHOUSE]
    bears = replace(preset, name="host-bears", fee_bearer="host", refund_fee_bearer="host")
    await policies.publish(runtime.database, bears, now=runtime.now())
    await stories.room(runtime.database, runtime.now(), policy="host-bears")
    tab = await opened(runtime, box)
    await give(runtime, "tip_1", 1000)
    await close(runtime)
    since = stories.later(days=-1)
    pages = [page async for page in runtime.stripe.cash_since(since)]
    lines = [line for page in pages for line in page]
    assert [line.fee for line in lines] == [59 - 320, 320]
    for line in lines[::turned]:  # one by one, in either order
        assert ":fee_passed" not in await stories.told(runtime.database)
        await runtime.database.run(cash.book, [line], runtime.now())
    key = f"payment:{tab.payment.id}:fee_passed"
    assert (
        await entry(runtime, key)
        == f"""\
{key}
  expenses:stripe_fees eur -59
  liabilities:host:host_ada:held eur +35
  liabilities:host:host_bob:held eur +24"""
    )
    await stories.hear(runtime, box)
    assert await stories.guilty(runtime.database) == {}


async def test_a_refund_made_at_stripe_of_a_tab_is_booked_by_its_cash_line(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    tab = await opened(runtime, box)
    await give(runtime, "tip_1", 1000)
    await close(runtime)
    await stories.hear(runtime, box)
    params = {"payment_intent": tab.payment.intent_id, "amount": 500}
    await runtime.stripe.ask("refunds.create", params, "the dashboard")
    await stories.hear(runtime, box)
    assert await stories.owed(runtime.database, "eur") == {"host_ada": 300, "host_bob": 200}
    rows = await runtime.database.fetch("SELECT minor FROM refunds")
    assert [row.minor for row in rows] == [500]
    assert await stories.guilty(runtime.database) == {}


async def test_who_captures_a_tab_in_the_dashboard_proves_nothing_and_the_cash_waits_in_clearing(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    tab = await opened(runtime, box)
    await give(runtime, "tip_1", 1000)
    stripes_payments.capture(
        box.state, box.state.get("payment_intent", tab.payment.intent_id), None
    )
    await stories.hear(runtime, box)
    sent = await stories.tip(runtime, 500)  # others are not held up
    box.pay(sent.payment.intent_id)
    await stories.hear(runtime, box)
    journal = await stories.told(runtime.database)
    assert (journal.count(":earned"), journal.count("clearing:charges -10000 eur")) == (1, 1)
    assert (await tabs.get(runtime.database, "tab_1")).state == "open"
    await stories.hear(runtime, box, now=stories.later(days=31))
    assert await stories.owed(runtime.database, "eur") == {"host_ada": 300, "host_bob": 200}
    rows = await runtime.database.fetch("SELECT released_at FROM payments")
    assert {row.released_at for row in rows} == {None}, "nor is there anything to release"


async def test_a_tabs_cap_becomes_its_sum_once_and_nobody_can_raise_or_change_it(
    runtime: Runtime, box: Sandbox, fresh: Fresh
) -> None:
    await stories.room(runtime.database, runtime.now())

    async def final(*changes: str) -> None:
        async with books.connected(fresh.admin) as connection:
            for role in ("origin", "replica"):
                await connection.execute(f"SET session_replication_role = {role}")
                for change in changes:
                    said = await books.refusal(connection, f"UPDATE payments SET {change}")
                    assert said == "payments_amount_is_final", (role, change)

    early = "state = 'capturing', minor = 1"
    await opened(runtime, box, paid=False)
    await final(early)
    tab = await opened(runtime, box)
    await give(runtime, "tip_1", 1000)
    more = "state = 'capturing', minor = minor + 1"
    await final(more, "minor = 1", "state = 'capturing', currency = 'usd'")
    assert await close(runtime) == "settled"
    await final(early, "minor = 1", "fees_covered = 0")
    assert (await tabs.get(runtime.database, tab.tab.id)).payment.minor == 1061
