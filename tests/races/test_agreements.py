"""Agreements that are signed and changed at the same time, while tips come."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from api.runtime import Runtime
from takings.database import Database
from takings.errors import TakingsError
from takings.spaces import agreements, hosts, locking, spaces, stages
from takings.spaces.agreements import Share, Version
from tests import stories

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ROUNDS = 20


async def planned(database: Database, space: str, many: int = 4) -> list[str]:
    """A live Space that waits for so many signatures; of whom."""
    names = [f"host_{n}" for n in range(many)]
    for name in ("host_ada", *names):
        await hosts.register(database, name, name, now=NOW)
    shares = [Share("host_ada", 10_000 - 1000 * many), *(Share(name, 1000) for name in names)]
    told = {"host": "host_ada", "title": "A room", "policy": stories.CLUBHOUSE}
    await spaces.schedule(database, space, **told, shares=shares, now=NOW)  # type: ignore[arg-type]
    await spaces.move(database, space, "live", now=NOW)
    return names


async def said(act: object) -> str:
    try:
        return (await act).state  # type: ignore[misc]
    except TakingsError as error:
        return error.code


async def test_of_all_who_sign_at_once_one_is_the_last_and_it_is_in_force(
    database: Database,
) -> None:
    for n in range(ROUNDS):
        space = f"spc_{n}"
        names = await planned(database, space)
        signs = [agreements.sign(database, space, 1, name, now=NOW) for name in names * 2]
        states = [version.state for version in await asyncio.gather(*signs)]
        assert states.count("proposed") >= len(names) - 1
        version = await database.run(agreements.newest, space)
        assert (version.state, len(version.signatures)) == ("in_force", len(names) + 1)


async def test_control_without_the_lock_two_see_the_other_missing_and_it_never_is_in_force(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = await planned(database, "spc_one", many=2)
    monkeypatch.setattr(locking, "space", spaces.get)
    both, look = asyncio.Barrier(len(names)), agreements.newest

    async def after_the_other(*args: Any) -> Version:
        await both.wait()
        return await look(*args)

    monkeypatch.setattr(agreements, "newest", after_the_other)
    signs = [agreements.sign(database, "spc_one", 1, name, now=NOW) for name in names]
    assert [version.state for version in await asyncio.gather(*signs)] == ["proposed"] * 2
    [version] = await database.run(agreements.every, "spc_one")
    assert (version.state, version.waiting_for) == ("proposed", ())


async def test_a_signature_that_meets_a_change_is_of_the_old_or_refused_never_of_the_new(
    database: Database,
) -> None:
    seen: Counter[str] = Counter()
    for n in range(ROUNDS):
        space = f"spc_{n}"
        [name] = await planned(database, space, many=1)
        changed = [Share("host_ada", 1000), Share(name, 9000)]
        first, second = (
            said(agreements.sign(database, space, 1, name, now=NOW)),
            said(agreements.amend(database, space, changed, now=NOW)),
        )
        both = (first, second) if n % 2 else (second, first)
        answers = await asyncio.gather(*both)
        signed = answers[0] if n % 2 else answers[1]
        seen[signed] += 1
        new, old = await database.run(agreements.every, space)
        assert (new.number, new.state, new.signatures) == (2, "proposed", ())
        assert old.state == {"in_force": "in_force", "agreement_superseded": "superseded"}[signed]
        row = await database.run(spaces.get, space)
        assert row.agreement_version == (1 if signed == "in_force" else None)
    assert seen.total() == ROUNDS


async def test_tips_that_come_while_the_last_one_signs_are_refused_or_shared_as_signed(
    runtime: Runtime,
) -> None:
    database = runtime.database
    [name] = await planned(database, "spc_one", many=1)

    async def tip() -> str:
        try:
            return (await stories.tip(runtime, 500)).state
        except TakingsError as error:
            return error.code

    tips = [tip() for _ in range(10)]
    sign = said(agreements.sign(database, "spc_one", 1, name, now=NOW))
    answers = await asyncio.gather(*tips[:5], sign, *tips[5:])
    assert set(answers) <= {"agreement_unsigned", "pending", "in_force"}
    assert await tip() == "pending"
    rows = await database.fetch("SELECT count(*) AS n FROM lines")
    assert rows[0].n == answers.count("pending") + 1
    assert await stories.guilty(database) == {}


async def test_of_all_who_say_that_somebody_comes_on_stage_one_is_noted(
    database: Database,
) -> None:
    await stories.room(database, NOW)
    joins = [stages.join(database, "spc_one", "host_ada", now=NOW) for _ in range(10)]
    leaves = [stages.leave(database, "spc_one", "host_bob", now=NOW) for _ in range(10)]
    await asyncio.gather(*joins, *leaves, spaces.move(database, "spc_one", "ended", now=NOW),
                         return_exceptions=True)  # fmt: skip
    rows = await database.run(stages.log, "spc_one")
    assert [row.left_at is None for row in rows] in ([], [False])
