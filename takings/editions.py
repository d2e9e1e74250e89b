"""Editions: what people edit counts its versions, and nobody overwrites what they have not seen."""

from takings.errors import Conflict


class EditedMeanwhile(Conflict):
    """The {what} is at version {version}, not at {expected}.

    Somebody edited it in between: read it again, then decide.
    """


def check(what: str, version: int, expected: int | None) -> None:
    """Nothing happens if this is the version that the editor has seen, or if they name none."""
    if expected is not None and version != expected:
        raise EditedMeanwhile(what=what, version=version, expected=expected)
