"""The Space that is cancelled: every ticket is refunded by itself, while one looks on."""

import asyncio
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from rich.progress import Progress

from api.cli import output
from api.cli.demo import bars
from api.cli.demo.buyers import CURRENCY, Buyer, Memory
from api.cli.demo.calls import SaidNo, get, post
from api.cli.demo.sale import POLICY, Sale
from api.cli.demo.stage import Stage
from takings.money import Money

SPACE, RUN = "spc_debate", "run_debate"
GROUP: Final = 3
CARD: Final = "pm_card_bypassPending"
PATIENCE_S: Final = 30.0


async def play(stage: Stage, memory: Memory, groups: int) -> None:
    """Groups buy all tickets of a Space, it is cancelled, and all of them have their money back.

    One in four groups pays in the very moment in which it is cancelled.
    """
    await _open(stage, groups * GROUP)
    sale = Sale(stage, RUN, memory)
    with output.console.status("Tickets for a debate are sold …"):
        slow = await _sell(sale, groups)

        async def late(purchase: dict[str, Any]) -> None:
            with suppress(SaidNo):
                await sale.pay(purchase, CARD)

        cancel = post(stage.api, f"/v1/spaces/{SPACE}/cancel", {})
        await asyncio.gather(cancel, *(late(purchase) for purchase in slow))
    with bars.shown() as progress:
        found = await _follow(stage, progress)
    for _, seat in memory.of(RUN):
        seat.returned = True
    back = ", ".join(str(Money(one["amount"], one["currency"])) for one in found["amounts"])
    output.console.print(
        f"The debate was cancelled: {found['refunded']} of {found['to_refund']} tickets refunded "
        f"by themselves, {back}; {found['to_refund'] - found['voided']} of them were paid in that "
        "very moment.",
        soft_wrap=True,
    )
    if not found["done"]:
        memory.wrong.append(f"The cancellation does not end: {found['paused'] or 'no reason'}.")


async def _open(stage: Stage, size: int) -> None:
    starts_at = (stage.runtime.now() + timedelta(days=2)).isoformat()
    space = {"id": SPACE, "host": "host_emil", "title": "The debate", "policy": POLICY}
    await post(stage.api, "/v1/spaces", space | {"starts_at": starts_at})
    run = {"id": RUN, "space": SPACE, "size": size, "currency": CURRENCY}
    tiers = [{"id": "tier_debate", "name": "Seat", "price": 5_00}]
    await post(stage.api, "/v1/runs", run | {"tiers": tiers})


async def _sell(sale: Sale, groups: int) -> list[dict[str, Any]]:
    """Everybody has bought; but these have not paid yet."""
    slow = []

    async def group(n: int) -> None:
        buyer = Buyer(f"group_{n:05}", GROUP, "pays", patient=False, surface="intent", card=CARD)
        hold = await sale.claim(buyer)
        async with sale.tills:
            purchase = None if hold is None else await sale.open(hold, buyer)
            if purchase is not None and n % 4:
                await sale.pay(purchase, CARD)
            elif purchase is not None:
                slow.append(purchase)

    await asyncio.gather(*(group(n) for n in range(groups)))
    return slow


async def _follow(stage: Stage, progress: Progress) -> dict[str, Any]:
    """Look on until everybody has their money; how far it has come then."""
    bar = progress.add_task("Tickets are refunded", total=None)
    until = time.monotonic() + PATIENCE_S
    while True:
        found = await get(stage.api, f"/v1/spaces/{SPACE}/cancellation")
        progress.update(bar, completed=found["refunded"], total=found["to_refund"] or None)
        if found["done"] or time.monotonic() > until:
            return found
        await asyncio.sleep(bars.PAUSE_S)
