"""What a host suggests, and that nobody overwrites what they have not seen."""

import asyncio

import pytest

from takings.database import Database
from takings.editions import EditedMeanwhile
from takings.errors import Invalid, NotFound, TakingsError
from takings.money import Money, NotChargeable, UnknownCurrency
from takings.policies.rules import CurrencyNotOffered
from tests import stories
from tipping import presets
from tipping.presets import BadPresets, Presets

NOW = stories.later()


def eur(*minors: int) -> tuple[Money, ...]:
    return tuple(Money(minor, "eur") for minor in minors)


async def put(database: Database, *amounts: int, expected: int | None = None) -> Presets:
    return await presets.set(database, "host_ada", "eur", amounts, expected=expected, now=NOW)


async def test_a_room_suggests_what_its_host_does_and_else_what_its_policy_does(
    database: Database,
) -> None:
    await stories.room(database, NOW)
    assert await database.run(presets.get, "host_ada", "eur") == Presets("host_ada", "eur", 0, ())
    assert await database.run(presets.of_space, "spc_one", "eur") == eur(500, 1000, 2000)
    assert await put(database, 49, 50, 50_000, 50_001) == Presets(
        *("host_ada", "eur", 1), eur(49, 50, 50_000, 50_001)
    )
    fits = eur(50, 50_000)  # the policy takes tips of 0.50 to 500.00
    assert await database.run(presets.of_space, "spc_one", "eur") == fits
    usd = await database.run(presets.of_space, "spc_one", "usd")
    assert [one.minor for one in usd] == [500, 1000, 2000]
    await put(database, 10, 20)
    assert await database.run(presets.of_space, "spc_one", "eur") == eur(500, 1000, 2000)


async def test_every_edit_counts_and_a_repetition_does_not(database: Database) -> None:
    await stories.room(database, NOW)
    assert (await put(database, 300, expected=0)).version == 1
    assert (await put(database, 300, expected=0)).version == 1  # its answer was lost
    assert (await put(database, 400, expected=1)).version == 2
    with pytest.raises(EditedMeanwhile, match="eur presets of host_ada is at version 2, not at 1"):
        await put(database, 500, expected=1)
    assert (await put(database, 500)).version == 3
    assert (await database.run(presets.get, "host_ada", "eur")).amounts == eur(500)


async def test_of_many_edits_of_one_version_one_is_kept(database: Database) -> None:
    await stories.room(database, NOW)
    edits = (put(database, 100 + n, expected=0) for n in range(20))
    answers = await asyncio.gather(*edits, return_exceptions=True)
    kept = [one for one in answers if isinstance(one, Presets)]
    assert [one.version for one in kept] == [1]
    assert await database.run(presets.get, "host_ada", "eur") == kept[0]
    assert sum(isinstance(one, EditedMeanwhile) for one in answers) == 19


@pytest.mark.parametrize(
    "amounts", [(), (1, 2, 3, 4, 5, 6, 7), (0, 5), (-1,), (500, 500), (500, 300)]
)
async def test_one_to_six_rising_amounts_are_suggested(
    database: Database, amounts: tuple[int, ...]
) -> None:
    await stories.room(database, NOW)
    with pytest.raises(BadPresets) as caught:
        await put(database, *amounts)
    assert isinstance(caught.value, Invalid)
    assert caught.value.param == "amounts"


@pytest.mark.parametrize(
    ("host", "currency", "minor", "error"),
    [
        ("host_none", "eur", 500, NotFound),
        ("host_ada", "xxx", 500, UnknownCurrency),
        ("host_ada", "isk", 501, NotChargeable),
    ],
)
async def test_what_cannot_be_charged_cannot_be_suggested(
    database: Database, host: str, currency: str, minor: int, error: type[TakingsError]
) -> None:
    await stories.room(database, NOW)
    with pytest.raises(error):
        await presets.set(database, host, currency, [minor], now=NOW)


async def test_a_room_suggests_nothing_in_a_currency_that_it_does_not_take(
    database: Database,
) -> None:
    await stories.room(database, NOW)
    await presets.set(database, "host_ada", "isk", [500], now=NOW)
    with pytest.raises(CurrencyNotOffered):
        await database.run(presets.of_space, "spc_one", "isk")
    with pytest.raises(NotFound):
        await database.run(presets.get, "host_none", "eur")
