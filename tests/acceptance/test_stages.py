"""The stage: a tip goes to who is on it when the tip is given, where the agreement says so."""

from datetime import UTC, datetime, timedelta

import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.database import Database
from takings.errors import NotFound
from takings.money import Money
from takings.payments import refunds
from takings.spaces import agreements, hosts, spaces, stages
from takings.spaces.agreements import Share
from takings.spaces.stages import StageClosed
from tests import authorised, box_office, stories
from tipping import tips

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SHARES = (("host_ada", 5000), ("host_bob", 3000), ("host_cleo", 2000))


async def room(database: Database, now: datetime) -> None:
    """A live Space of three, whose tips go to who is on stage."""
    await stories.room(database, now, shares=SHARES)
    parts = [Share(*share) for share in SHARES]
    await agreements.amend(database, "spc_one", parts, tips="stage", now=now)
    await stories.signed(database, "spc_one", now)


async def comes(database: Database, name: str, now: datetime = NOW) -> None:
    await stages.join(database, "spc_one", f"host_{name}", now=now)


async def goes(database: Database, name: str, now: datetime = NOW) -> None:
    await stages.leave(database, "spc_one", f"host_{name}", now=now)


async def log(database: Database) -> list[str]:
    """Who was on stage, in minutes since noon."""
    rows = await database.run(stages.log, "spc_one")

    def minute(at: datetime | None) -> str:
        return "" if at is None else f"{(at - NOW) // MINUTE}"

    return [f"{row.host_id} {minute(row.joined_at)}–{minute(row.left_at)}" for row in rows]


async def test_who_comes_and_goes_is_noted_once_and_all_leave_when_it_is_over(
    database: Database,
) -> None:
    await stories.room(database, NOW)
    for minute, name, act in (
        (0, "ada", comes), (1, "bob", comes), (2, "bob", comes),  # there already
        (3, "bob", goes), (4, "bob", goes),  # gone already
        (5, "bob", comes), (6, "bob", goes), (6, "bob", comes),  # back in the same instant
    ):  # fmt: skip
        await act(database, name, NOW + minute * MINUTE)
    before = ["host_ada 0–", "host_bob 1–3", "host_bob 5–6", "host_bob 6–"]
    assert await log(database) == before
    await spaces.move(database, "spc_one", "ended", now=NOW + 9 * MINUTE)
    after = ["host_ada 0–9", "host_bob 1–3", "host_bob 5–6", "host_bob 6–9"]
    assert await log(database) == after
    with pytest.raises(StageClosed, match="spc_one is ended"):
        await comes(database, "ada", NOW + 10 * MINUTE)
    await goes(database, "ada", NOW + 10 * MINUTE)
    assert await log(database) == after


async def test_a_clock_that_is_behind_takes_nothing_back(database: Database) -> None:
    await stories.room(database, NOW)
    await comes(database, "ada", NOW + MINUTE)
    await goes(database, "ada", NOW)
    await comes(database, "ada", NOW + MINUTE)  # the instant of an end is one of a beginning
    assert await log(database) == ["host_ada 1–"]


async def test_only_hosts_come_on_the_stage_of_a_live_space(database: Database) -> None:
    await stories.room(database, NOW)
    for host, space in (("host_none", "spc_one"), ("host_ada", "spc_none")):
        for act in (stages.join, stages.leave):
            with pytest.raises(NotFound):
                await act(database, space, host, now=NOW)
    told = {"host": "host_ada", "title": "Later", "policy": stories.CLUBHOUSE}
    await spaces.schedule(database, "spc_two", **told, now=NOW)  # type: ignore[arg-type]
    with pytest.raises(StageClosed, match="spc_two is scheduled"):
        await stages.join(database, "spc_two", "host_ada", now=NOW)


async def test_a_tip_goes_to_who_is_on_stage_when_it_is_given_by_their_shares(
    runtime: Runtime, box: Sandbox
) -> None:
    database, now = runtime.database, runtime.now()
    await room(database, now)
    await hosts.register(database, "host_guest", "Guest", now=now)
    for name in ("ada", "bob", "guest"):
        await comes(database, name, now)
    both = await stories.tip(runtime, 1000, name="tip_1", now=now + MINUTE)
    await goes(database, "bob", now + 2 * MINUTE)
    alone = await stories.tip(runtime, 1000, name="tip_2", now=now + 2 * MINUTE)
    await goes(database, "ada", now + 3 * MINUTE)
    guest = await stories.tip(runtime, 1000, name="tip_3", now=now + 4 * MINUTE)  # is no payee
    for sent in (both, alone, guest):  # paid when the stage is long another one
        box.pay(sent.payment.intent_id)
    await stories.hear(runtime, box)
    told = await stories.told(database)
    expected = {
        both.payment.id: {"ada": 625, "bob": 375},
        alone.payment.id: {"ada": 1000},
        guest.payment.id: {"ada": 500, "bob": 300, "cleo": 200},
    }
    for payment, shares in expected.items():
        hosts_lines = "".join(
            f"  liabilities:host:host_{name}:held -{minor} eur\n" for name, minor in shares.items()
        )
        assert (
            f"payment:{payment}:earned\n  clearing:charges +1061 eur\n{hosts_lines}"
            "  income:fees_covered -61 eur\n" in told
        ), told
    assert await stories.guilty(database) == {}


async def test_a_refund_takes_from_those_who_got_it(runtime: Runtime, box: Sandbox) -> None:
    database, now = runtime.database, runtime.now()
    await room(database, now - MINUTE)
    await comes(database, "bob", now - MINUTE)
    await comes(database, "cleo", now - MINUTE)
    sent = await stories.paid_tip(runtime, box, 1000)
    await goes(database, "cleo", runtime.now())
    await comes(database, "ada", runtime.now())
    assert await stories.owed(database, "eur") == {"host_bob": 600, "host_cleo": 400}
    part = sent.payment, Money(500, "eur")
    await refunds.refund(database, runtime.stripe, "ref_1", part[0].id, part[1], now=runtime.now())
    await stories.hear(runtime, box)
    assert await stories.owed(database, "eur") == {"host_bob": 300, "host_cleo": 200}
    assert await stories.guilty(database) == {}


async def test_a_tab_that_closes_later_still_goes_to_who_was_there_tip_by_tip(
    runtime: Runtime, box: Sandbox
) -> None:
    database, now = runtime.database, runtime.now()
    await room(database, now)
    await authorised.opened(runtime, box)
    await comes(database, "ada", now)
    await authorised.give(runtime, "tip_1", 100, now=now + MINUTE)
    await goes(database, "ada", now + 2 * MINUTE)
    await comes(database, "bob", now + 3 * MINUTE)
    await authorised.give(runtime, "tip_2", 100, now=now + 4 * MINUTE)
    await spaces.move(database, "spc_one", "ended", now=now + 5 * MINUTE)
    await authorised.close(runtime)
    await stories.hear(runtime, box)
    assert (await tips.get(database, "tip_2")).state == "settled"
    assert await stories.owed(database, "eur") == {"host_ada": 100, "host_bob": 100}
    assert await stories.guilty(database) == {}


async def test_tickets_go_to_all_and_so_do_tips_of_a_room_without_that_rule(
    runtime: Runtime, box: Sandbox
) -> None:
    database, now = runtime.database, runtime.now()
    await room(database, now - MINUTE)
    await comes(database, "bob", now - MINUTE)
    await box_office.run(database, now - MINUTE)
    await box_office.bought(runtime, box, "zoe")
    assert await stories.owed(database, "eur") == {
        "host_ada": 500, "host_bob": 300, "host_cleo": 200,
    }  # fmt: skip
    parts = [Share(*share) for share in SHARES]
    await agreements.amend(database, "spc_one", parts, tips="shares", now=runtime.now())
    await stories.signed(database, "spc_one", runtime.now())
    await stories.paid_tip(runtime, box, 1000)
    assert await stories.owed(database, "eur") == {
        "host_ada": 1000, "host_bob": 600, "host_cleo": 400,
    }  # fmt: skip


async def test_shares_alone_keep_the_rule_for_tips_as_it_was(database: Database) -> None:
    await room(database, NOW)
    version = await agreements.amend(database, "spc_one", [Share("host_ada", 10_000)], now=NOW)
    assert (version.number, version.tips) == (3, "stage")
