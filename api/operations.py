"""Operations: what the API lets be done, and the one door that every request passes.

Each operation says which scopes open it, whether it moves money, and which problems it may answer
with.  The door asks in this order: the caller's key, the version, the limit, the scope; then, where
something is to be changed, whether it has been done already.
"""

import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from api import acts, auth, errors, metrics, versions
from api.acts import Act, Acts, Answer
from api.auth import Caller
from api.keys import Keyring, Scope
from api.limits import Limits
from api.runtime import Runtime
from takings.errors import TakingsError

log = structlog.get_logger()

Handle = Callable[[Request], Awaitable[Response]]

SAFE = frozenset({"GET", "HEAD"})
REPLAYED = "Idempotent-Replayed"


def operation(
    *scopes: Scope, moves_money: bool = False, raises: Sequence[type[TakingsError]] = ()
) -> dict[str, Any]:
    """What a route of ours says of itself: any of these scopes opens it."""
    codes = sorted(error.code for error in raises)
    said = {"x-scopes": sorted(scopes), "x-moves-money": moves_money, "x-problems": codes}
    return {"openapi_extra": said}


def named(route: APIRoute) -> str:
    """The stable id of an operation: its resource and what it does, as hosts.register."""
    return f"{route.tags[0]}.{route.name}"


First = Callable[[Request, Act], Awaitable[Response | None]]
"""Tries an act before anything is written down of it; None leaves it to the usual way."""

Endpoint = TypeVar("Endpoint")


def at_first(first: First) -> Callable[[Endpoint], Endpoint]:
    """Mark an endpoint whose act is begun, done and noted in one statement, if it is new."""

    def mark(endpoint: Endpoint) -> Endpoint:
        vars(endpoint)["first"] = first
        return endpoint

    return mark


@dataclass(frozen=True, slots=True)
class Rules:
    """What the door asks of a request to one operation."""

    operation: str
    scopes: frozenset[Scope]
    moves_money: bool
    first: First | None


class Operation(APIRoute):
    """A route behind the door; one that names no scope does not start."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own handler, behind the door."""
        handle, said = super().get_route_handler(), self.openapi_extra or {}
        first = getattr(self.endpoint, "first", None)
        rules = Rules(named(self), frozenset(said["x-scopes"]), said["x-moves-money"], first)
        if not rules.scopes:
            raise AssertionError(f"nobody may call {rules.operation}")

        async def guarded(request: Request) -> Response:
            door: Door = request.app.state.door
            return await door.enter(rules, request, handle)

        return guarded


def router(tag: str, prefix: str = "/v1") -> APIRouter:
    """Where the operations of a resource are gathered, each with its whole path.

    FastAPI's nested routers would look for every request twice at each level.
    """
    return APIRouter(
        prefix=prefix, route_class=Operation, tags=[tag], generate_unique_id_function=named
    )


class Door:
    """What one process knows of its callers: their keys, their limits, their acts in flight."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.keyring = Keyring(runtime.database)
        self._limits = Limits(runtime.database, runtime.settings.rate_limit)
        self._acts = Acts(runtime.database)

    async def enter(self, rules: Rules, request: Request, handle: Handle) -> Response:
        """Let the request in, or say why not; every answer is counted and logged."""
        start, headers = time.perf_counter(), dict[str, str]()
        structlog.contextvars.bind_contextvars(operation=rules.operation)
        try:
            await self._admit(rules, request, headers)
            if request.method in SAFE:
                response = await handle(request)
            else:
                response = await self._once(rules, request, handle)
        except ClientDisconnect:
            raise  # nobody is there to hear an answer
        except Exception as error:  # noqa: BLE001 - whatever it is, it has an answer
            response = errors.answer(request.scope, error)
        response.raw_headers += [(n.lower().encode(), v.encode()) for n, v in headers.items()]
        took_s = time.perf_counter() - start
        metrics.REQUESTS.seen(rules.operation, response.status_code, took_s)
        log.info("request", status=int(response.status_code), took_ms=round(took_s * 1000, 1))
        return response

    async def _admit(self, rules: Rules, request: Request, headers: dict[str, str]) -> None:
        """Who it is, in which version they are answered, whether they may."""
        now, given = self._runtime.now(), request.headers
        caller = await self.known(request)
        structlog.contextvars.bind_contextvars(actor=caller.id)
        request.state.caller = caller
        headers[versions.HEADER] = versions.asked(given.get(versions.HEADER), caller.version)
        allowance = await self._limits.take(caller.id, now)
        headers |= allowance.headers()
        allowance.check()
        caller.check(rules.operation, rules.scopes)

    async def known(self, request: Request) -> Caller:
        """Who is asking, as of this instant; raises Unproven."""
        header, live = request.headers.get("authorization"), self._runtime.stripe.live
        return await auth.known(self.keyring, header, self._runtime.now(), live=live)

    async def _once(self, rules: Rules, request: Request, handle: Handle) -> Response:
        """Do it, unless it has been done; then give the answer that it had."""
        key = acts.checked(request.headers.get(acts.HEADER), moves_money=rules.moves_money)
        act = await self._act(rules, request, key)
        if rules.first is not None:
            done = await rules.first(request, act)
            if done is not None:
                return done
        started = await self._acts.start(act)
        if isinstance(started, Answer):
            told = {REPLAYED: "true"} | ({"ETag": started.etag} if started.etag else {})
            return Response(started.body, started.status, told, started.media)
        request.state.act = started
        try:
            response = await handle(request)
            answer = kept(response, None)
        except Exception as error:  # noqa: BLE001 - it is answered, and the act left off
            response = errors.answer(request.scope, error)
            answer = kept(response, error)
        await self._acts.finish(started, answer, self._runtime.now())
        return response

    async def _act(self, rules: Rules, request: Request, key: str | None) -> Act:
        name: str = request.state.request_id
        query = request.scope["query_string"]
        # As it was sent: decoded, it could hold what no database stores.
        target = (request.scope["raw_path"] + (b"?" + query if query else b"")).decode("latin-1")
        seen = request.headers.get("if-match", "")
        return Act(
            id=name,
            actor=request.state.caller.id,
            key=key or name,
            operation=rules.operation,
            target=target,
            fingerprint=acts.fingerprint(rules.operation, target, seen, await request.body()),
            begun_at=self._runtime.now(),
        )


def kept(response: Response, error: Exception | None) -> Answer:
    """What is kept of an answer: all of one that is final, nothing where a retry may help."""
    if isinstance(error, RequestValidationError | HTTPException):
        return Answer(response.status_code, open=True)  # nothing had begun
    if error is not None and not (
        isinstance(error, TakingsError) and not errors.retryable(type(error))
    ):
        return Answer(response.status_code)
    media, etag = (response.headers.get(name) for name in ("content-type", "etag"))
    return Answer(response.status_code, media, bytes(response.body), etag)
