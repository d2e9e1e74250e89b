"""The platform's own payout: no more than is its own, once, and booked as Stripe tells of it."""

import asyncio
import re

import httpx
import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.database import Database
from takings.ledger import accounts, journal
from takings.ledger.entries import Entry, Posting
from takings.money import Money
from takings.payments import asks
from takings.payments.stripe import StripeAway, StripeRefused
from takings.payouts import banks, platform
from takings.payouts.tables import BankPayout
from tests import paying, stories
from tests.acceptance.test_asks import crash_after
from tests.acceptance.test_cli import Cli, cli

__all__ = ["cli"]

DISCORD = "discord-2021"
OWN = 680
"""Of a tip of 100.00 USD 10.00 is the commission, and 3.20 what Stripe keeps of it."""

DAY = 86_400


@pytest.fixture(autouse=True)
async def evening(runtime: Runtime, box: Sandbox) -> None:
    """A tip of 100.00 USD that is all available: 90.00 is Ada's."""
    await paying.evening(runtime, box, 10_000, currency="usd", policy=DISCORD)


async def pay_out(runtime: Runtime, name: str = "bp_1", minor: int | None = None) -> BankPayout:
    """The platform pays itself."""
    amount = None if minor is None else Money(minor, "usd")
    return await platform.pay_out(
        runtime.database, runtime.stripe, name, "usd", amount, now=runtime.now()
    )


async def own(database: Database) -> int:
    """What is the platform's own."""
    return (await database.run(platform.own, "usd")).minor


async def booked(database: Database) -> str:
    """What the platform's payouts have posted, and their cash; ids that nobody chose left out."""
    entries = re.split(r"\n(?=\S)", await stories.told(database))
    wanted = [entry for entry in entries if "clearing:payouts" in entry]
    return re.sub(r"\b(po|txn)_\w+", "<id>", "\n".join(sorted(wanted, key=_rank)))


def _rank(entry: str) -> tuple[bool, bool]:
    return entry.startswith("txn:"), "failed" in entry.partition("\n")[0]


def lines(box: Sandbox) -> int:
    """What the platform has at Stripe."""
    return box.balance("usd")["available"]


PAID_OUT = """platform_payout:<id>:created
  assets:stripe:in_transit +680 usd
  clearing:payouts -680 usd
txn:<id>
  assets:stripe:available -680 usd
  clearing:payouts +680 usd"""


async def test_all_that_is_its_own_goes_to_its_bank_and_nothing_of_a_hosts(
    runtime: Runtime, box: Sandbox
) -> None:
    assert await own(runtime.database) == OWN
    found = await pay_out(runtime)
    assert (found.minor, found.status, found.host_id) == (OWN, "pending", None)
    assert lines(box) == 9_000
    await paying.hear(runtime, box)
    assert await booked(runtime.database) == PAID_OUT
    assert await own(runtime.database) == 0
    assert await stories.guilty(runtime.database) == {}
    box.advance(3 * DAY)
    await paying.hear(runtime, box)
    rows = await runtime.database.fetch("SELECT id, stripe_id, status FROM bank_payouts")
    assert [(row.id, row.stripe_id, row.status) for row in rows] == [
        ("bp_1", found.stripe_id, "paid")
    ]
    assert await booked(runtime.database) == PAID_OUT


@pytest.mark.parametrize("minor", [OWN + 1, 9_680])
async def test_more_than_its_own_is_refused_and_nothing_is_asked(
    runtime: Runtime, box: Sandbox, minor: int
) -> None:
    with pytest.raises(platform.PlatformHasNotThatMuch) as refused:
        await pay_out(runtime, minor=minor)
    assert str(refused.value.facts["own"]) == "6.80 USD"
    assert not box.calls("POST", "/v1/payouts")
    assert not await runtime.database.fetch("SELECT FROM bank_payouts")


async def test_nothing_and_less_than_nothing_cannot_be_paid_out(runtime: Runtime) -> None:
    for minor in (0, -1):
        with pytest.raises(platform.PlatformPayoutOfNothing):
            await pay_out(runtime, minor=minor)
    await pay_out(runtime)
    with pytest.raises(platform.PlatformHasNotThatMuch):
        await pay_out(runtime, "bp_2")


async def test_a_payout_is_repeatable_by_its_id_and_is_no_other(
    runtime: Runtime, box: Sandbox
) -> None:
    first, again = await pay_out(runtime, minor=100), await pay_out(runtime, minor=100)
    assert first.stripe_id == again.stripe_id
    assert (await pay_out(runtime)).minor == 100
    assert len(box.calls("POST", "/v1/payouts")) == 1
    with pytest.raises(platform.PlatformPayoutDiffers):
        await pay_out(runtime, minor=101)


@pytest.mark.parametrize("ended", ["failed", "canceled"])
async def test_a_payout_that_comes_back_is_booked_as_its_opposite(
    runtime: Runtime, box: Sandbox, ended: str
) -> None:
    found = await pay_out(runtime)
    if ended == "failed":  # even after it was said to be paid
        box.advance(3 * DAY)
        await paying.hear(runtime, box)
        box.fail_payout(found.stripe_id or "")
    else:
        await runtime.stripe._client.v1.payouts.cancel_async(found.stripe_id or "")  # noqa: SLF001
    await paying.hear(runtime, box)
    await paying.hear(runtime, box)
    assert await booked(runtime.database) == (
        "platform_payout:<id>:created\n"
        "  assets:stripe:in_transit +680 usd\n  clearing:payouts -680 usd\n"
        "platform_payout:<id>:failed\n"
        "  assets:stripe:in_transit -680 usd\n  clearing:payouts +680 usd\n"
        "txn:<id>\n  assets:stripe:available +680 usd\n  clearing:payouts -680 usd\n"
        "txn:<id>\n  assets:stripe:available -680 usd\n  clearing:payouts +680 usd"
    )
    rows = await runtime.database.fetch("SELECT status, failure FROM bank_payouts")
    assert (rows[0].status, rows[0].failure) == (
        ended,
        "account_closed" if ended == "failed" else None,
    )
    assert await own(runtime.database) == OWN
    assert await stories.guilty(runtime.database) == {}


async def test_a_payout_made_at_stripe_is_booked_and_shown_as_ours(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    params = {"amount": 300, "currency": "usd"}
    made = await runtime.stripe.ask("payouts.create", params, "the dashboard")
    await paying.hear(runtime, box)
    assert (await booked(runtime.database)).count("in_transit +300 usd") == 1
    asked = {"id": "bp_1", "currency": "usd"}
    answer = await client.post("/v1/platform_payouts", json=asked)
    assert (answer.status_code, answer.json()["amount"]) == (200, OWN - 300)
    found = (await client.get("/v1/platform_payouts")).json()["data"]
    assert {one["id"] for one in found} == {"bp_1", made["id"]}
    assert {one["host"] for one in found} == {None}
    answer = await client.post("/v1/platform_payouts", json={"currency": "usd"})
    assert (answer.status_code, answer.json()["code"]) == (403, "platform_has_not_that_much")


async def test_a_crash_before_the_answer_is_noted_makes_no_second_payout(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as dying:
        crash_after(dying)
        with pytest.raises(asyncio.CancelledError):
            await pay_out(runtime)
    with pytest.raises(asks.InFlight):
        await pay_out(runtime)
    with pytest.raises(platform.PlatformPayoutUnderWay):
        await pay_out(runtime, "bp_2", 1)
    days_later = stories.later(days=2)  # when the key is forgotten
    await platform.unanswered(runtime.database, runtime.stripe, now=days_later)
    assert (await pay_out(runtime)).status == "pending"
    assert len(box.state.table("payout").rows) == 1
    await paying.hear(runtime, box)
    assert await booked(runtime.database) == PAID_OUT


async def test_an_event_may_come_before_the_answer_is_noted(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as dying:
        crash_after(dying)
        with pytest.raises(asyncio.CancelledError):
            await pay_out(runtime)
    await paying.hear(runtime, box)
    assert (await pay_out(runtime)).status == "pending"
    rows = await runtime.database.fetch("SELECT key FROM asks WHERE answered_at IS NULL")
    assert rows == []
    assert await booked(runtime.database) == PAID_OUT


async def test_a_payout_that_was_never_made_is_refused_and_its_money_free(
    runtime: Runtime, box: Sandbox
) -> None:
    box.faults.call("timeout_without_effect", "/v1/payouts$", times=3)
    with pytest.raises(StripeAway):
        await pay_out(runtime)
    await platform.unanswered(runtime.database, runtime.stripe, now=stories.later(days=2))
    assert (await pay_out(runtime)).status == "refused"
    assert (await pay_out(runtime, "bp_2")).status == "pending"


async def test_what_stripe_failed_on_is_not_free_until_its_key_is_forgotten(
    runtime: Runtime, box: Sandbox
) -> None:
    box.faults.call("500", "/v1/payouts$", method="POST")
    with pytest.raises(asks.InFlight):
        await pay_out(runtime)
    await platform.unanswered(runtime.database, runtime.stripe, now=stories.later(minutes=2))
    with pytest.raises(platform.PlatformPayoutUnderWay):
        await pay_out(runtime, "bp_2", 1)
    await platform.unanswered(runtime.database, runtime.stripe, now=stories.later(days=2))
    assert (await pay_out(runtime)).status == "refused"
    assert (await pay_out(runtime, "bp_2")).minor == OWN


async def test_what_stripe_refuses_says_why_and_moves_nothing(
    runtime: Runtime, box: Sandbox
) -> None:
    box.balance("usd")
    box.state.balances["acct_1SandboxPlatform"]["usd"].available = 0
    with pytest.raises(StripeRefused):
        await pay_out(runtime)
    found = await pay_out(runtime)
    assert (found.status, found.stripe_id) == ("refused", None)
    assert "insufficient funds" in (found.failure or "")
    assert await booked(runtime.database) == ""


async def test_many_who_pay_out_at_once_pay_out_no_more_than_there_is(
    runtime: Runtime, box: Sandbox
) -> None:
    every = [pay_out(runtime, f"bp_{n}", 300) for n in range(6)]
    answers = await asyncio.gather(*every, return_exceptions=True)
    told = [answer for answer in answers if isinstance(answer, Exception)]
    assert {type(error) for error in told} <= {
        platform.PlatformPayoutUnderWay,
        platform.PlatformHasNotThatMuch,
    }
    paid = sum(row["amount"] for row in box.state.table("payout").rows)
    assert 300 <= paid <= OWN
    await paying.hear(runtime, box)
    assert lines(box) >= 9_000
    assert await stories.guilty(runtime.database) == {}


async def test_the_same_asked_for_many_times_at_once_is_one_payout(
    runtime: Runtime, box: Sandbox
) -> None:
    every = [pay_out(runtime, minor=300) for _ in range(6)]
    answers = await asyncio.gather(*every, return_exceptions=True)
    told = {type(answer) for answer in answers if isinstance(answer, Exception)}
    assert told <= {asks.InFlight}
    assert [row["amount"] for row in box.state.table("payout").rows] == [300]
    assert (await pay_out(runtime, minor=300)).status == "pending"


async def test_what_has_left_for_a_host_is_not_there_though_its_cash_is_not_booked(
    runtime: Runtime, box: Sandbox
) -> None:
    await paying.payee(runtime, box)
    await paying.pay(runtime, currency="usd")
    await paying.paying(runtime)
    assert box.balance("usd") == {"available": OWN, "pending": 0}
    told = await stories.told(runtime.database)
    assert "clearing:transfers -9000 usd" in told
    assert "clearing:transfers +9000 usd" not in told
    assert await own(runtime.database) == OWN


async def post(database: Database, account: str, minor: int, currency: str = "usd") -> None:
    """Money moves between an account and the platform's income."""
    entry = Entry(
        key=f"test:{account}:{minor}",
        kind="test",
        subject="test",
        happened_at=stories.later(),
        postings=(
            Posting(account, Money(minor, currency)),
            Posting(accounts.TIP_COMMISSION, Money(-minor, currency)),
        ),
    )
    await database.run(journal.post, [entry])


@pytest.mark.parametrize(
    ("account", "minor", "left"),
    [
        ("liabilities:host:host_bob:held", -100, OWN - 100),
        ("liabilities:host:host_bob:available", 100, OWN),  # Bob owes us: it is not there
        ("liabilities:parked:host_bob", -100, OWN - 100),
        ("liabilities:tax:de", -100, OWN - 100),
        ("liabilities:deferred:tickets", -100, OWN - 100),
        ("clearing:refunds", -100, OWN - 100),
        ("clearing:charges", 100, OWN),  # it is still to come
        ("assets:stripe:pending", 100, OWN),
        ("assets:stripe:available", 100, OWN + 100),
    ],
)
async def test_whatever_is_owed_to_others_is_not_the_platforms(
    runtime: Runtime, account: str, minor: int, left: int
) -> None:
    await post(runtime.database, account, minor)
    assert await own(runtime.database) == left


async def test_all_of_it_is_what_the_currency_can_pay_out(runtime: Runtime, box: Sandbox) -> None:
    await post(runtime.database, accounts.AVAILABLE, 12_345, "huf")
    with pytest.raises(StripeRefused):  # the sandbox has no forint
        await platform.pay_out(runtime.database, runtime.stripe, "bp_1", "huf", now=runtime.now())
    assert box.calls("POST", "/v1/payouts")[0].params["amount"] == "12300"


async def test_a_payout_that_the_books_do_not_know_of_is_named(runtime: Runtime) -> None:
    await pay_out(runtime)
    forge = (
        "INSERT INTO bank_payouts (id, stripe_id, minor, currency, status, created_at, updated_at)"
        " VALUES ('po_x', 'po_x', 1, 'usd', 'paid', now(), now())"
    )
    await runtime.database.fetch(forge)
    found = await stories.guilty(runtime.database)
    assert found["platform payouts"] == (("po_x", "not booked"),)


async def test_money_that_stripe_sweeps_by_itself_is_told_of(
    runtime: Runtime, box: Sandbox
) -> None:
    await platform.check_schedule(runtime.stripe)
    box.settings.payout_interval = "daily"
    with pytest.raises(platform.PaidOutBySchedule):
        await platform.check_schedule(runtime.stripe)


def test_every_kind_of_payout_event_is_read() -> None:
    assert set(banks.READERS) == {f"payout.{kind}" for kind in banks.TYPES}


async def test_nothing_starts_where_stripe_sweeps_hosts_money_and_the_doctor_says_so(
    cli: Cli, box: Sandbox
) -> None:
    found = await cli("doctor", "--json")
    assert [one["state"] for one in found.json["data"] if one["name"] == "schedule"] == ["fine"]
    box.settings.payout_interval = "weekly"
    found = await cli("doctor", "--json")
    assert found.code == 1
    wrong = [one for one in found.json["data"] if one["state"] == "wrong"]
    assert [one["name"] for one in wrong] == ["schedule"]
    refused = await cli("worker")
    assert refused.code == 2
    assert "Set the payout schedule of your account at Stripe to manual." in refused.err
