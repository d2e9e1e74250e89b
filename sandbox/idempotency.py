"""Idempotency keys, as Stripe keeps them: the first answer, whatever it was, is the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox.errors import StripeError

if TYPE_CHECKING:
    from sandbox.door import Asked
    from sandbox.state import State
    from sandbox.tables import Row

REMEMBERED_FOR = 24 * 60 * 60  # seconds; the same key is a new request after that


@dataclass
class Kept:
    """A key in use: for which request, and its answer once there is one."""

    method: str
    path: str
    params: Row
    request_id: str
    made: int
    status: int | None = None
    answer: bytes = b""


def begin(state: State, account: str, asked: Asked) -> Kept:
    """The key's record: new (no status yet) or with the answer to repeat."""
    key, now = str(asked.idempotency_key), state.clock.now()
    kept: Kept | None = state.answers.get((account, key))
    if kept is None or now - kept.made >= REMEMBERED_FOR:
        kept = Kept(asked.method, asked.path, asked.params, asked.id, now)
        state.answers[account, key] = kept
        return kept
    if (kept.method, kept.path, kept.params) != (asked.method, asked.path, asked.params):
        raise StripeError(
            "Keys for idempotent requests can only be used with the same parameters they were "
            f"first used with. Try using a key other than '{key}' if you meant to execute a "
            "different request.",
            kind="idempotency_error",
        )
    if kept.status is None:
        raise StripeError(
            "There is currently another in-progress request using this Idempotent Key.",
            status=409,
            kind="idempotency_error",
            code="idempotency_key_in_use",
        )
    return kept


def forget(state: State, account: str, key: str) -> None:
    """The request never ran: the key is free again."""
    state.answers.pop((account, key), None)
