"""After the sale: tickets are given back and passed on; then the Space opens its doors."""

import asyncio
from dataclasses import dataclass
from typing import Any

from api.cli import output
from api.cli.demo.buyers import Seat
from api.cli.demo.calls import SaidNo, get, post
from api.cli.demo.sale import SPACE, TILLS, Sale

EVERY_RETURNED, EVERY_PASSED = 12, 10
ADMITTED = 20
"""How many come early enough to be seen here."""


@dataclass(frozen=True, slots=True)
class Old:
    """The pass of a ticket that was passed on since."""

    ticket: str
    text: str


async def give_back(sale: Sale) -> None:
    """Some think better of it in time, and ask twice; who waits gets their seats."""
    found = [(one, seat) for one, seat in sale.memory.of(sale.run) if seat.payment is not None]
    some = found[::EVERY_RETURNED]

    async def one(ticket: str, seat: Seat) -> None:
        async with sale.tills:
            for _ in range(2):
                told = {"listener": seat.listener}
                await post(sale.stage.api, f"/v1/tickets/{ticket}/refund", told)
        seat.returned = True

    with output.console.status(f"{len(some)} tickets are given back …"):
        await asyncio.gather(*(one(*each) for each in some))
        await sale.serve()
    output.console.print(f"{len(some)} tickets given back in time; who waited has bought them.")


async def pass_on(sale: Sale) -> list[Old]:
    """Some pass their ticket on to a friend, and keep a picture of the pass."""
    kept = []
    for ticket, seat in sale.memory.of(sale.run)[::EVERY_PASSED]:
        kept.append(Old(ticket, await _pass(sale, ticket)))
        friend = {"listener": seat.listener, "to": f"friend_of_{seat.listener}"}
        await post(sale.stage.api, f"/v1/tickets/{ticket}/transfer", friend)
        seat.listener = friend["to"]
    return kept


async def come_in(sale: Sale, old: list[Old]) -> None:
    """The first guests come in, each once, and nobody with a ticket that is a friend's now."""
    await post(sale.stage.api, f"/v1/spaces/{SPACE}/live", {})
    early = sale.memory.of(sale.run)[:ADMITTED]
    slots = asyncio.Semaphore(TILLS)

    async def one(ticket: str) -> None:
        async with slots:
            await _show(sale, await _pass(sale, ticket), "north")

    with output.console.status("The doors are open …"):
        await asyncio.gather(*(one(ticket) for ticket, _ in early))
        again = await _refusal(sale, await _pass(sale, early[0][0]), "already_admitted")
        for each in old:
            await _refusal(sale, each.text, "pass_replaced")
        await post(sale.stage.api, f"/v1/spaces/{SPACE}/end", {})
    output.console.print(
        f"{len(early)} were let in, {len(old)} pictures of passed-on tickets were not. One pass "
        "was shown at another door as well:",
        soft_wrap=True,
    )
    output.console.print(f"  “{again}”", soft_wrap=True, markup=False)


async def _pass(sale: Sale, ticket: str) -> str:
    found = await get(sale.stage.api, f"/v1/tickets/{ticket}/pass")
    return str(found["pass"])


async def _show(sale: Sale, text: str, door: str) -> dict[str, Any]:
    seen = {"pass": text, "space": SPACE, "door": door, "place": f"the {door} gate"}
    return await post(sale.stage.api, "/v1/admissions", seen)


async def _refusal(sale: Sale, text: str, why: str) -> str:
    """What the south door says; it should refuse the pass for this reason."""
    try:
        let_in = await _show(sale, text, "south")
    except SaidNo as no:
        if no.why != why:
            raise
        return str(no.facts["body"])
    sale.memory.wrong.append(f"The ticket {let_in['ticket']} was let in: {why}.")
    return ""
