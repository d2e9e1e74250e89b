"""Calls of the platform's backend and of Stripe's payers: repeated while there is no answer."""

import asyncio
import secrets
from typing import Any

import httpx

from takings.errors import Refused, Unavailable


class WentWrong(Unavailable):
    """{what} answered {status}: {body}.

    The logs of the demo say more: run it with --keep.
    """


class CardRefused(Refused):
    """The card was declined."""


async def post(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request, which is simply sent again while it cannot be answered yet."""
    key = {"Idempotency-Key": secrets.token_hex(16)}  # one for all repetitions
    for attempt in range(100):
        try:
            answer = await client.post(path, json=body, headers=key)
        except httpx.TransportError as error:
            raise WentWrong(what=path, status="nothing", body=repr(error)) from error
        if answer.is_success:
            found: dict[str, Any] = answer.json()
            return found
        code = answer.json().get("code")
        if code == "card_declined":
            raise CardRefused
        if answer.status_code < 500 and code != "in_flight":  # noqa: PLR2004
            break
        await asyncio.sleep(min(0.1 * 2**attempt, 1))
    raise WentWrong(what=path, status=answer.status_code, body=answer.text[:300])
