"""Seals, as the API shows them."""

from datetime import datetime
from typing import Literal

from api.schemas.common import Output


class Seal(Output):
    """A link of the chain: its number, and the digest that stands for all entries up to it.

    It is a line of an anchor file, as ``takings verify --anchor`` reads it.
    """

    object: Literal["seal"] = "seal"
    n: int
    digest: str
    at: datetime
