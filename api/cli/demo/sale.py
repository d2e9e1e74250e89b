"""The flash sale: everybody comes at once for tickets that are few."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

from api.cli import output
from api.cli.demo import bars, cards, scheduling
from api.cli.demo.buyers import CURRENCY, PER_LISTENER, Buyer, Memory
from api.cli.demo.calls import SaidNo, get, post
from api.cli.demo.stage import Stage

HOSTS: Final = {"host_dora": "Dora", "host_emil": "Emil"}
POLICY: Final = "discord-2021"
SPACE, RUN = "spc_premiere", "run_premiere"
COMPS: Final = 2
CROWD, TILLS = 12, 8
"""How many ask for tickets at the same time, and how many pay."""

HOLD_S: Final = 6
PATIENCE_S: Final = 30.0


@dataclass(slots=True)
class Sale:
    """A run that is sold, and what its buyers remember."""

    stage: Stage
    run: str
    memory: Memory
    crowd: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CROWD))
    tills: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(TILLS))

    async def come(self, buyer: Buyer) -> None:
        """One buyer, from the first click until they have paid, wait, or are gone."""
        hold = await self.claim(buyer)
        if hold is not None:
            await self.buy(hold, buyer)
        elif buyer.patient:
            await self.wait(buyer)

    async def claim(self, buyer: Buyer) -> str | None:
        """Their hold; none where they were told no."""
        wish = {"run": self.run, "listener": buyer.listener}
        wanted = {"quantity": buyer.quantity, "least": 1}
        async with self.crowd:
            try:
                hold = await post(self.stage.api, "/v1/holds", wish | wanted)
            except SaidNo as no:
                self.memory.said[no.why] += 1
                return None
        self.memory.held += 1
        return str(hold["id"])

    async def wait(self, buyer: Buyer) -> None:
        """Take a place on the waiting list, unless there is something to be had again."""
        buyer = replace(buyer, then="pays", patient=True)
        wish = {"listener": buyer.listener, "quantity": buyer.quantity, "least": 1}
        try:
            await post(self.stage.api, f"/v1/runs/{self.run}/waiting", wish)
        except SaidNo as no:
            if no.why != "still_on_sale":
                raise
            await self.come(buyer)
        else:
            self.memory.waiting[buyer.listener] = buyer

    async def buy(self, hold: str, buyer: Buyer) -> None:
        """Buy what they hold, as they are; who took too long waits with the others."""
        if buyer.then == "forgets":
            self.memory.forgotten += 1
            return
        async with self.tills:
            purchase = await self.open(hold, buyer)
            if purchase is not None and buyer.then == "pays":
                await self.pay(purchase, buyer.card)
        if purchase is None:
            await self.wait(buyer)
        elif buyer.then == "regrets":
            await self._regret(hold, purchase, buyer)

    async def open(self, hold: str, buyer: Buyer) -> dict[str, Any] | None:
        """Their purchase, to be paid; whose card is declined pays on Stripe's page.

        None for who took too long.
        """
        terms = await cards.terms(self.stage, buyer.surface, buyer.saved)
        body = {"hold": hold, "listener": buyer.listener} | terms
        try:
            purchase = await post(self.stage.api, "/v1/purchases", body)
        except SaidNo as no:
            if no.why == "card_declined":
                self.memory.declined += 1
                return await self.open(hold, replace(buyer, surface="checkout"))
            if no.why != "hold_over":
                raise
            self.memory.said[no.why] += 1
            return None
        self.memory.opened.add(purchase["payment"])
        return purchase

    async def pay(self, purchase: dict[str, Any], card: str) -> None:
        """Pay it, and remember that; raises SaidNo where Stripe takes no money for it any more."""
        await cards.pay(self.stage, purchase, card)
        self.memory.bought(purchase)

    async def _regret(self, hold: str, purchase: dict[str, Any], buyer: Buyer) -> None:
        """Give the hold back, then pay all the same: Stripe decides which of the two it was."""
        told = {"listener": buyer.listener}
        await post(self.stage.api, f"/v1/holds/{hold}/release", told)
        await asyncio.sleep(buyer.slow_s)
        self.memory.late += 1
        try:
            await self.pay(purchase, buyer.card)
        except SaidNo:
            self.memory.too_late += 1

    async def serve(self) -> None:
        """Whoever waits buys what they are offered, until nobody holds anything any more."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            line = await get(self.stage.api, f"/v1/runs/{self.run}/waiting", state="offered")
            offers = [
                (place["hold"], self.memory.waiting.pop(place["listener"]))
                for place in line["data"]
                if place["listener"] in self.memory.waiting
            ]
            await asyncio.gather(*(self.buy(*offer) for offer in offers))
            if not offers and not (await self.quota())["held"]:
                return
            await asyncio.sleep(bars.PAUSE_S)

    async def quota(self) -> dict[str, Any]:
        """What the run has left."""
        return await get(self.stage.api, f"/v1/runs/{self.run}/quota")

    async def sold(self) -> int:
        """How many tickets are valid."""
        return int((await self.quota())["sold"])


async def play(stage: Stage, plan: Sequence[Buyer], size: int) -> Sale:
    """Everybody comes; what is not paid for goes to who waits, until every ticket is sold."""
    await _open(stage, size)
    sale = Sale(stage, RUN, Memory())
    await _give(sale)
    waits = 0
    with bars.shown() as progress:
        asked = progress.add_task("Buyers have asked", total=len(plan))

        async def turn(buyer: Buyer) -> None:
            await sale.come(buyer)
            progress.advance(asked)

        async with bars.following(progress, "Tickets are sold", size, sale.sold):
            started = time.monotonic()
            async with asyncio.TaskGroup() as group:
                for buyer in plan:
                    group.create_task(turn(buyer))
            took_s = time.monotonic() - started
            waits = len(sale.memory.waiting)
            await sale.serve()
    _tell(sale.memory, len(plan), took_s, waits)
    return sale


async def _open(stage: Stage, size: int) -> None:
    """Two hosts who share, a Space tomorrow, and a run of tickets for it in two prices."""
    for host, name in HOSTS.items():
        await post(stage.api, "/v1/hosts", {"id": host, "name": name})
    shares = [{"host": "host_dora", "weight": 6000}, {"host": "host_emil", "weight": 4000}]
    starts_at = stage.runtime.now() + timedelta(days=1)
    space: dict[str, object] = {
        "id": SPACE,
        "host": "host_dora",
        "title": "The premiere",
        "policy": POLICY,
    }
    space |= {"shares": shares, "starts_at": starts_at.isoformat()}
    await scheduling.schedule(stage, space)
    tiers: list[dict[str, object]] = [
        {"id": "tier_guest", "name": "Guest of the house", "kind": "comp", "size": COMPS},
        {"id": "tier_early", "name": "Early bird", "price": 20_00, "size": max(1, size // 5)},
        {"id": "tier_regular", "name": "Regular", "price": 30_00},
    ]
    run = {"id": RUN, "space": SPACE, "size": size, "currency": CURRENCY, "tiers": tiers}
    limits = {"per_listener": PER_LISTENER, "hold_s": HOLD_S, "refund_until_h": 2}
    await post(stage.api, "/v1/runs", run | limits)


async def _give(sale: Sale) -> None:
    """The house has guests: their tickets come out of the same quota."""
    for n in range(COMPS):
        gift = {"tier": "tier_guest", "listener": f"guest_{n:05}"}
        sale.memory.bought(await post(sale.stage.api, f"/v1/runs/{RUN}/comps", gift))


def _tell(memory: Memory, many: int, took_s: float, waits: int) -> None:
    out, too_many = memory.said["sold_out"], memory.said["too_many_tickets"]
    output.console.print(
        f"{many} buyers came within {took_s:.1f} s, {many / took_s:.0f} a second: {memory.held} "
        f"held tickets, {out} were told that it is sold out, {waits} of them waited. A scalper was "
        f"told no {too_many} times.",
        soft_wrap=True,
    )
    output.console.print(
        f"{memory.forgotten} never paid what they held; {memory.late} gave it back and paid all "
        f"the same, {memory.too_late} of them too late for Stripe to take it.",
        soft_wrap=True,
    )
