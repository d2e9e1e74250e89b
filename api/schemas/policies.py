"""Policies, as the API shows them."""

from typing import Any, Literal, Self

from api.schemas.common import Output, Seconds
from takings.policies.tables import StoredPolicy


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
