"""Payouts from the command line: run, shown, explained, approved by another person, planned."""

import asyncio
import getpass
from datetime import timedelta

import pytest
from rich.console import Console

from api.cli import batches as watching
from api.cli import output
from api.cli.batches import NotAllSent
from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.database import Database
from takings.payouts import batches, transfers
from tests import crowd, paying, stories
from tests.acceptance.test_cli import Cli, assert_refused, cli
from tests.conftest import Fresh

__all__ = ["cli"]  # the fixture

ME = f"cli:{getpass.getuser()}"
REQUEST = "payouts.request"
LOW = {"TAKINGS_PAYOUT_APPROVAL": "eur:100"}


async def test_a_run_pays_everybody_and_what_it_paid_is_listed_shown_and_explained(
    cli: Cli, runtime: Runtime, box: Sandbox
) -> None:
    [payment, _] = await paying.evening(runtime, box, 500, 411)
    await paying.payee(runtime, box)
    said = await cli("payouts", "run")
    assert said.code == 0, said.err
    assert "(begun): 1 of 1 hosts looked at, 1 payout\n" in said.out
    assert "€9.11" in said.out
    assert said.out.endswith("No approval threshold is set.\n")
    [found] = (await cli("payouts", "list", "--json")).json["data"]
    assert (found["amount"], found["state"], found["requested_by"]) == (911, "sent", ME)
    name = found["id"]
    shown = (await cli("payouts", "show", name)).out
    for words in ("€9.11 to host_ada is sent", "earning", found["transfers"][0]["id"]):
        assert words in shown, shown
    assert (await cli("payouts", "show", name, "--json")).json["waterfall"] == [
        {"kind": "earning", "amount": 911}
    ]
    listed = (await cli("payouts", "lines", name)).out
    assert payment not in listed, "it is the tip that is named"
    assert "tip tip_" in listed
    assert listed.endswith("✓ 2 lines, Σ €9.11: €0.00 off\n")
    told = await cli("payouts", "lines", name, "--json")
    assert '"amount":500' in told.out.splitlines()[0]
    assert len(told.out.splitlines()) == 2
    listed = (await cli("payouts", "list", "--host", "host_ada")).out
    assert "€9.11" in listed
    assert "why" not in listed, "where nothing is refused"
    for unknown, code in (("--host", "not_found"), ("--currency", "unknown_currency")):
        assert_refused(await cli("payouts", "list", unknown, "nope"), code, "nope")
    assert (await cli("payouts", "list", "--state", "waiting", "--json")).json["data"] == []
    for command in ("show", "lines", "approve"):
        assert_refused(await cli("payouts", command, "po_none"), "not_found", "po_none")


def test_where_the_terminal_is_narrow_words_give_way_and_amounts_stay_whole() -> None:
    shown = output.table("", "id", "what", "amount", right=("amount",))
    shown.add_row("po_1", "a longer story than there is room for", "$172.73")
    narrow = Console(width=40)
    with narrow.capture() as said:
        narrow.print(shown)
    [row] = [line for line in said.get().splitlines() if "po_1" in line]
    assert "$172.73" in row


async def test_lines_that_do_not_sum_are_said_so_and_exit_with_1(
    cli: Cli, runtime: Runtime, box: Sandbox, fresh: Fresh
) -> None:
    await paying.evening(runtime, box, 500)
    await paying.payee(runtime, box)
    await paying.pay(runtime)
    forge = "UPDATE payouts SET minor = 505 WHERE id = 'po_1'"
    async with Database(fresh.owner, connections=1) as owner:
        await owner.fetch(forge)
    said = await cli("payouts", "lines", "po_1")
    assert (said.code, said.out.splitlines()[-1]) == (1, "✗ 1 line, Σ €5.00: €0.05 off")
    assert (await cli("payouts", "lines", "po_1", "--json")).code == 1


async def test_what_waits_is_approved_by_another_person_only(
    cli: Cli, runtime: Runtime, box: Sandbox
) -> None:
    await paying.evening(runtime, box, 500)
    await paying.payee(runtime, box)
    said = await cli("payouts", "run", **LOW)
    assert "takings payouts list --state waiting --batch" in said.out
    assert said.out.endswith("What is above €1.00 waits for another person.\n")
    [waits] = (await cli("payouts", "list", "--state", "waiting", "--json")).json["data"]
    assert_refused(await cli("payouts", "approve", waits["id"]), "same_person", ME)
    refused = await cli("payouts", "refuse", waits["id"], "--why", "not yet")
    assert f"✓ {waits['id']}: €5.00 to host_ada is refused" in refused.out
    assert "not yet" in refused.out
    assert "not yet" in (await cli("payouts", "list")).out
    await paying.pay(runtime, approval={"eur": 1}, actor="key_finance")
    said = await cli("payouts", "approve", "po_1")
    by = f"is sent, asked for by key_finance, approved by {ME}\n"
    assert said.out == f"✓ po_1: €5.00 to host_ada {by}"
    assert (await cli("payouts", "approve", "po_1", "--json")).json["state"] == "sent"
    noted = await runtime.database.fetch("SELECT operation, actor FROM acts")
    assert {act.operation for act in noted} == {
        *("payout_batches.begin", "payouts.approve", "payouts.refuse")
    }
    assert {act.actor for act in noted} == {ME}


async def test_one_host_is_paid_on_request_whatever_the_plan_says_and_once_by_its_id(
    cli: Cli, runtime: Runtime, box: Sandbox
) -> None:
    await paying.evening(runtime, box, 500)
    await paying.payee(runtime, box)
    await cli("payouts", "plan", "host_ada", "--schedule", "manual")
    assert (await cli("payouts", "run", "--json")).json["payouts"] == []
    keyless = await cli("payouts", "request", "host_ada", "eur", TAKINGS_STRIPE_API_KEY="")
    assert_refused(keyless, "stripe_key_missing", "TAKINGS_STRIPE_API_KEY")
    said = await cli("payouts", "request", "host_ada", "eur", "--id", "po_1")
    paid = f"✓ po_1: €5.00 to host_ada is sent, asked for by {ME}\n"
    assert said.out == paid + "No approval threshold is set.\n", said.err
    again = await cli("payouts", "request", "host_ada", "eur", "--id", "po_1", "--json")
    assert (again.json["id"], again.json["amount"]) == ("po_1", 500)
    for host, currency, code in (
        *(("host_ada", "eur", "nothing_to_pay"), ("host_nope", "eur", "not_found")),
        ("host_ada", "euro", "unknown_currency"),
    ):
        assert_refused(await cli("payouts", "request", host, currency), code, "")
    noted = await runtime.database.fetch("SELECT target FROM acts WHERE operation = $1", REQUEST)
    assert {act.target for act in noted} == {"po_1"}


async def test_a_plan_is_shown_changed_paused_and_resumed(
    cli: Cli, runtime: Runtime, box: Sandbox
) -> None:
    await paying.evening(runtime, box, 500)
    await paying.payee(runtime, box)
    shown = (await cli("payouts", "plan", "host_ada")).out
    assert shown.startswith("host_ada is paid daily, next on ")
    weekly = ("--schedule", "weekly", "--anchor", "1")
    said = await cli("payouts", "plan", "host_ada", *weekly, "--minimum", "eur:10.00")
    assert "host_ada is paid weekly on Monday, next on " in said.out
    assert said.out.endswith(", from €10.00 on\n")
    kept = (await cli("payouts", "plan", "host_ada", "--minimum", "jpy:100", "--json")).json
    assert (kept["schedule"], kept["anchor"]) == ("weekly", 1)
    assert kept["minimums"] == {"eur": 1000, "jpy": 100}
    [coming] = (await cli("payouts", "upcoming", "host_ada", "--json")).json["data"]
    assert (coming["estimate"], coming["why"]) == (500, "below_minimum")
    assert "below minimum" in (await cli("payouts", "upcoming", "host_ada")).out
    paused = (await cli("payouts", "pause", "host_ada", "--why", "a review")).out
    assert f"paused by {ME} on " in paused
    assert (await cli("payouts", "run", "--json")).json["payouts"] == []
    assert "paused" not in (await cli("payouts", "resume", "host_ada")).out
    manual = (await cli("payouts", "plan", "host_ada", "--schedule", "manual")).out
    assert "on request alone" in manual
    for wrong, code in (("eur", "not_a_minimum"), ("eur:1.234", "too_many_decimals")):
        bad = await cli("payouts", "plan", "host_ada", "--minimum", wrong)
        assert_refused(bad, code, wrong.partition(":")[2] or wrong)
    bad = await cli("payouts", "plan", "host_ada", "--anchor", "3")
    assert_refused(bad, "bad_payday", "3")


async def test_a_run_that_is_left_or_killed_is_carried_on_by_the_next_or_the_worker(
    cli: Cli, runtime: Runtime, box: Sandbox
) -> None:
    database, now = runtime.database, runtime.now()
    await crowd.earned(runtime, box, 40)
    left = (await cli("payouts", "run", "--no-wait", "--json")).json
    assert (left["looked"], left["hosts"], left["payouts"]) == (0, 40, [])
    killed = await cli.start("payouts", "run")
    box.faults.call("latency", "/v1/transfers$", latency=0.2, times=1000)
    async with asyncio.timeout(60):
        while not (await crowd.states(runtime)).get("sent"):
            await asyncio.sleep(0.02)
    killed.kill()
    await killed.wait()
    box.faults.clear()
    states = await crowd.states(runtime)
    assert 0 < states["sent"] < 40
    await transfers.send(database, runtime.stripe, now=now + timedelta(minutes=5))
    assert await crowd.sums(runtime, box) == crowd.once(40)
    again = (await cli("payouts", "run", "--json")).json
    assert again["id"] != left["id"], "the first is through"
    assert again["payouts"] == []
    found = await database.run(batches.progress, left["id"])
    assert found.payouts == {"sent": 40}
    await paying.hear(runtime, box)
    assert await stories.guilty(database) == {}


async def test_while_stripe_is_away_a_run_does_not_wait_for_ever(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await paying.evening(runtime, box, 500)
    await paying.payee(runtime, box)
    box.faults.call("503", "/v1/transfers$", times=1000)
    monkeypatch.setattr(watching, "PATIENCE", timedelta(seconds=0))
    monkeypatch.setattr(watching, "SHOWN_S", 0.01)
    await batches.start(runtime.database, "pob_1", actor=ME, now=runtime.now())
    with pytest.raises(NotAllSent, match="Of the payouts of pob_1 1 could not be sent yet"):
        await watching._carried(runtime, "pob_1")  # noqa: SLF001 - what a run does
    box.faults.clear()
    [mine] = await runtime.database.fetch(watching.MINE, ME)
    assert mine.id == "pob_1"
    await watching._carried(runtime, "pob_1")  # noqa: SLF001 - as above
    assert await runtime.database.fetch(watching.MINE, ME) == []
