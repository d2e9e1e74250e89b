"""The API's versions, by date: a caller names one, or is answered in the one of its key.

A version is made when an answer's shape changes for those who already read it; what is only added
makes none.
"""

from typing import Final

from takings.errors import Invalid

VERSIONS: Final = ("2026-11-20",)
"""Oldest first."""

NEWEST: Final = VERSIONS[-1]
HEADER: Final = "Takings-Version"


class UnknownVersion(Invalid):
    """There is no version {version} of this API.

    Send no Takings-Version, or one of: {known}.
    """

    param = HEADER


def asked(version: str | None, default: str) -> str:
    """The version that a request is answered in."""
    if version is None:
        return default
    if version not in VERSIONS:
        raise UnknownVersion(version=version[:40], known=", ".join(VERSIONS))
    return version
