"""Presets: what a host suggests to listeners, and what a room suggests in the end."""

from typing import Annotated

from fastapi import Query, Response

from api import dependencies, operations
from api.dependencies import Here, Id, Seen
from api.operations import operation
from api.schemas.common import Currency
from api.schemas.presets import Presets, PresetsInput, SuggestionQuestion, Suggestions
from takings import money
from takings.editions import EditedMeanwhile
from takings.errors import NotFound
from takings.policies.rules import CurrencyNotOffered
from tipping import presets

router = operations.router("presets")

PLACE = "/hosts/{id}/presets/{currency}"
READING = (NotFound, money.UnknownCurrency)
SETTING = (
    *(*READING, money.AmountTooLarge, money.NotChargeable, presets.BadPresets),
    *(EditedMeanwhile, dependencies.BadIfMatch),
)


@router.get(PLACE, **operation("spaces", "tips", raises=READING))
async def one(here: Here, id: Id, currency: Currency, response: Response) -> Presets:  # noqa: A002
    """What a host suggests in a currency; the ETag names the version."""
    money.exponent(currency)  # raises UnknownCurrency
    found = await here.database.run(presets.get, id, currency)
    dependencies.tag(response, found.version)
    return Presets.of(found)


@router.put(PLACE, **operation("spaces", raises=SETTING))
async def set(  # noqa: A001 - presets.set
    here: Here,
    id: Id,  # noqa: A002 - the name in the address
    currency: Currency,
    given: PresetsInput,
    seen: Seen,
    response: Response,
) -> Presets:
    """Suggest these amounts from now on."""
    told = (id, currency, given.amounts)
    found = await presets.set(here.database, *told, expected=seen, now=here.now())
    dependencies.tag(response, found.version)
    return Presets.of(found)


@router.get(
    "/spaces/{id}/suggestions",
    **operation("spaces", "tips", raises=(*READING, CurrencyNotOffered)),
)
async def suggested(
    here: Here,
    id: Id,  # noqa: A002 - the name in the address
    asked: Annotated[SuggestionQuestion, Query()],
) -> Suggestions:
    """What to suggest in this room: the host's amounts, else its policy's."""
    found = await here.database.run(presets.of_space, id, asked.currency)
    return Suggestions.of(id, asked.currency, found)
