"""The evening: rooms open, and listeners tip in all ways at once while things go wrong."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from api.cli import output
from api.cli.demo.calls import CardRefused, WentWrong, post
from api.cli.demo.stage import Stage
from takings.money import Money
from takings.payments.orders import Surface

AT_ONCE = 16
TROUBLE = {"duplicate": 0.2, "reorder": 0.3, "delay": 0.15, "drop": 0.08, "delay_seconds": 0.6}
"""How many of Stripe's webhooks come twice, overtaken, late, or never."""

HICCUPS = ("503", "429", "409", "timeout_with_effect", "timeout_without_effect")
"""What happens to some of our calls to Stripe, in turn."""

HOSTS = {"host_ada": "Ada", "host_bob": "Bob", "host_cleo": "Cleo"}
ROOMS: dict[str, dict[str, int]] = {
    "spc_jazz": {"host_ada": 6000, "host_bob": 4000},
    "spc_chess": {"host_cleo": 10_000},
}
TITLES = {"spc_jazz": "Jazz after midnight", "spc_chess": "Chess, blindfold"}
AMOUNTS = {
    "eur": (100, 250, 500, 501, 999, 1_000, 2_000, 3_333),
    "usd": (100, 300, 500, 777, 1_000, 5_000),
    "jpy": (100, 101, 500, 999, 2_000),
}
SURFACES: tuple[Surface, ...] = ("checkout", "intent", "saved")
CARDS = ("pm_card_visa", "pm_card_mastercard", "pm_card_bypassPending", "pm_card_bypassPending")
"""Half of the money is at Stripe's disposal at once, so that some of it is released tonight."""

DECLINED = "pm_card_chargeCustomerFail"


@dataclass(frozen=True, slots=True)
class Wish:
    """What one listener is going to do."""

    id: str
    listener: str
    space: str
    money: Money
    surface: Surface
    card: str
    message: str | None


@dataclass(slots=True)
class Played:
    """What the listeners did, as they remember it: nothing here is read from the books."""

    paid: dict[str, Wish] = field(default_factory=dict)  # by tip
    payments: dict[str, str] = field(default_factory=dict)  # by tip
    on_tabs: dict[str, Wish] = field(default_factory=dict)  # by tip
    refunded: list[Money] = field(default_factory=list)
    declined: int = 0


def wishes(rooms: Sequence[str], listeners: int, seed: int) -> list[Wish]:
    """What everybody is going to do; the same for the same seed."""
    chance = Random(seed)  # noqa: S311 - it has to replay, not to be secret
    found = []
    for n in range(1, listeners + 1):
        currency = chance.choice(("eur", "eur", "eur", "usd", "usd", "jpy"))
        surface = SURFACES[n % len(SURFACES)]
        declined = surface == "saved" and chance.random() < 0.1  # noqa: PLR2004 - one in ten
        found.append(
            Wish(
                id=f"tip_{n:05}",
                listener=f"listener_{n:05}",
                space=chance.choice(rooms),
                money=Money(chance.choice(AMOUNTS[currency]), currency),
                surface=surface,
                card=DECLINED if declined else chance.choice(CARDS),
                message=chance.choice((None, "Wonderful!", "Encore ♥")),
            )
        )
    return found


async def open_rooms(stage: Stage) -> list[str]:
    """Two hosts who share, one alone, and a live Space for each."""
    for host, name in HOSTS.items():
        await post(stage.api, "/v1/hosts", {"id": host, "name": name})
    for space, shares in ROOMS.items():
        parts = [{"host": host, "weight": weight} for host, weight in shares.items()]
        room = {"id": space, "host": next(iter(shares)), "title": TITLES[space], "shares": parts}
        await post(stage.api, "/v1/spaces", room | {"policy": "clubhouse-2021"})
        await post(stage.api, f"/v1/spaces/{space}/live", {})
    return list(ROOMS)


async def play(stage: Stage, plan: Sequence[Wish]) -> Played:
    """Everybody tips, so many at once, while webhooks and calls go wrong."""
    played, slots = Played(), asyncio.Semaphore(AT_ONCE)
    await post(stage.stripe, "/_sandbox/faults", {"deliveries": TROUBLE})
    with _progress() as progress:
        tipped = progress.add_task("Listeners have paid", total=len(plan))
        settled = progress.add_task("Tips are in the books", total=len(plan))
        watching = asyncio.create_task(_watch(stage, progress, settled))

        async def turn(n: int, wish: Wish) -> None:
            async with slots:
                if n % 20 == 0:
                    await _hiccup(stage, HICCUPS[n // 20 % len(HICCUPS)])
                await _pay(stage, wish, played)
                progress.advance(tipped)

        try:
            async with asyncio.TaskGroup() as group:
                for n, wish in enumerate(plan):
                    group.create_task(turn(n, wish))
            await _quiet(stage, len(plan))
        finally:
            watching.cancel()
        progress.update(settled, completed=await count(stage))
    return played


async def _hiccup(stage: Stage, kind: str) -> None:
    """One of the next calls to Stripe goes wrong."""
    fault = {"kind": kind, "path": "payment_intents|sessions$", "times": 1}
    await post(stage.stripe, "/_sandbox/faults", {"calls": [fault]})


async def _pay(stage: Stage, wish: Wish, played: Played) -> None:
    """One listener sends a tip and pays it; whose card is declined pays on Stripe's page."""
    body = {
        "id": wish.id,
        "space": wish.space,
        "listener": wish.listener,
        "amount": wish.money.minor,
        "currency": wish.money.currency,
        "message": wish.message,
        "surface": wish.surface,
    }
    if wish.surface == "saved":
        body |= await saved(stage, wish.card)
    if wish.surface == "checkout":
        body |= {"success_url": "https://example.com/thanks", "cancel_url": "https://example.com"}
    try:
        tip = await post(stage.api, "/v1/tips", body)
    except CardRefused:
        played.declined += 1
        again = Wish(
            f"{wish.id}_again", wish.listener, wish.space, wish.money, "checkout", CARDS[0], None
        )
        await _pay(stage, again, played)
        return
    if wish.surface == "checkout":
        page = await stage.stripe.post(tip["url"], data={"payment_method": wish.card})
        if page.status_code >= 400:  # noqa: PLR2004
            raise WentWrong(what="the pay page", status=page.status_code, body=page.text[:300])
    elif wish.surface == "intent":
        intent = tip["client_secret"].partition("_secret_")[0]
        how = {"payment_intent": intent, "payment_method": wish.card}
        await post(stage.stripe, "/_sandbox/pay", how)
    played.paid[wish.id] = wish
    played.payments[wish.id] = tip["payment"]


async def saved(stage: Stage, card: str) -> dict[str, str]:
    """A customer of the platform's at Stripe, with a saved card."""
    customer = (await stage.stripe.post("/v1/customers")).json()["id"]
    attached = await stage.stripe.post(
        f"/v1/payment_methods/{card}/attach", data={"customer": customer}
    )
    return {"customer": customer, "payment_method": attached.json()["id"]}


async def count(stage: Stage) -> int:
    """How many tips are settled."""
    sql = "SELECT count(*) AS n FROM tips WHERE settled_at IS NOT NULL"
    return int((await stage.runtime.database.fetch(sql))[0].n)


async def _watch(stage: Stage, progress: Progress, task: TaskID) -> None:
    while True:
        progress.update(task, completed=await count(stage))
        await asyncio.sleep(0.25)


async def _quiet(stage: Stage, expected: int) -> None:
    """Wait for the webhooks for as long as they bring anything."""
    before, patience = -1, 8
    while (now := await count(stage)) < expected and patience:
        patience = 8 if now > before else patience - 1
        before = now
        await asyncio.sleep(0.25)


def _progress() -> Progress:
    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, console=output.console)
