"""Policies, as the API hears and shows them."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field

from api.schemas.common import Input, Output, Seconds
from takings.policies.tables import StoredPolicy


class PolicyInput(Input):
    """A version of a policy: to begin with, take the rules of a preset, and name them anew."""

    rules: Annotated[
        dict[str, Any],
        Field(description="as a policy shows them, name and version included"),
    ]


class Policy(Output):
    """One version of the rules for a sale; it never changes."""

    object: Literal["policy"] = "policy"
    created: Seconds
    name: str
    version: int
    rules: dict[str, Any]

    @classmethod
    def of(cls, row: StoredPolicy) -> Self:
        """The policy as the API shows it."""
        return cls(created=row.created_at, name=row.name, version=row.version, rules=row.rules)
