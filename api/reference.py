"""Pages for those who build on the API: the reference, and a page for every problem."""

import json
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from api import document, errors, problems

HERE: Final = Path(__file__).parent / "templates"
STRICT: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""Nothing is fetched from anywhere else, and nothing runs."""

router = APIRouter(tags=["reference"], include_in_schema=False)

templates = Environment(
    loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
templates.filters["pretty"] = lambda value: json.dumps(value, indent=2, ensure_ascii=False)


@router.get("/docs")
async def reference(request: Request) -> Response:
    """Every operation: who may call it, what it takes, an example that was executed, its errors."""
    return _page("reference.html", document=request.app.openapi(), tags=_by_tag(request))


@router.get("/problems")
async def every() -> Response:
    """Every code that the API can answer with."""
    return _page("problems.html", kinds=problems.every().values())


@router.get("/problems/{code}")
async def one(request: Request, code: str) -> Response:
    """What one code means, and what to do about it."""
    kind = problems.every().get(code)
    if kind is None:
        why = "There is no such problem; /problems lists all."
        return errors.problem(request.scope, HTTPStatus.NOT_FOUND, "no_such_route", why)
    return _page("problem.html", kind=kind)


@router.get("/style.css")
async def style() -> Response:
    """How the pages look."""
    return Response((HERE / "style.css").read_text(), media_type="text/css", headers=STRICT)


def _page(name: str, **facts: Any) -> Response:
    return HTMLResponse(templates.get_template(name).render(facts), headers=STRICT)


def _by_tag(request: Request) -> dict[str, list[dict[str, Any]]]:
    """The operations in groups, each with its path and method."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path, method, operation in document.every(request.app.openapi()):
        if "x-scopes" in operation:
            shown = operation | {"path": path, "method": method.upper()}
            found.setdefault(operation["tags"][0], []).append(shown)
    return found
