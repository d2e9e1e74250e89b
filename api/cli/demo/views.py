"""What one sees while the month passes: tables of what the API says."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from api.cli import output
from api.cli.demo.buyers import CURRENCY
from api.cli.demo.calls import every, get
from api.cli.demo.stage import Stage
from takings import money
from takings.money import Money

Rows = Sequence[Mapping[str, Any]]


def amount(minor: int, code: str = CURRENCY) -> str:
    """A sum as people read it, also where there is nothing."""
    return money.format(Money(minor, code))


async def balances(stage: Stage, host: str) -> list[dict[str, Any]]:
    """A host's money by currency."""
    return list((await get(stage.api, f"/v1/hosts/{host}/balance"))["balances"])


async def in_dollars(stage: Stage, host: str) -> dict[str, Any]:
    """A host's dollars."""
    [found] = [one for one in await balances(stage, host) if one["currency"] == CURRENCY]
    return found


async def drawers(stage: Stage, hosts: Mapping[str, str]) -> None:
    """What some hosts may take, what is frozen, and what they had better not spend."""
    columns = ("available", "reserved", "safe to spend")
    shown = output.table("While the banks ask", "host", *columns, right=columns)
    for host, name in hosts.items():
        found = await in_dollars(stage, host)
        shown.add_row(name, *(amount(found[one.replace(" ", "_")]) for one in columns))
    output.console.print(shown)


async def asked(stage: Stage) -> list[dict[str, Any]]:
    """All disputes as they are, the largest first."""
    return sorted(await every(stage.api, "/v1/disputes"), key=itemgetter("amount"), reverse=True)


def disputes(title: str, *looks: Rows) -> None:
    """How disputes were whenever one looked."""
    columns = ("amount", "frozen", "taken")
    shown = output.table(title, "reason", "status", *columns, right=columns)
    for look in looks:
        for one in look:
            sums = (amount(one[name], one["currency"]) for name in columns)
            shown.add_row(one["reason"], one["status"], *sums)
        shown.add_section()
    output.console.print(shown)


async def came_back(stage: Stage, payouts: Rows, hosts: Mapping[str, str]) -> None:
    """How much of these hosts' payouts has come back, and what they have or owe now."""
    columns = ("paid out", "came back", "available")
    shown = output.table("Asked back of their accounts", "host", *columns, right=columns)
    owing = []
    for payout in (one for one in payouts if one["host"] in hosts):
        found = await get(stage.api, f"/v1/payouts/{payout['id']}")
        back = sum(transfer["reversed"] for transfer in found["transfers"])
        left = (await in_dollars(stage, payout["host"]))["available"]
        name = hosts[payout["host"]]
        shown.add_row(name, *map(amount, (payout["amount"], back, left)))
        if left < 0:
            owing.append(f"{name}'s account is empty: Stripe refuses, and {amount(-left)} are owed")
    output.console.print(shown)
    output.console.print(f"{'; '.join(owing) or 'Nobody owes anything'}.", soft_wrap=True)


async def upcoming(stage: Stage, hosts: Mapping[str, str]) -> None:
    """When these hosts are paid next, and how much that is likely to be."""
    columns = ("available", "estimate")
    shown = output.table("Next payouts", "host", "on", *columns, "why none", right=columns)
    wanted = (get(stage.api, f"/v1/hosts/{host}/upcoming_payouts") for host in hosts)
    for name, found in zip(hosts.values(), await asyncio.gather(*wanted), strict=True):
        for one in found["data"]:
            sums = (amount(one[part], one["currency"]) for part in columns)
            shown.add_row(name, one["on"] or "", *sums, (one["why"] or "").replace("_", " "))
    output.console.print(shown)


def register(payouts: Rows, names: Mapping[str, str]) -> None:
    """Who was paid what."""
    shown = output.table("Paid", "host", "amount", "", "at Stripe", right=("amount",))
    for one in payouts:
        state = one["state"] + (", approved by the treasurer" if one["approved_by"] else "")
        sent = ", ".join(transfer["stripe_transfer"] or "" for transfer in one["transfers"])
        shown.add_row(names[one["host"]], amount(one["amount"], one["currency"]), state, sent)
    output.console.print(shown)


def lines(payout: Mapping[str, Any], name: str, kinds: Iterable[tuple[str, int, int]]) -> int:
    """What a payout is made of, by kind; how much its lines are off."""
    code, parts = payout["currency"], list(kinds)
    columns = ("lines", "adds")
    shown = output.table(f"What {name} was paid for", "", *columns, right=columns)
    for kind, many, minor in parts:
        shown.add_row(kind, str(many), amount(minor, code))
    off = sum(minor for *_, minor in parts) - int(payout["amount"])
    whole = (sum(many for _, many, _ in parts), payout["amount"])
    foot = (f"Σ, {amount(off, code)} off", str(whole[0]), amount(whole[1], code))
    shown.show_footer = True
    for column, text in zip(shown.columns, foot, strict=True):
        column.footer = text
    output.console.print(shown)
    return off
