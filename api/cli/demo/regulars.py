"""The regulars: one in ten keeps a tab, and each takes tips back within their ten seconds."""

import asyncio
from collections.abc import Sequence

from api.cli import output
from api.cli.demo import cards
from api.cli.demo.calls import post
from api.cli.demo.cards import CARDS
from api.cli.demo.evening import AT_ONCE, Played, Wish
from api.cli.demo.stage import Stage
from takings.money import Money

TIPS, CAP = 3, Money(50_00, "eur")


async def come(stage: Stage, rooms: Sequence[str], played: Played, many: int) -> None:
    """They open their tabs, tip on them, and think better of one tip; the room's end charges them.

    Each also sends a tip by mistake, and undoes it: nobody is charged for that.
    """
    slots = asyncio.Semaphore(AT_ONCE)

    async def evening(n: int) -> None:
        async with slots:
            await _keep_a_tab(stage, rooms[n % len(rooms)], n, played)
            await _change_a_mind(stage, rooms[n % len(rooms)], n)

    with output.console.status(f"{many} regulars keep a tab …"):
        await asyncio.gather(*(evening(n) for n in range(many)))
    output.console.print(
        f"{many} tabs opened; {2 * many} tips taken back in time, and not charged."
    )


async def _keep_a_tab(stage: Stage, room: str, n: int, played: Played) -> None:
    tab, listener = f"tab_{n:05}", f"regular_{n:05}"
    how = await cards.terms(stage, "saved", CARDS[0])
    about = {"id": tab, "space": room, "listener": listener}
    await post(stage.api, "/v1/tabs", about | how | {"cap": CAP.minor, "currency": CAP.currency})
    for number in range(TIPS + 1):
        tip, money = f"{tab}_{number}", Money(101 * (number + 1), CAP.currency)
        given = {"id": tip, "amount": money.minor, "currency": money.currency}
        await post(stage.api, f"/v1/tabs/{tab}/tips", given)
        if number < TIPS:
            played.on_tabs[tip] = Wish(tip, listener, room, money, "saved", CARDS[0], None)
    await post(stage.api, f"/v1/tips/{tab}_{TIPS}/undo", {})


async def _change_a_mind(stage: Stage, room: str, n: int) -> None:
    tip = {
        "id": f"tip_by_mistake_{n:05}",
        "space": room,
        "listener": f"regular_{n:05}",
        "amount": 20_00,
        "currency": "eur",
        "undoable": True,
    }
    await post(stage.api, "/v1/tips", tip | await cards.terms(stage, "saved", CARDS[1]))
    await post(stage.api, f"/v1/tips/{tip['id']}/undo", {})
