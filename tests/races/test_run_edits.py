"""Runs that are edited while they sell: never smaller than what is taken, whoever comes first."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database, fetch
from takings.errors import TakingsError
from tests import box_office, stories
from tests.box_office import claim, left
from ticketing import pools, runs
from ticketing.wishes import TierWish

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


async def shrink(database: Database, size: int) -> str:
    try:
        await runs.edit(database, "run_one", {"size": size}, now=NOW)
    except TakingsError as error:
        return error.code
    return "fine"


async def test_a_run_that_shrinks_while_claims_come_is_never_below_what_is_held(
    database: Database,
) -> None:
    await box_office.run(database, NOW, size=40)
    claims = [claim(database, str(n), now=NOW) for n in range(50)]
    edits = [shrink(database, size) for size in range(39, 9, -1)]
    mixed = [one for pair in zip(claims[:30], edits, strict=True) for one in pair] + claims[30:]
    answers = await asyncio.gather(*mixed)
    assert set(answers) <= {"held", "sold_out", "fine", "size_below_taken"}
    quota, held, _ = await left(database)
    assert answers.count("held") == held
    assert quota is not None
    assert held <= quota
    rows = await database.fetch("SELECT sum(quantity) AS n FROM holds WHERE state = 'held'")
    assert rows[0].n == held


async def test_control_without_the_lock_the_database_has_to_refuse(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await box_office.run(database, NOW, size=40)
    monkeypatch.setattr(pools, "LOCK", "SELECT $1::text")
    looked, claimed = asyncio.Event(), asyncio.Event()

    async def meanwhile() -> None:
        await looked.wait()
        await asyncio.gather(*(claim(database, str(n), now=NOW) for n in range(30)))
        claimed.set()

    shown = runs.of

    async def slowly(session: object, run_id: str) -> runs.Opened:
        found = await shown(session, run_id)  # type: ignore[arg-type]
        looked.set()
        await claimed.wait()
        return found

    monkeypatch.setattr(runs, "of", slowly)
    answer, _ = await asyncio.gather(shrink(database, 20), meanwhile())
    assert answer == "law_broken", "the last wall: pools_never_oversold"
    assert await left(database) == (40, 30, 0)


async def test_edits_at_the_same_time_are_all_counted_and_each_sees_the_one_before(
    database: Database,
) -> None:
    await box_office.run(database, NOW, size=40)
    sizes = range(50, 70)
    acts = [runs.edit(database, "run_one", {"size": n}, expected=1, now=NOW) for n in sizes]
    answers = await asyncio.gather(*acts, return_exceptions=True)
    done = [one for one in answers if isinstance(one, runs.Opened)]
    assert len(done) == 1
    found = await runs.get(database, "run_one")
    assert (found.run.version, found.pool.quota) == (2, done[0].pool.quota)


async def test_a_space_is_capped_while_its_runs_open_and_sell_and_every_ticket_counts(
    database: Database,
) -> None:
    await stories.room(database, NOW)

    async def sell(n: int) -> str:
        tier = TierWish("Seat", "free", id=f"tier_{n}")
        name = f"run_{n}"
        await box_office.run(database, NOW, name=name, size=10, tiers=(tier,))
        answers = [
            await claim(database, f"{n}_{m}", run=name, quantity=2, now=NOW) for m in range(5)
        ]
        return ",".join(answers)

    async def cap() -> str:
        for limit in range(20, 100, 4):
            try:
                await pools.cap_space(database, "spc_one", limit, now=NOW)
            except pools.SizeBelowTaken:
                continue
            return "fine"
        return "never"

    *_, capped = await asyncio.gather(*(sell(n) for n in range(8)), cap())
    assert capped == "fine"
    quota, held, _ = await left(database, "space:spc_one")
    rows = await database.fetch("SELECT sum(quantity)::integer AS n FROM holds")
    assert held == rows[0].n
    assert quota is not None
    assert held <= quota


async def capped_while_a_run_opens_and_sells(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> tuple[int | None, int, int]:
    """What the Space's pool says after it was made while a run came to be and sold two."""
    await stories.room(database, NOW)
    looked, sold = asyncio.Event(), asyncio.Event()

    async def slowly(session: AsyncSession, sql: str, *args: Any) -> Any:
        found = await fetch(session, sql, *args)
        if sql == pools.RUNS:
            looked.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(sold.wait(), 1)
        return found

    async def sell() -> None:
        await looked.wait()
        await box_office.run(database, NOW)
        assert await claim(database, "a", quantity=2, now=NOW) == "held"
        sold.set()

    monkeypatch.setattr(pools, "fetch", slowly)
    await asyncio.gather(pools.cap_space(database, "spc_one", 5, now=NOW), sell())
    return await left(database, "space:spc_one")


async def test_a_run_that_opens_while_its_space_is_capped_is_counted(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await capped_while_a_run_opens_and_sells(database, monkeypatch) == (5, 2, 0)


async def test_control_without_the_spaces_lock_it_is_not(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "SPACE", pools.SPACE.replace("FOR UPDATE", ""))
    assert await capped_while_a_run_opens_and_sells(database, monkeypatch) == (5, 0, 0)
