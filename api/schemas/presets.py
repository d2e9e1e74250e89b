"""What is suggested to listeners, as the API hears and shows it."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field

from api.schemas.common import Currency, Input, Minor, Output
from takings.money import Money
from tipping import presets


class PresetsInput(Input):
    """The amounts that a host suggests from now on, from the smallest up."""

    amounts: Annotated[list[Minor], Field(min_length=1, max_length=100)]


class Presets(Output):
    """The amounts that a host suggests in one currency; version 0 suggests nothing yet."""

    object: Literal["presets"] = "presets"
    host: str
    currency: str
    version: int
    amounts: list[int]

    @classmethod
    def of(cls, found: presets.Presets) -> Self:
        """The presets as the API shows them."""
        amounts = [one.minor for one in found.amounts]
        return cls(host=found.host, currency=found.currency, version=found.version, amounts=amounts)


class SuggestionQuestion(Input):
    """In which currency."""

    currency: Currency


class Suggestions(Output):
    """What to suggest to listeners of one room: the host's amounts, else the policy's."""

    object: Literal["suggestions"] = "suggestions"
    space: str
    currency: str
    amounts: list[int]

    @classmethod
    def of(cls, space: str, currency: str, found: Sequence[Money]) -> Self:
        """The suggestions as the API shows them."""
        return cls(space=space, currency=currency, amounts=[one.minor for one in found])
