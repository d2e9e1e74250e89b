"""Payday: everybody is paid at once, large sums once another person has looked at them."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from rich.progress import Progress

from api.cli.demo import bars, days, views
from api.cli.demo.calls import SaidNo, every, get, post
from api.cli.demo.days import Calendar
from api.cli.demo.stage import Stage

PATIENCE_S: Final = 20.0


async def play(calendar: Calendar, day: int, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """The batch of the day runs; the treasurer approves what waits; all payouts of it."""
    stage, batch = calendar.stage, f"pob_{calendar.date(day)}"
    await calendar.jump(day)
    with bars.shown() as progress:
        await _follow(stage, batch, progress)
    waiting = await every(stage.api, "/v1/payouts", batch=batch, state="waiting")
    for payout in waiting:
        await post(stage.treasurer, f"/v1/payouts/{payout['id']}/approve", {})
    await days.pass_on(stage)
    payouts = await every(stage.api, "/v1/payouts", batch=batch)
    payouts.sort(key=lambda payout: (payout["host"], payout["currency"]))
    views.register(payouts, names)
    return payouts


async def _follow(stage: Stage, batch: str, progress: Progress) -> None:
    """Look on until every host has been looked at, and what does not wait is sent."""
    looked = progress.add_task("Hosts are looked at", total=None)
    sent = progress.add_task("Payouts are sent", total=None)
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        await asyncio.sleep(bars.PAUSE_S)
        try:
            found = await get(stage.api, f"/v1/payout_batches/{batch}")
        except SaidNo as no:
            if no.why != "not_found":  # the worker has not seen yet what day it is
                raise
            continue
        many = Counter({part["state"]: part["payouts"] for part in found["payouts"]})
        progress.update(looked, completed=found["looked"], total=found["hosts"])
        done = many["sent"] + many["refused"]
        progress.update(sent, completed=done, total=many.total() - many["waiting"])
        if found["written_at"] is not None and not many["sending"]:
            return


async def lines(stage: Stage, payout: Mapping[str, Any], name: str) -> int:
    """Show what a payout is made of; how much its lines are off."""
    found = await every(stage.api, f"/v1/payouts/{payout['id']}/lines")
    many: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    for line in found:
        kind = line["kind"].replace("_", " ") + (f" · {line['of']}s" if line["of"] else "")
        many[kind] += 1
        sums[kind] += line["amount"]
    return views.lines(payout, name, ((kind, many[kind], minor) for kind, minor in sums.items()))
