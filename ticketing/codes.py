"""Codes: who knows one pays less, so many tickets of a run or of one of its tiers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import money, records
from takings.commission import ALL_BPS
from takings.database import Database
from takings.errors import Conflict, Invalid, NotFound
from takings.money import Money
from takings.policies import policies
from takings.policies.rules import Policy
from ticketing import pools, runs
from ticketing.runs import Opened
from ticketing.tables import Code, Pool, Run, Tier

TEXT: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class BadCode(Invalid):
    """The code's {field} is wrong: {problem}.

    Compare it with the reference.
    """

    param = "code"


class CodeLeavesTooLittle(Invalid):
    """With the code {promo} a ticket of the tier {tier} would cost {left}; the minimum is {least}.

    Let it take off less, or all of the price.
    """

    param = "code"


class CodeDiffers(Conflict):
    """There is already a code with the id {id}, and it is another one.

    Make the new code under an id of its own.
    """

    param = "id"


class CodeTaken(Conflict):
    """The run {run} has a code {promo} already.

    Choose another text.
    """

    param = "code"


@dataclass(frozen=True, slots=True)
class CodeWish:
    """A code of a run, or of one tier: it takes off a rate, rounded down, or so much a ticket.

    ``size`` is how many tickets it is for; None: as many as there are.
    """

    id: str
    run: str
    code: str
    tier: str | None = None
    rate_bps: int | None = None
    minor: int | None = None
    size: int | None = None
    closes_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """A code, and how many tickets are held and sold with it."""

    code: Code
    pool: Pool


def check(wish: CodeWish) -> None:
    """Nothing happens if the code is well formed; else BadId or BadCode."""
    records.check_id(wish.id)
    if not TEXT.fullmatch(wish.code):
        raise BadCode(field="code", problem="it has 1 to 64 letters, digits, _ and -")
    if (wish.rate_bps is None) == (wish.minor is None):
        raise BadCode(field="rate_bps", problem="it takes off a rate or an amount: tell one")
    if wish.rate_bps is not None and not 1 <= wish.rate_bps <= ALL_BPS:
        raise BadCode(field="rate_bps", problem="it lies between 1 and 10000")
    if wish.minor is not None and not 1 <= wish.minor <= money.LIMIT:
        raise BadCode(field="amount", problem="it takes off at least 1")
    if wish.size is not None and not 1 <= wish.size <= pools.MOST:
        raise BadCode(field="size", problem=f"it is for 1 to {pools.MOST} tickets")


def left(minor: int, code: CodeWish | Code) -> int:
    """What of a price the code leaves to pay, as ``claim_tickets`` reckons it."""
    off = minor * (code.rate_bps or 0) // ALL_BPS if code.minor is None else code.minor
    return max(0, minor - off)


def check_price(
    policy: Policy, currency: str, tier: str, minor: int, code: CodeWish | Code
) -> None:
    """Nothing happens if what the code leaves of a price is nothing, or can be charged.

    Raises CodeLeavesTooLittle or NotChargeable.
    """
    price, least = Money(left(minor, code), currency), policy.terms_in(currency).minimum
    if 0 < price.minor < least:
        raise CodeLeavesTooLittle(
            promo=code.code, tier=tier, left=price, least=Money(least, currency)
        )
    money.check_charge(price)


async def make(database: Database, wish: CodeWish, *, now: datetime) -> Made:
    """Make a code; repeatable by its id, also when it has ended since.

    Raises BadCode, NotFound for the run or its tier, RunCalledOff, CodeLeavesTooLittle,
    NotChargeable, CodeTaken, CodeDiffers, IdTaken.
    """
    check(wish)

    async def step(session: AsyncSession) -> Made:
        run = await runs.locked(session, wish.run)
        code = await session.get(Code, wish.id)
        if code is not None:
            return await _same(session, code, wish, now)
        same = select(Code).where(Code.run_id == wish.run, Code.code == wish.code)
        if (await session.exec(same)).first() is not None:
            raise CodeTaken(run=wish.run, promo=wish.code)
        await _check_prices(session, run, wish)
        pool = await pools.make(session, wish.id, wish.size)
        code = Code(
            id=wish.id,
            run_id=wish.run,
            tier_id=wish.tier,
            code=wish.code,
            rate_bps=wish.rate_bps,
            minor=wish.minor,
            closes_at=wish.closes_at,
            created_at=now,
        )
        session.add(code)
        await session.flush()
        return Made(code, pool)

    return await database.run(step)


async def _same(session: AsyncSession, code: Code, wish: CodeWish, now: datetime) -> Made:
    """The code that is there, if it is the one that is wished for; one that ended still is."""
    (known,) = await shown(session, [code])
    there = (code.run_id, code.tier_id, code.code, code.rate_bps, code.minor, known.pool.quota)
    told = (wish.run, wish.tier, wish.code, wish.rate_bps, wish.minor, wish.size)
    if there != told or (code.closes_at != wish.closes_at and not over(code, now)):
        raise CodeDiffers(id=wish.id)
    return known


def over(code: Code, now: datetime) -> bool:
    """Whether nobody can use the code any more."""
    return code.closes_at is not None and code.closes_at <= now


async def _check_prices(session: AsyncSession, run: Opened, wish: CodeWish) -> None:
    """Nothing happens if the code leaves a price that can be paid of every tier it is for."""
    meant = [step.tier for step in run.tiers if wish.tier in (None, step.tier.id)]
    if not meant:
        raise NotFound(kind="tier", id=wish.tier)
    policy = await policies.get(session, run.run.policy, run.run.policy_version)
    for tier in meant:
        check_price(policy, run.run.currency, tier.name, tier.minor, wish)


async def check_tier(session: AsyncSession, run: Run, tier: Tier, now: datetime) -> None:
    """Nothing happens if every code that can be used leaves a price that can be paid of the tier.

    Raises CodeLeavesTooLittle or NotChargeable.
    """
    policy = await policies.get(session, run.policy, run.policy_version)
    for code in await session.exec(select(Code).where(Code.run_id == run.id)):
        if code.tier_id in (None, tier.id) and not over(code, now):
            check_price(policy, run.currency, tier.name, tier.minor, code)


async def get(session: AsyncSession, code_id: str) -> Made:
    """The code of this id and what is taken with it, or NotFound."""
    code = await session.get(Code, code_id)
    if code is None:
        raise NotFound(kind="code", id=code_id)
    return (await shown(session, [code]))[0]


async def end(database: Database, code_id: str, *, now: datetime) -> Made:
    """From now on nobody can use the code; what is held with it keeps its price.  Repeatable."""

    async def step(session: AsyncSession) -> Made:
        code = await session.get(Code, code_id, with_for_update={"key_share": True})
        if code is None:
            raise NotFound(kind="code", id=code_id)
        if not over(code, now):
            code.closes_at = now
        return (await shown(session, [code]))[0]

    return await database.run(step)


async def shown(session: AsyncSession, codes: Sequence[Code]) -> list[Made]:
    """These codes, and what is taken with each."""
    wanted = select(Pool).where(col(Pool.id).in_([code.id for code in codes]))
    known = {pool.id: pool for pool in await session.exec(wanted)}
    return [Made(code, known[code.id]) for code in codes]
