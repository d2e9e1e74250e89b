"""Pages for those who build on the API: the reference, and a page for every problem."""

from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import escape
from starlette.responses import HTMLResponse, Response

from api import document, errors, problems, showing

HERE: Final = Path(__file__).parent / "templates"
STRICT: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
"""Nothing is fetched from anywhere else, and nothing runs."""

ADDRESS: Final = "THE_ADDRESS_OF_THIS_SERVICE"

router = APIRouter(tags=["reference"], include_in_schema=False)

templates = Environment(
    loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
templates.filters |= {
    "asked": showing.asked,
    "curl": showing.curl,
    "inline": showing.inline,
    "kind": showing.kind,
    "meaning": showing.meaning,
    "pretty": showing.pretty,
    "prose": showing.prose,
}
templates.tests["shown"] = showing.is_object


@router.get("/docs")
async def reference(request: Request) -> Response:
    """Every operation: who may call it, what it takes, an example that was executed, its errors."""
    address = str(request.base_url).rstrip("/")
    return HTMLResponse(_rendered(request.app).replace(ADDRESS, escape(address)), headers=STRICT)


@router.get("/problems")
async def every(request: Request) -> Response:
    """Every code that the API can answer with."""
    return _page("problems.html", kinds=problems.every(), answered=set(_by_code(request.app)))


@router.get("/problems/{code}")
async def one(request: Request, code: str) -> Response:
    """What one code means, and what to do about it."""
    kind = problems.every().get(code)
    if kind is None:
        why = "There is no such problem; /problems lists all."
        return errors.problem(request.scope, HTTPStatus.NOT_FOUND, "no_such_route", why)
    return _page("problem.html", kind=kind, after=_by_code(request.app).get(code, []))


@router.get("/style.css")
async def style() -> Response:
    """How the pages look."""
    return Response((HERE / "style.css").read_text(), media_type="text/css", headers=STRICT)


def _page(name: str, **facts: Any) -> Response:
    return HTMLResponse(templates.get_template(name).render(facts), headers=STRICT)


@lru_cache(maxsize=1)
def _rendered(app: FastAPI) -> str:
    """The reference, made once: anybody may ask for it."""
    known = app.openapi()
    facts = {"version": known["info"]["version"], "schemas": known["components"]["schemas"]}
    return templates.get_template("reference.html").render(
        facts, tags=_by_tag(known), address=ADDRESS
    )


@lru_cache(maxsize=1)
def _by_code(app: FastAPI) -> dict[str, list[str]]:
    """The operations that may be answered with each code."""
    found: dict[str, list[str]] = {}
    for _, method, operation in document.every(app.openapi()):
        if "x-scopes" in operation:
            for code in document.codes(operation, method):
                found.setdefault(code, []).append(operation["operationId"])
    return found


def _by_tag(known: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The operations in groups, each with its path and method."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path, method, operation in document.every(known):
        if "x-scopes" in operation:
            shown = operation | {"path": path, "method": method.upper()}
            found.setdefault(operation["tags"][0], []).append(shown)
    return found
