"""After the last song: lost webhooks are found, some money goes back, rooms end, all clears."""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta

from api import worker
from api.cli import output
from api.cli.demo.calls import post
from api.cli.demo.evening import AT_ONCE, Played
from api.cli.demo.stage import Stage
from takings.money import Money
from takings.payments import releases, sweeps

EVERY_FULL, EVERY_HALF, EVERY_TWICE_HALF = 17, 11, 13
PATIENCE_S = 25.0

OPEN = """
SELECT (SELECT count(*) FROM events WHERE status <> 'done') AS events,
       (SELECT count(*) FROM asks WHERE answered_at IS NULL) AS asks,
       (SELECT count(*) FROM refunds WHERE state = 'asked') AS refunds,
       (SELECT count(*) FROM ticket_refunds WHERE done_at IS NULL) AS tickets_to_refund,
       (SELECT count(*) FROM payout_batches WHERE written_at IS NULL) AS payout_batches,
       (SELECT count(*) FROM recoveries WHERE looked_at IS NULL) AS recoveries,
       (SELECT count(*) FROM cash WHERE matured_at IS NULL AND available_on <= $1) AS ripe_cash,
       (SELECT count(*)
          FROM (SELECT FROM accounts a JOIN balances b ON b.account_id = a.id
                 WHERE a.name LIKE 'clearing:%' GROUP BY a.id HAVING sum(b.minor) <> 0) AS uneven
       ) AS clearing_accounts
"""


async def find_lost(stage: Stage) -> int:
    """Every webhook that Stripe could not deliver is fetched; how many there were.

    The worker does the same every minute; here nobody wants to wait.
    """
    with output.console.status("Asking Stripe for what got lost …"):
        await post(stage.stripe, "/_sandbox/deliver", {})
        runtime, now = stage.runtime, stage.runtime.now()
        since = now - timedelta(hours=1)
        lost = await sweeps.lost_events(runtime.database, runtime.stripe, since=since, now=now)
    await drain(stage)
    output.console.print(f"{lost} webhooks never came; asking Stripe brought them all.")
    return lost


async def refund_some(stage: Stage, played: Played) -> None:
    """Some listeners get all of their tip back, some half of it, some all of it in two halves."""
    asked: list[tuple[str, str, Money]] = []
    for n, (tip, wish) in enumerate(sorted(played.paid.items()), 1):
        payment, half = played.payments[tip], Money(wish.money.minor // 2, wish.money.currency)
        if n % EVERY_FULL == 0:
            asked.append((f"ref_{tip}", payment, wish.money))
        elif n % EVERY_TWICE_HALF == 0:
            asked.append((f"ref_{tip}_a", payment, half))
            asked.append((f"ref_{tip}_b", payment, wish.money - half))
        elif n % EVERY_HALF == 0:
            asked.append((f"ref_{tip}", payment, half))
    slots = asyncio.Semaphore(AT_ONCE)

    async def twice(id_: str, payment: str, money: Money) -> None:
        refund = {"id": id_, "amount": money.minor, "currency": money.currency}
        async with slots:
            for _ in range(2):
                await post(stage.api, f"/v1/payments/{payment}/refunds", refund)
        played.refunded.append(money)

    with output.console.status(f"Refunding {len(asked)} times …"):
        await asyncio.gather(*(twice(*refund) for refund in asked))
    output.console.print(f"{len(asked)} refunds, each asked for twice, each made once.")


async def end(stage: Stage, rooms: Sequence[str]) -> None:
    """The rooms end: what Stripe has made available is released to the hosts."""
    await post(stage.stripe, "/_sandbox/faults", {"clear": True})
    for room in rooms:
        await post(stage.api, f"/v1/spaces/{room}/end", {})
    await post(stage.stripe, "/_sandbox/deliver", {})


async def drain(stage: Stage) -> list[str]:
    """Work beside the worker until nothing is open; what still is when patience has an end."""
    until = time.monotonic() + PATIENCE_S
    with output.console.status("Waiting until nothing is open …"):
        while True:
            now, database = stage.runtime.now(), stage.runtime.database
            await worker.drain(stage.runtime, now)
            [found] = await database.fetch(OPEN, now)
            left = found._asdict() | {"payments": await releases.waiting(database, now=now, most=9)}
            if not any(left.values()) or time.monotonic() > until:
                return [f"Still open: {n} {what}." for what, n in left.items() if n]
            await asyncio.sleep(0.2)
