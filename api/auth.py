"""Who is asking: the holder of an API key, and what it opens."""

from dataclasses import dataclass
from datetime import datetime

from api.keys import Keyring, Scope
from takings.errors import Refused


class Unproven(Refused):
    """Who is asking is not known."""


class MissingKey(Unproven):
    """The request carries no API key.

    Send it as "Authorization: Bearer tk_test_…"; "takings keys issue" makes one.
    """


class UnknownKey(Unproven):
    """The API key opens nothing: it is wrong, it was revoked, or its time is over.

    Make a new one with "takings keys issue".
    """


class WrongMode(Unproven):
    """The API key is for {theirs} money, this service moves {ours} money.

    Use a key of this service's own: test keys and live keys never open the same door.
    """


class ScopeMissing(Refused):
    """The API key does not open {operation}: it would need the scope {needed}.

    Use a key that has it; "takings keys issue --scope" makes one.
    """


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the actor of what they do, who stays the same while keys are rotated."""

    id: str
    name: str
    scopes: frozenset[str]
    version: str

    def check(self, operation: str, needed: frozenset[Scope]) -> None:
        """Nothing happens if one of these scopes is the caller's; else ScopeMissing."""
        if not self.scopes & needed and "admin" not in self.scopes:
            raise ScopeMissing(operation=operation, needed=" or ".join(sorted(needed)))


async def known(keyring: Keyring, header: str | None, now: datetime, *, live: bool) -> Caller:
    """The caller that an Authorization header names; raises Unproven."""
    scheme, _, told = (header or "").partition(" ")
    secret = told.strip()
    if scheme.lower() != "bearer" or not secret:
        raise MissingKey
    mode, ours = secret.startswith("tk_live_"), {True: "live", False: "test"}
    if mode != live and secret.startswith(("tk_live_", "tk_test_")):
        raise WrongMode(theirs=ours[mode], ours=ours[live])
    found = await keyring.find(secret, now)
    if found is None or found.live != live:
        raise UnknownKey
    return Caller(found.actor, found.name, frozenset(found.scopes), found.version)
