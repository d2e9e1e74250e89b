"""What all schemas share: text that PostgreSQL can keep, times as Stripe writes them, lists."""

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

Item = TypeVar("Item")


def _seconds(at: Any) -> Any:
    return int(at.timestamp()) if isinstance(at, datetime) else at


Text = Annotated[
    str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")
]
"""One line that people or their systems gave."""

OwnId = Annotated[
    Text,
    Field(description="an id of yours: sent again, it changes nothing; without it one is made"),
]

Prose = Annotated[str, StringConstraints(max_length=10_000, pattern=r"^[^\x00]*$")]
"""Some lines; how many letters are welcome is the books' business, not the schema's."""

Url = Annotated[str, StringConstraints(max_length=2048, pattern=r"^https?://[^\x00-\x20\x7f]+$")]

Minor = Annotated[int, Field(strict=True, description="an integer of minor units: 500 is 5.00 EUR")]
"""An amount; 5.0, "500" and true are none."""

Currency = Annotated[Text, Field(description="three letters in lower case, such as eur")]

Seconds = Annotated[int, BeforeValidator(_seconds), Field(description="Unix time in seconds")]

Instant = Annotated[
    AwareDatetime,
    Field(
        ge=datetime(1970, 1, 1, tzinfo=UTC),
        lt=datetime(9000, 1, 1, tzinfo=UTC),
        description="Unix time in seconds, or ISO 8601 with its zone",
    ),
]


class Input(BaseModel):
    """What a caller sends; an unknown field is an error, not a wish that nobody hears."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Output(BaseModel):
    """What a caller is shown."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Paging(Input):
    """Which page of a list is wanted, newest first."""

    limit: int = Field(default=10, ge=1, le=100, description="how many of them")
    starting_after: Text | None = Field(default=None, description="the id that the page follows")
    ending_before: Text | None = Field(default=None, description="the id that follows the page")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.starting_after is not None and self.ending_before is not None:
            raise ValueError("starting_after and ending_before go different ways: send one")
        return self


class Listing(Output, Generic[Item]):
    """One page of a list, newest first."""

    object: Literal["list"] = "list"
    data: list[Item]
    has_more: bool = False
    url: str

    @classmethod
    def whole(cls, data: list[Item], url: str) -> Self:
        """A list that is never so long that it needs pages."""
        return cls(data=data, url=url)
