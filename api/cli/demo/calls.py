"""Calls of the platform's backend and of Stripe's payers: repeated while there is no answer."""

import asyncio
import secrets
from typing import Any

import httpx

from takings.errors import Refused, Unavailable

ATTEMPTS = 3
"""How often a request without any answer is sent again."""


class WentWrong(Unavailable):
    """{what} answered {status}: {body}.

    The logs of the demo say more: run it with --keep.
    """


class SaidNo(Refused):
    """{what} said no ({no}): {body}."""

    @property
    def why(self) -> str:
        """The code of the refusal."""
        return str(self.facts["no"])


async def post(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to a request, which is simply sent again while it cannot be answered yet.

    Raises SaidNo with the code of a refusal.
    """
    key = {"Idempotency-Key": secrets.token_hex(16)}  # one for all repetitions
    return await _answer(client.build_request("POST", path, json=body, headers=key), client)


async def put(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """What is there from now on."""
    return await _answer(client.build_request("PUT", path, json=body), client)


async def get(client: httpx.AsyncClient, path: str, **asked: str) -> dict[str, Any]:
    """What is found there."""
    return await _answer(client.build_request("GET", path, params=asked), client)


async def every(client: httpx.AsyncClient, path: str, **asked: str) -> list[Any]:
    """All that is listed there, page by page."""
    found: list[Any] = []
    after: dict[str, str] = {}
    while True:
        page = await get(client, path, limit="100", **asked, **after)
        found += page["data"]
        if not page["has_more"]:
            return found
        after = {"starting_after": page["data"][-1]["id"]}


async def _answer(request: httpx.Request, client: httpx.AsyncClient) -> dict[str, Any]:
    what = request.url.path
    for attempt in range(100):
        try:
            answer = await client.send(request)
        except httpx.TransportError as error:  # such as a connection that was kept too long
            if attempt >= ATTEMPTS:
                raise WentWrong(what=what, status="nothing", body=repr(error)) from error
            continue
        if answer.is_success:
            found: dict[str, Any] = answer.json()
            return found
        told = answer.json()
        if answer.is_client_error and told.get("code") != "in_flight":
            body = told.get("detail", answer.text[:300]).removesuffix(".")
            raise SaidNo(what=what, no=told.get("code"), body=body)
        await asyncio.sleep(min(0.1 * 2**attempt, 1))
    raise WentWrong(what=what, status=answer.status_code, body=answer.text[:300])
