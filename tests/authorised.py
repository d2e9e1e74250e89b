"""The words that stories of authorised money are told in: undo, and tabs."""

import asyncio
from datetime import datetime

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.errors import TakingsError
from takings.money import Money
from takings.payments.tables import Payment
from tests import stories
from tipping import tabs
from tipping.tabs import Opened, TabTip, TabWish
from tipping.tips import Surface

URLS = {"success_url": "https://example.com/thanks", "cancel_url": "https://example.com/back"}


async def ways(runtime: Runtime, surface: Surface) -> dict[str, str]:
    """What the surface needs to know."""
    if surface == "saved":
        found = await runtime.stripe.ask("customers.create", {}, "one")  # type: ignore[arg-type]
        return {"customer": found["id"], "payment_method": "pm_card_visa"}
    return URLS if surface == "checkout" else {}


def pay(box: Sandbox, payment: Payment) -> None:
    """The listener pays by card, where a saved one has not done so already."""
    if payment.session_id is not None:
        box.pay(checkout_session=payment.session_id)
    elif payment.surface == "intent":
        box.pay(payment.intent_id)


async def dies(*_: object, **__: object) -> None:
    """The process ends here."""
    raise asyncio.CancelledError


def captures_asked(box: Sandbox) -> int:
    """How often Stripe was asked to capture anything."""
    return len([one for one in box.requests if one.path.endswith("/capture")])


async def opened(
    runtime: Runtime,
    box: Sandbox,
    cap: int = 10_000,
    *,
    surface: Surface = "intent",
    paid: bool = True,
    name: str = "tab_1",
) -> Opened:
    """A listener's tab, its cap authorised by the bank if they pay."""
    more = await ways(runtime, surface)
    wish = TabWish(name, "spc_one", "lis_zoe", Money(cap, "eur"), surface, **more)
    tab = await tabs.open(runtime.database, runtime.stripe, wish, now=runtime.now())
    if paid:
        pay(box, tab.payment)
    await stories.hear(runtime, box)
    return await tabs.get(runtime.database, name)


async def give(
    runtime: Runtime,
    name: str,
    minor: int = 500,
    *,
    tab: str = "tab_1",
    now: datetime | None = None,
) -> str:
    """A tip on the tab; its state, or why not."""
    given = TabTip(name, tab, Money(minor, "eur"))
    try:
        return (await tabs.tip(runtime.database, given, now=now or runtime.now())).state
    except TakingsError as error:
        return error.code


async def close(runtime: Runtime, name: str = "tab_1") -> str:
    """The listener leaves; how the tab is then."""
    tab = await tabs.close(runtime.database, runtime.stripe, name, now=runtime.now())
    return tab.state


def intent(box: Sandbox) -> tuple[str, int, int]:
    """The one intent at Stripe: how it is, what was set aside, what was taken."""
    (row,) = box.state.table("payment_intent").rows
    return row["status"], row["amount"], row["amount_received"]
