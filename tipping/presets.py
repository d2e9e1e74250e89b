"""Presets: the amounts that a host suggests, else those that the room's policy suggests."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from takings import editions, money
from takings.database import Database
from takings.errors import Invalid, NotFound
from takings.money import Money
from takings.policies import policies
from takings.spaces import hosts, spaces
from takings.spaces.tables import Host
from tipping.tables import TipPresets

MOST: Final = 6


class BadPresets(Invalid):
    """The amounts {amounts} cannot be suggested: {problem}.

    Give 1 to 6 amounts in minor units, from the smallest up.
    """

    param = "amounts"


@dataclass(frozen=True, slots=True)
class Presets:
    """What a host suggests in one currency; version 0 suggests nothing yet."""

    host: str
    currency: str
    version: int
    amounts: tuple[Money, ...]


async def set(  # noqa: A001 - presets.set
    database: Database,
    host_id: str,
    currency: str,
    amounts: Sequence[int],
    *,
    expected: int | None = None,
    now: datetime,
) -> Presets:
    """Suggest these amounts from now on: a next version, the first being 1.

    Setting what already holds changes nothing, whatever version was expected: it may be a
    repetition.  Raises NotFound, BadPresets, NotChargeable, UnknownCurrency, EditedMeanwhile.
    """
    suggested = _check(amounts, currency)

    async def step(session: AsyncSession) -> Presets:
        if await session.get(Host, host_id, with_for_update={"key_share": True}) is None:
            raise NotFound(kind="host", id=host_id)
        known = await get(session, host_id, currency)
        if known.amounts == suggested:
            return known
        what = f"list of {currency} presets of {host_id}"
        editions.check(what, known.version, expected)
        row = TipPresets(
            host_id=host_id,
            currency=currency,
            version=known.version + 1,
            amounts=[one.minor for one in suggested],
            updated_at=now,
        )
        await session.merge(row)
        return Presets(host_id, currency, row.version, suggested)

    return await database.run(step)


def _check(amounts: Sequence[int], currency: str) -> tuple[Money, ...]:
    suggested = tuple(Money(minor, currency) for minor in amounts)
    shown = ", ".join(map(str, suggested))
    if not 1 <= len(suggested) <= MOST:
        raise BadPresets(amounts=shown, problem=f"they are {len(suggested)}")
    if suggested[0].minor <= 0 or any(low >= high for low, high in pairwise(suggested)):
        raise BadPresets(amounts=shown, problem="they do not rise from above zero")
    for one in suggested:
        money.check_charge(one)
    return suggested


async def get(session: AsyncSession, host_id: str, currency: str) -> Presets:
    """What the host suggests in a currency, or NotFound where there is no such host."""
    row = await session.get(TipPresets, (host_id, currency))
    if row is None:
        await hosts.get(session, host_id)
        return Presets(host_id, currency, 0, ())
    amounts = tuple(Money(minor, currency) for minor in row.amounts)
    return Presets(host_id, currency, row.version, amounts)


async def of_space(session: AsyncSession, space_id: str, currency: str) -> tuple[Money, ...]:
    """What to suggest in this room: of the host's amounts those that its policy lets through.

    Where none are left, the policy's own.  Raises NotFound or CurrencyNotOffered.
    """
    space = await spaces.get(session, space_id)
    policy = await policies.get(session, space.policy, space.policy_version)
    terms = policy.terms_in(currency)
    wished = (await get(session, space.host_id, currency)).amounts
    fitting = tuple(one for one in wished if terms.minimum <= one.minor <= terms.maximum)
    return fitting or tuple(Money(minor, currency) for minor in terms.suggested)
