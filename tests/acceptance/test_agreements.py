"""Agreements: signed by all before anything is sold; a change touches only later sales."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.database import Database, LawBroken
from takings.editions import EditedMeanwhile
from takings.errors import Invalid, NotFound, TakingsError
from takings.money import Money
from takings.spaces import agreements, hosts, spaces
from takings.spaces.agreements import Claim, Share, Version
from tests import authorised, books, box_office, stories
from tests.conftest import Fresh
from tipping import tabs
from tipping.tabs import TabWish

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SPLIT = (Share("host_ada", 6000), Share("host_bob", 4000))
HALVES = (Share("host_ada", 5000), Share("host_bob", 5000))
SALES = ("tips", "tabs", "runs", "payments", "lines", "asks")


async def planned(
    database: Database, *shares: Share, host: str = "host_ada", now: datetime = NOW
) -> Version:
    """A live Space that nobody but its host has signed for; its agreement."""
    for name in ("host_ada", "host_bob", "host_cleo", "host_choir"):
        await hosts.register(database, name, name, now=now)
    told = {"host": host, "title": "A room", "policy": stories.CLUBHOUSE}
    await spaces.schedule(database, "spc_one", **told, shares=shares or SPLIT, now=now)  # type: ignore[arg-type]
    await spaces.move(database, "spc_one", "live", now=now)
    return await database.run(agreements.newest, "spc_one")


async def sign(database: Database, number: int, *names: str) -> str:
    """These sign; how the version is then."""
    for name in names:
        version = await agreements.sign(database, "spc_one", number, f"host_{name}", now=NOW)
    return version.state


async def refusal(act: Awaitable[object]) -> TakingsError:
    with pytest.raises(TakingsError) as caught:
        await act
    return caught.value


def sales(runtime: Runtime) -> list[Callable[[], Awaitable[object]]]:
    """All that opens a sale."""
    tab = TabWish("tab_1", "spc_one", "lis_zoe", Money(5000, "eur"), "intent")
    database, door, now = runtime.database, runtime.stripe, runtime.now()
    return [
        lambda: stories.tip(runtime, 500),
        lambda: tabs.open(database, door, tab, now=now),
        lambda: box_office.run(database, now),
    ]


async def test_nothing_is_sold_before_every_payee_has_signed_and_nothing_written(
    runtime: Runtime, box: Sandbox
) -> None:
    database = runtime.database
    await planned(database, *SPLIT[:1], Share("host_bob", 3000), Share("host_cleo", 1000))
    for waiting_for in ("host_bob, host_cleo", "host_cleo"):
        for sale in sales(runtime):
            error = await refusal(sale())
            assert error.code == "agreement_unsigned"
            assert error.facts == {"space": "spc_one", "waiting_for": waiting_for}
        assert {table: await books.count(database, table) for table in SALES} == dict.fromkeys(
            SALES, 0
        )
        assert box.calls("POST", "/v1/payment_intents") == []
        last = await sign(database, 1, waiting_for.split(", ")[0].removeprefix("host_"))
    assert last == "in_force"
    for sale in sales(runtime):
        await sale()


async def test_control_without_the_look_the_database_has_to_refuse(
    runtime: Runtime, box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await planned(runtime.database)

    async def whatever(_: object, __: object) -> int:
        return 1

    monkeypatch.setattr(agreements, "in_force", whatever)
    assert (await refusal(stories.tip(runtime, 500))).code == "law_broken"
    assert box.calls("POST", "/v1/payment_intents") == []


async def test_control_without_its_laws_it_is_sold_and_the_books_check_names_it(
    runtime: Runtime, fresh: Fresh
) -> None:
    await planned(runtime.database)
    async with books.connected(fresh.owner) as owner:
        await owner.execute("ALTER TABLE spaces DISABLE TRIGGER signed")
    await runtime.database.fetch("UPDATE spaces SET agreement_version = 1")
    await stories.tip(runtime, 500)
    assert list(await stories.guilty(runtime.database)) == ["signed"]


async def test_a_host_signs_by_scheduling_and_who_is_paid_alone_sells_at_once(
    database: Database,
) -> None:
    version = await planned(database, Share("host_ada", 10_000))
    assert version.state == "in_force"
    assert [(one.host, one.actor) for one in version.signatures] == [("host_ada", "library")]
    assert version.signed_at == NOW
    assert (await database.run(spaces.get, "spc_one")).agreement_version == 1


async def test_a_host_who_is_not_paid_signs_nothing(database: Database) -> None:
    version = await planned(database, *SPLIT[1:], Share("host_cleo", 6000))
    assert (version.state, version.signatures) == ("proposed", ())
    assert version.waiting_for == ("host_bob", "host_cleo")
    error = await refusal(agreements.sign(database, "spc_one", 1, "host_ada", now=NOW))
    assert error.code == "not_a_payee"


async def test_a_change_waits_for_its_payees_and_touches_only_what_is_sold_later(
    runtime: Runtime, box: Sandbox
) -> None:
    database, now = runtime.database, runtime.now()
    await stories.room(database, now)
    await hosts.register(database, "host_cleo", "Cleo", now=now)
    changed = [Share("host_ada", 5000), Share("host_cleo", 5000)]
    assert (await agreements.amend(database, "spc_one", changed, now=now)).number == 2
    assert await sign(database, 2, "cleo") == "proposed"
    await stories.paid_tip(runtime, box, 1000, name="tip_1")  # the old one is in force
    assert await sign(database, 2, "ada") == "in_force"
    await stories.paid_tip(runtime, box, 1000, name="tip_2")
    assert await shared(runtime) == {
        "tip_1": ["held:host_ada -600", "held:host_bob -400"],
        "tip_2": ["held:host_ada -500", "held:host_cleo -500"],
    }
    assert await stories.guilty(database) == {}


async def shared(runtime: Runtime) -> dict[str, list[str]]:
    """What the journal gives to each host, tip by tip."""
    found: dict[str, list[str]] = {}
    for row in await runtime.database.fetch(SHARED):
        found.setdefault(row.subject, []).append(row.told)
    return found


SHARED = """
SELECT l.subject, format('%s:%s %s', split_part(a.name, ':', 4), split_part(a.name, ':', 3),
                         to_char(p.minor, 'SG999')) AS told
  FROM postings p
  JOIN lines l ON l.id = p.line
  JOIN accounts a ON a.id = p.account_id AND a.name LIKE 'liabilities:host:%'
 ORDER BY l.subject, told
"""


async def test_a_tab_follows_the_agreement_that_each_tip_was_given_under(
    runtime: Runtime, box: Sandbox
) -> None:
    database, now = runtime.database, runtime.now()
    await stories.room(database, now)
    await authorised.opened(runtime, box)
    await authorised.give(runtime, "tip_1", 100)
    await agreements.amend(database, "spc_one", HALVES, now=now)
    await authorised.give(runtime, "tip_2", 100)
    assert await sign(database, 2, "ada", "bob") == "in_force"
    await authorised.give(runtime, "tip_3", 100)
    await authorised.close(runtime)
    await stories.hear(runtime, box)
    assert await stories.owed(database, "eur") == {"host_ada": 170, "host_bob": 130}


async def test_an_agreement_is_amended_at_the_version_that_was_seen_or_not_at_all(
    database: Database,
) -> None:
    await stories.room(database, NOW)
    thirds = [Share("host_ada", 6667), Share("host_bob", 3333)]
    for _ in range(2):  # a repetition is answered
        made = await agreements.amend(database, "spc_one", HALVES, expected=1, now=NOW)
        assert (made.number, made.state) == (2, "proposed")
    with pytest.raises(EditedMeanwhile, match="agreement of spc_one is at version 2, not at 1"):
        await agreements.amend(database, "spc_one", thirds, expected=1, now=NOW)
    assert (await agreements.amend(database, "spc_one", thirds, now=NOW)).number == 3


async def test_only_the_newest_is_signed_and_proposing_what_is_in_force_withdraws_the_rest(
    database: Database,
) -> None:
    await stories.room(database, NOW)
    await agreements.amend(database, "spc_one", HALVES, now=NOW)
    await sign(database, 2, "ada")
    await agreements.amend(database, "spc_one", SPLIT, now=NOW)
    error = await refusal(agreements.sign(database, "spc_one", 2, "host_bob", now=NOW))
    assert (error.code, error.facts["newest"]) == ("agreement_superseded", 3)
    assert await sign(database, 2, "ada") == "superseded", "a repetition is answered"
    known = await database.run(agreements.every, "spc_one")
    states = [(version.number, version.state) for version in known]
    assert states == [(3, "proposed"), (2, "superseded"), (1, "in_force")]
    assert await sign(database, 3, "bob", "ada") == "in_force"
    with pytest.raises(NotFound, match="no agreement spc_one version 4"):
        await sign(database, 4, "ada")


async def test_nobody_waits_for_a_charity_that_may_sign_all_the_same(database: Database) -> None:
    charity = Share("host_choir", 4000, Claim(90, "listener"))
    version = await planned(database, Share("host_ada", 6000), charity)
    assert (version.state, version.waiting_for, version.shares[1]) == ("in_force", (), charity)
    assert await sign(database, 1, "choir") == "in_force"
    alone = Share("host_choir", 10_000, Claim(90, "listener"))
    assert (await agreements.amend(database, "spc_one", [alone], now=NOW)).state == "in_force"


@pytest.mark.parametrize(
    ("share", "code"),
    [
        (Share("host_choir", 10_000, Claim(0, "listener")), "bad_claim"),
        (Share("host_choir", 10_000, Claim(3651, "listener")), "bad_claim"),
        (Share("host_choir", 10_000, Claim(30, "others")), "bad_claim"),
    ],
)
async def test_a_claim_has_its_days_and_others_to_go_to(
    database: Database, share: Share, code: str
) -> None:
    await stories.room(database, NOW)
    await hosts.register(database, "host_choir", "Choir", now=NOW)
    with pytest.raises(Invalid) as caught:
        await agreements.amend(database, "spc_one", [share], now=NOW)
    assert caught.value.code == code
    assert len(await database.run(agreements.every, "spc_one")) == 1


UNSIGNED = (
    "UPDATE agreements SET signed_at = now() WHERE version = 2",
    "UPDATE spaces SET agreement_version = 2",
)


async def test_the_database_puts_nothing_in_force_that_is_not_signed_by_all(
    database: Database, fresh: Fresh
) -> None:
    await stories.room(database, NOW)
    await agreements.amend(database, "spc_one", HALVES, now=NOW)
    await sign(database, 2, "ada")
    for law, sql in zip(
        ("agreements_signed_by_all", "spaces_sell_as_signed"), UNSIGNED, strict=True
    ):
        with pytest.raises(LawBroken, match=law):
            await database.fetch(sql)
    born_signed = "INSERT INTO agreements VALUES ('spc_one', 3, now(), 'shares', now())"
    with pytest.raises(LawBroken, match="agreements_signed_by_all"):
        await database.fetch(born_signed)
    async with books.connected(fresh.admin) as connection:
        await connection.execute("SET session_replication_role = replica")
        for rewriting in (
            "UPDATE agreements SET tips = 'stage'",
            "UPDATE agreements SET signed_at = NULL WHERE version = 1",
            "DELETE FROM agreements",
            "TRUNCATE agreements CASCADE",
            "UPDATE signatures SET actor = 'nobody'",
            "DELETE FROM signatures",
        ):
            assert await books.refusal(connection, rewriting) == "journal_is_final", rewriting
        for law, sql in zip(
            ("agreements_signed_by_all", "spaces_sell_as_signed"), UNSIGNED, strict=True
        ):
            assert await books.refusal(connection, sql) == law
