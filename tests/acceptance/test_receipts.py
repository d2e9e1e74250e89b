"""Where each cent went: a receipt adds up, whatever was tipped, taken, passed on and returned."""

import random
from dataclasses import replace
from typing import Any

import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.commission import Tier
from takings.database import Database
from takings.errors import Conflict, NotFound
from takings.money import Money
from takings.payments import cash, receipts, refunds, sweeps
from takings.payments.receipts import NoReceipt, Receipt, ReceiptDiffers, Share
from takings.policies import policies
from takings.policies.presets import PRESETS
from tests import stories, together
from tests.conftest import PROVE, Fresh
from tipping import tabs
from tipping.tabs import TabTip, TabWish

SEEDS = range(100 if PROVE else 10)
PRESET = PRESETS[stories.CLUBHOUSE]
TIERS = (Tier(up_to=1000, rate_bps=300), Tier(up_to=None, rate_bps=2000))


def eur(minor: int) -> Money:
    return Money(minor, "eur")


async def of(runtime: Runtime, payment: str) -> Receipt:
    return await runtime.database.run(receipts.of, payment)


async def under(runtime: Runtime, **rules: Any) -> None:
    """A room of three versions under a policy with tiers and these rules."""
    terms = {"eur": replace(PRESET.terms["eur"], tiers=TIERS, commission_minimum=3)}
    policy = replace(PRESET, name="tiered", terms=terms, **rules)
    await policies.publish(runtime.database, policy, now=runtime.now())
    await together.room(runtime, policy="tiered")


async def refund(runtime: Runtime, name: str, payment: str, **named: Any) -> str:
    """Return money; the code of what came of it."""
    try:
        done = await refunds.refund(
            runtime.database, runtime.stripe, name, payment, now=runtime.now(), **named
        )
    except (refunds.RefundTooLarge, refunds.NothingToRefund) as error:
        return error.code
    return done.stripe_id or done.state


async def test_a_tip_of_five_euros_is_shown_to_the_cent(runtime: Runtime, box: Sandbox) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await stories.paid_tip(runtime, box, 500)
    await refund(runtime, "ref_1", sent.payment.id, amount=eur(101), reason="by mistake")
    receipt = await of(runtime, sent.payment.id)
    (line,) = receipt.lines
    assert (receipt.payment, receipt.listener) == (sent.payment.id, "lis_zoe")
    assert (receipt.paid, receipt.fee, receipt.returned) == (eur(546), eur(46), eur(101))
    assert (line.kind, line.subject, line.space) == ("tip", sent.tip.id, "spc_one")
    assert (line.amount, line.fees_covered, line.agreement_version) == (eur(500), eur(46), 1)
    assert (line.fee, line.fee_bearer, line.commission) == (eur(46), "listener", eur(0))
    zero = eur(0)
    assert line.shares == (
        Share("host_ada", eur(300), zero, eur(300), zero, eur(61)),
        Share("host_bob", eur(200), zero, eur(200), zero, eur(40)),
    )
    (back,) = receipt.refunds
    assert (back.id, back.state, back.reason, back.amount) == (
        *("ref_1", "booked", "by mistake"),
        eur(101),
    )
    assert back.lines == {line.id: eur(101)}


async def test_a_fee_that_the_hosts_bear_is_shown_once_it_is_known(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await under(runtime, fee_bearer="host", refund_fee_bearer="host")
    with monkeypatch.context() as patched:
        patched.setattr(sweeps, "_book", _nothing)  # Stripe's lines are not to be seen yet
        payment, _ = await together.paid(runtime, box, [500, 700])
    early = await of(runtime, payment)
    assert (early.paid, early.fee) == (eur(1200), None)
    assert [(line.fee, line.fee_bearer) for line in early.lines] == [(None, "host")] * 2
    await sweeps.all_cash(
        runtime.database,
        runtime.stripe,
        {},
        since=stories.later(days=-1),
        now=runtime.now(),
    )
    receipt = await of(runtime, payment)
    assert receipt.fee == eur(65)
    passed = [sum((s.fee for s in line.shares), eur(0)) for line in receipt.lines]
    assert passed == [line.fee for line in receipt.lines]
    owed = await stories.owed(runtime.database, "eur")
    assert {host: share.left.minor for host, share in receipt.hosts.items()} == owed


async def _nothing(*_: object) -> int:
    return 0


BEARERS: list[dict[str, Any]] = [
    {"fee_bearer": "listener", "refund_fee_bearer": "listener"},
    {"fee_bearer": "listener", "refund_fee_bearer": "platform"},
    {"fee_bearer": "host", "refund_fee_bearer": "host"},
    {"fee_bearer": "platform"},
]


def check(receipt: Receipt) -> None:
    """All that a receipt promises."""
    zero = Money(0, receipt.paid.currency)
    hosts = receipt.hosts.values()
    nets = sum((share.net for share in hosts), zero)
    assert receipt.paid == nets + receipt.commission + receipt.fees_covered
    for share in hosts:
        assert share.gross == share.commission + share.net
        assert zero <= share.returned <= share.net
    for line in receipt.lines:
        assert line.amount == sum((share.gross for share in line.shares), zero)
        assert line.commission == sum((share.commission for share in line.shares), zero)
        assert line.returned <= line.amount + line.fees_covered
        kept = [one.lines.get(line.id, zero) for one in receipt.refunds if one.state == "booked"]
        assert line.returned == sum(kept, zero)
    if receipt.fee is not None:
        assert receipt.fee == sum((line.fee or zero for line in receipt.lines), zero)


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_receipt_adds_up_and_agrees_with_the_journal(
    runtime: Runtime, box: Sandbox, seed: int
) -> None:
    dice = random.Random(seed)  # noqa: S311
    await under(runtime, **BEARERS[seed % len(BEARERS)])
    minors = [dice.choice([50, 51, 333, 500, 997, 4001]) for _ in range(dice.randint(1, 6))]
    payment, lines = await together.paid(runtime, box, minors)
    check(await of(runtime, payment))
    done = []
    for number in range(4):
        how: dict[str, Any] = {"amount": eur(dice.randint(1, 300))}
        if dice.random() < 0.5:
            some = dice.sample(lines, dice.randint(1, len(lines)))
            how = {"lines": {line: dice.randint(1, 99) for line in some}}
        done.append(await refund(runtime, f"ref_{number}", payment, **how))
        check(await of(runtime, payment))
    for stripe_id in done:
        if stripe_id.startswith("re_") and dice.random() < 0.5:
            box.fail_refund(stripe_id)
    await stories.hear(runtime, box)
    receipt = await of(runtime, payment)
    check(receipt)
    owed = await stories.owed(runtime.database, "eur")
    assert {host: share.left.minor for host, share in receipt.hosts.items()} == owed
    back = sum((line.commission_returned + line.fees_returned for line in receipt.lines), eur(0))
    (income,) = await runtime.database.fetch(KEPT)
    assert eur(income.minor) == receipt.commission + receipt.fees_covered - back
    assert set(await stories.guilty(runtime.database)) <= {"covered"}


KEPT = """
SELECT -sum(b.minor)::bigint AS minor FROM accounts a JOIN balances b ON b.account_id = a.id
 WHERE a.name LIKE 'income:%'
"""


async def a_tab(runtime: Runtime, box: Sandbox, **rules: Any) -> str:
    """Three tips on a tab of 100.00, closed and cashed; its payment."""
    await under(runtime, **rules)
    wish = TabWish("tab_1", "spc_one", "lis_zoe", eur(10_000), "intent")
    tab = await tabs.open(runtime.database, runtime.stripe, wish, now=runtime.now())
    box.pay(tab.payment.intent_id)
    await stories.hear(runtime, box)
    for name, minor in (("tip_a", 500), ("tip_b", 700), ("tip_c", 1001)):
        await tabs.tip(runtime.database, TabTip(name, "tab_1", eur(minor)), now=runtime.now())
    await tabs.close(runtime.database, runtime.stripe, "tab_1", now=runtime.now())
    await stories.hear(runtime, box)
    return tab.payment.id


@pytest.mark.parametrize(("bearer", "paid"), [("listener", 2298), ("host", 2201)])
async def test_a_tabs_receipt_shows_the_fee_of_what_was_captured_and_one_tip_returned(
    runtime: Runtime, box: Sandbox, bearer: str, paid: int
) -> None:
    payment = await a_tab(runtime, box, fee_bearer=bearer, refund_fee_bearer=bearer)
    receipt = await of(runtime, payment)
    check(receipt)
    assert (receipt.paid, receipt.fee) == (eur(paid), eur((paid * 29 + 500) // 1000 + 30))
    lines = {line.subject: line for line in receipt.lines}
    assert [lines[name].amount.minor for name in ("tip_a", "tip_b", "tip_c")] == [500, 700, 1001]
    before = receipt.hosts
    await refund(runtime, "ref_1", payment, lines={lines["tip_b"].id: 700})
    await stories.hear(runtime, box)
    receipt = await of(runtime, payment)
    check(receipt)
    back = next(line for line in receipt.lines if line.subject == "tip_b")
    assert back.returned == eur(700)
    assert {host: before[host].left - share.left for host, share in receipt.hosts.items()} == {
        share.host: share.returned for share in back.shares
    }
    owed = await stories.owed(runtime.database, "eur")
    assert {host: share.left.minor for host, share in receipt.hosts.items()} == owed
    assert set(await stories.guilty(runtime.database)) <= {"covered"}


async def test_a_tabs_fee_is_not_shown_while_only_that_of_the_cap_is_known(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(sweeps, "_book", _nothing)
        payment = await a_tab(runtime, box, fee_bearer="platform", refund_fee_bearer="platform")
    since = stories.later(days=-1)
    found = [line async for page in runtime.stripe.cash_since(since) for line in page]
    shown = []
    for one in sorted(found, key=lambda line: line.category):  # the charge, then what is let go
        shown.append((await of(runtime, payment)).fee)
        await runtime.database.run(cash.book, [one], runtime.now())
    assert shown == [None, None]
    assert (await of(runtime, payment)).fee == eur(94)


async def test_a_fee_in_another_currency_is_the_platforms_whoever_else_would_bear_it(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await under(runtime, fee_bearer="host", refund_fee_bearer="host")
    with monkeypatch.context() as patched:
        patched.setattr(sweeps, "_book", _nothing)
        payment, _ = await together.paid(runtime, box, [500])
    since = stories.later(days=-1)
    [[found]] = [page async for page in runtime.stripe.cash_since(since)]
    abroad = replace(found, currency="usd", minor=600, net=600 - found.fee)
    await runtime.database.run(cash.book, [abroad], runtime.now())
    receipt = await of(runtime, payment)
    [line] = receipt.lines
    assert (receipt.fee, line.fee_bearer) == (Money(found.fee, "usd"), "platform")
    assert {share.fee for share in line.shares} == {eur(0)}


async def test_what_was_not_paid_has_no_receipt(runtime: Runtime) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await stories.tip(runtime, 500)
    with pytest.raises(NoReceipt, match="is open") as caught:
        await of(runtime, sent.payment.id)
    assert isinstance(caught.value, Conflict)
    with pytest.raises(NotFound):
        await of(runtime, "pay_none")


async def test_control_a_receipt_that_does_not_add_up_is_not_shown(
    runtime: Runtime, box: Sandbox, fresh: Fresh
) -> None:
    await together.room(runtime)
    payment, _ = await together.paid(runtime, box, [500])
    async with Database(fresh.owner) as owner:
        await owner.fetch("UPDATE allotments SET credited = credited + 1 WHERE position = 1")
    with pytest.raises(ReceiptDiffers, match=r"shows 5\.47 EUR of 5\.46 EUR paid"):
        await of(runtime, payment)
