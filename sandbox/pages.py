"""Two pages for people: where a listener pays, and where a host hands in papers."""

from collections.abc import Awaitable, Callable
from html import escape
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from sandbox import accounts, checkout, payments
from sandbox.control import Sandbox
from sandbox.errors import StripeError
from sandbox.forms import decode
from sandbox.methods import OUTCOMES
from sandbox.tables import Row

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width"><body style="font:1.1em system-ui;margin:3em">
<p>A test page: no money moves here.</p><h1>{title}</h1><p role="status">{note}</p>{body}
</body></html>"""
FORM = """<form method="post"><label>Payment method <select name="payment_method">{options}
</select></label> <button>Pay</button></form>{back}"""

Page = Callable[[Request], Awaitable[Response]]


def routes(box: Sandbox) -> list[Route]:
    """The pages of one sandbox."""
    everything = ["GET", "POST"]
    return [
        Route("/pay/{id}", _guarded(_pay, box), methods=everything),
        Route("/onboard/{id}", _guarded(_onboard, box), methods=everything),
    ]


def _guarded(page: Callable[[Sandbox, Request], Awaitable[Response]], box: Sandbox) -> Page:
    async def endpoint(request: Request) -> Response:
        box.state.catch_up()
        try:
            return await page(box, request)
        except StripeError as refusal:
            return _page("Not possible", str(refusal), status=refusal.status)

    return endpoint


def _page(title: str, note: str = "", body: str = "", status: int = 200) -> Response:
    html = PAGE.format(title=escape(title), note=escape(note), body=body)
    return HTMLResponse(html, status)


async def _pay(box: Sandbox, request: Request) -> Response:
    id_ = request.path_params["id"]
    if id_.startswith("pi_"):
        return await _authenticate(box, request, id_)
    session = box.state.get("checkout.session", id_)
    if request.method == "GET":
        return _pay_page(session)
    chosen = decode((await request.body()).decode()).get("payment_method", "pm_card_visa")
    try:
        checkout.pay(box.state, session, str(chosen))
    except StripeError as refusal:
        return _pay_page(session, str(refusal), refusal.status)
    return _onward(session["success_url"].replace("{CHECKOUT_SESSION_ID}", id_))


def _pay_page(session: Row, note: str = "", status: int = 200) -> Response:
    title = f"Pay {session['amount_total']} {session['currency']} (minor units)"
    if session["status"] != "open":
        return _page(title, f"This session is {session['status']}.", status=status)
    options = "".join(f"<option>{escape(name)}</option>" for name in OUTCOMES)
    back = escape(session["cancel_url"] or "")
    link = f'<p><a href="{back}">Back</a></p>' if back else ""
    return _page(title, note, FORM.format(options=options, back=link), status)


async def _authenticate(box: Sandbox, request: Request, id_: str) -> Response:
    """The bank's question to the payer."""
    intent = box.state.get("payment_intent", id_)
    if request.method == "GET":
        return _page("Your bank asks", body='<form method="post"><button>Yes</button></form>')
    payments.confirm(box.state, intent)
    return _page("Thank you", "You may close this page.")


async def _onboard(box: Sandbox, request: Request) -> Response:
    account = box.state.get("account", request.path_params["id"])
    if request.method == "GET":
        body = '<form method="post"><button>Hand in my papers</button></form>'
        return _page("Get paid", body=body)
    accounts.set_capability(box.state, account, "active")
    onward = parse_qs(request.url.query).get("return_url", [""])[0]
    return _onward(onward)


def _onward(url: str) -> Response:
    return RedirectResponse(url, 303) if url else _page("Thank you", "You may close this page.")
