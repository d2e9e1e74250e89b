"""The controls over HTTP: ``POST /_sandbox/<verb>`` with the verb's arguments as JSON."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from inspect import isawaitable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.control import Sandbox
from sandbox.errors import StripeError

Verb = Callable[..., Any]
SETTINGS = {"transaction_delay", "days_to_available", "payout_interval"}


def routes(box: Sandbox) -> list[Route]:
    """Every verb of the sandbox under its own path, and three things to look at."""
    posts: dict[str, Verb] = {
        "accounts/{account}/capability": box.capability,
        "accounts/{account}/close": box.close_account,
        "accounts/{account}/deauthorize": box.deauthorize,
        "accounts/{account}/payout": box.host_payout,
        "clock": lambda **to: {"now": _set_clock(box, **to)},
        "deliver": box.deliver,
        "deliveries/hold": box.hold,
        "deliveries/replay": lambda: {"replayed": box.replay()},
        "disputes": box.dispute,
        "disputes/{dispute}/close": box.close_dispute,
        "disputes/{dispute}/withdraw": box.withdraw_dispute,
        "faults": lambda **faults: _set_faults(box, **faults),
        "fees": box.fee,
        "pay": box.pay,
        "payouts/{payout}/fail": box.fail_payout,
        "refunds/{refund}/fail": box.fail_refund,
        "refunds/{refund}/stall": box.stall_refund,
        "reset": box.reset,
        "settings": lambda **settings: _set_settings(box, **settings),
        "webhook_endpoints": box.webhook,
    }
    looks: dict[str, Verb] = {
        "clock": lambda: {"now": box.now},
        "events": lambda: box.events,
        "faults": lambda: {"struck": box.faults.struck},
        "requests": lambda: [_plain(logged) for logged in box.requests],
    }
    return [
        *(Route(f"/_sandbox/{p}", _endpoint(v), methods=["POST"]) for p, v in posts.items()),
        *(Route(f"/_sandbox/{p}", _endpoint(v), methods=["GET"]) for p, v in looks.items()),
    ]


def _endpoint(verb: Verb) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            given = orjson.loads(await request.body() or b"{}")
            done = verb(**given, **request.path_params)
            done = await done if isawaitable(done) else done
        except StripeError as refusal:
            return _json(refusal.body(), refusal.status)
        except (TypeError, ValueError) as error:  # arguments that the verb does not take
            return _json({"error": {"message": str(error)}}, 400)
        return _json({"ok": True} if done is None else done)

    return endpoint


def _json(body: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type="application/json")


def _set_clock(box: Sandbox, *, advance: int = 0, set: int | None = None) -> int:  # noqa: A002
    """``{"advance": seconds}`` or ``{"set": moment}``."""
    return box.advance(advance) if set is None else box.set_clock(set)


def _set_faults(
    box: Sandbox,
    *,
    deliveries: dict[str, Any] | None = None,
    calls: list[dict[str, Any]] | None = None,
    clear: bool = False,
) -> None:
    """Delivery faults and call faults, added to what is in force, or after clearing it."""
    if clear:
        box.faults.clear()
    if deliveries is not None:
        box.faults.deliveries(**deliveries)
    for fault in calls or []:
        box.faults.call(**fault)


def _set_settings(box: Sandbox, **settings: Any) -> None:
    for name in settings:
        if name not in SETTINGS:
            raise StripeError(f"Unknown setting: {name}", param=name)
    for name, value in settings.items():
        setattr(box.settings, name, value)


def _plain(logged: Any) -> dict[str, Any]:
    plain = asdict(logged)
    plain["body"] = logged.body.decode(errors="replace")
    plain["answer"] = orjson.loads(logged.answer) if logged.answer else None
    return plain
