"""The evening: rooms open, and listeners tip in all ways at once while things go wrong."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random

from api.cli.demo import bars, cards, scheduling
from api.cli.demo.calls import SaidNo, post
from api.cli.demo.cards import CARDS, DECLINED, SURFACES
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

    def given(self) -> Counter[str]:
        """What is left with the hosts, by currency."""
        given: Counter[str] = Counter()
        for wish in (*self.paid.values(), *self.on_tabs.values()):
            given[wish.money.currency] += wish.money.minor
        for money in self.refunded:
            given[money.currency] -= money.minor
        return given


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
        await scheduling.schedule(stage, room | {"policy": "clubhouse-2021"})
        await post(stage.api, f"/v1/spaces/{space}/live", {})
    return list(ROOMS)


async def play(stage: Stage, plan: Sequence[Wish]) -> Played:
    """Everybody tips, so many at once, while webhooks and calls go wrong."""
    played, slots = Played(), asyncio.Semaphore(AT_ONCE)
    await post(stage.stripe, "/_sandbox/faults", {"deliveries": TROUBLE})
    with bars.shown() as progress:
        tipped = progress.add_task("Listeners have paid", total=len(plan))

        async def turn(n: int, wish: Wish) -> None:
            async with slots:
                if n % 20 == 0:
                    await _hiccup(stage, HICCUPS[n // 20 % len(HICCUPS)])
                await _pay(stage, wish, played)
                progress.advance(tipped)

        settled = partial(count, stage)
        async with bars.following(progress, "Tips are in the books", len(plan), settled):
            async with asyncio.TaskGroup() as group:
                for n, wish in enumerate(plan):
                    group.create_task(turn(n, wish))
            await _quiet(stage, len(plan))
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
    }
    try:
        tip = await post(
            stage.api, "/v1/tips", body | await cards.terms(stage, wish.surface, wish.card)
        )
    except SaidNo as no:
        if no.why != "card_declined":
            raise
        played.declined += 1
        again = Wish(
            f"{wish.id}_again", wish.listener, wish.space, wish.money, "checkout", CARDS[0], None
        )
        await _pay(stage, again, played)
        return
    await cards.pay(stage, tip, wish.card)
    played.paid[wish.id] = wish
    played.payments[wish.id] = tip["payment"]


async def count(stage: Stage) -> int:
    """How many tips are settled."""
    sql = "SELECT count(*) AS n FROM tips WHERE settled_at IS NOT NULL"
    return int((await stage.runtime.database.fetch(sql))[0].n)


async def _quiet(stage: Stage, expected: int) -> None:
    """Wait for the webhooks for as long as they bring anything."""
    before, patience = -1, 8
    while (now := await count(stage)) < expected and patience:
        patience = 8 if now > before else patience - 1
        before = now
        await asyncio.sleep(bars.PAUSE_S)
