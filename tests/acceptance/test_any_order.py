"""Any delivery, one truth: every order of a tip's events, repeated as they come, one journal.

``make test`` takes a seeded tenth of the 720 orders; TAKINGS_PROVE=1 takes them all.
"""

import itertools
import random
import re
from datetime import datetime
from typing import Any

import pytest

from api import worker
from api.runtime import Runtime
from api.settlement import SETTLEMENT
from sandbox.control import Sandbox
from takings.database import Database, fetch
from takings.ledger import journal
from takings.ledger.entries import Entry
from takings.payments import objects, payments, sweeps, webhooks
from tests import stories
from tests.conftest import PROVE, Fresh

TYPES = (
    "payment_intent.succeeded",
    "charge.succeeded",
    "charge.updated",
    "charge.refunded",
    "refund.created",
    "payment_intent.created",
)
ORDERS = list(itertools.permutations(TYPES))
CHOSEN = ORDERS if PROVE else random.Random(7).sample(ORDERS, len(ORDERS) // 10)  # noqa: S311


async def happened(runtime: Runtime, box: Sandbox, tip: str) -> tuple[str, list[dict[str, Any]]]:
    """A tip that is sent, paid and partly refunded at Stripe, without a word to us; its events."""
    seen = len(box.events)
    sent = await stories.tip(runtime, 500, name=tip)
    box.pay(sent.payment.intent_id)
    asked = {"payment_intent": sent.payment.intent_id, "amount": 123}
    await runtime.stripe.ask("refunds.create", asked, f"elsewhere:{tip}")
    box.advance(1)
    return sent.payment.id, box.events[seen:]


async def deliver(
    runtime: Runtime, events: list[dict[str, Any]], order: tuple[str, ...], dice: random.Random
) -> None:
    """The events in this order, each one to three times, with a cash sweep somewhere between."""
    sweep = dice.randrange(len(order) + 1)
    for place, kind in enumerate((*order, None)):
        if place == sweep:
            await sweeps.new_cash(runtime.database, runtime.stripe, SETTLEMENT, now=runtime.now())
        for event in [e for e in events if e["type"] == kind]:
            for copy in range(dice.randint(1, 3)):
                same = event if dice.random() < 0.5 else event | {"id": f"{event['id']}_{copy}"}
                await webhooks.receive(
                    runtime.database, [("account", objects.notice(same))], now=runtime.now()
                )
                await webhooks.process(
                    runtime.database, runtime.stripe, SETTLEMENT, now=runtime.now()
                )


NOW = stories.later(days=0)
YEARS_AGO = datetime.fromtimestamp(0, NOW.tzinfo)

OF_SUBJECTS = """
SELECT e.key, a.name, p.minor FROM entries e
  JOIN postings p ON p.entry_id = e.id AND p.posted_at = e.posted_at
  JOIN accounts a ON a.id = p.account_id
 WHERE e.subject = ANY($1::text[]) ORDER BY e.kind, e.key, p.n
"""


async def its_journal(database: Database, payment: str) -> str:
    """All that was posted about a payment and its refunds, without the ids."""
    found = await database.run(fetch, "SELECT id FROM refunds WHERE payment_id = $1", payment)
    rows = await database.run(fetch, OF_SUBJECTS, [payment, *(row.id for row in found)])
    entries: dict[str, list[str]] = {}
    for row in rows:
        key = re.sub(r"(pay|re|txn)_\w+", r"\1", row.key)
        entries.setdefault(row.key, [key]).append(f"  {row.name} {row.minor:+d}")
    return "\n".join(sorted("\n".join(lines) for lines in entries.values()))


async def journals(runtime: Runtime, box: Sandbox, orders: list[tuple[str, ...]]) -> set[str]:
    """The different journals that these orders of delivery lead to."""
    await stories.room(runtime.database, runtime.now())
    dice = random.Random(1)  # noqa: S311
    found = set()
    for number, order in enumerate(orders):
        payment, events = await happened(runtime, box, f"tip_{number}")
        assert {event["type"] for event in events} >= set(TYPES)
        await deliver(runtime, events, order, dice)
        await sweeps.new_cash(runtime.database, runtime.stripe, SETTLEMENT, now=runtime.now())
        found.add(await its_journal(runtime.database, payment))
    return found


async def test_every_order_of_a_tips_events_repeated_leads_to_one_journal(
    runtime: Runtime, box: Sandbox
) -> None:
    assert await journals(runtime, box, CHOSEN) == {ONE_JOURNAL}
    assert await stories.guilty(runtime.database) == {}


ONE_JOURNAL = """\
payment:pay:earned
  clearing:charges +546
  liabilities:host:host_ada:held -300
  liabilities:host:host_bob:held -200
  income:fees_covered -46
refund:re:booked
  liabilities:host:host_ada:held +74
  liabilities:host:host_bob:held +49
  clearing:refunds -123
txn:txn
  assets:stripe:pending +500
  expenses:stripe_fees +46
  clearing:charges -546
txn:txn
  assets:stripe:pending -123
  clearing:refunds +123"""


async def test_control_without_the_walls_a_repeated_proof_is_booked_again(
    runtime: Runtime, box: Sandbox, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stories.room(runtime.database, runtime.now())
    payment, events = await happened(runtime, box, "tip_0")
    async with Database(fresh.owner) as owner:
        await owner.run(fetch, "ALTER TABLE allotments DROP CONSTRAINT allotments_pk")
    monkeypatch.setattr(payments, "LOCK", payments.LOCK.replace("state,", "'open' AS state,"))
    post, number = journal.post, itertools.count()

    async def keyless(session: Any, entries: list[Entry], **named: Any) -> Any:
        for entry in entries:
            object.__setattr__(entry, "key", f"{entry.key}:{next(number)}")
        return await post(session, entries, **named)

    monkeypatch.setattr(journal, "post", keyless)
    proofs = ("payment_intent.succeeded", "charge.succeeded")
    await deliver(runtime, events, proofs, random.Random(1))  # noqa: S311
    assert (await its_journal(runtime.database, payment)).count("clearing:charges +546") > 1


async def test_any_one_event_may_be_lost_and_one_sweep_heals(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    for number, lost in enumerate((None, *TYPES)):
        _, events = await happened(runtime, box, f"tip_{number}")
        heard = tuple(kind for kind in TYPES if kind != lost)
        await deliver(runtime, events, heard, random.Random(number))  # noqa: S311
    box.faults.clear()
    before = runtime.now()
    await sweeps.lost_events(runtime.database, runtime.stripe, since=YEARS_AGO, now=before)
    await worker.drain(runtime, runtime.now())
    assert await stories.guilty(runtime.database) == {}
    told = await stories.told(runtime.database)
    assert told.count(":earned") == told.count(":booked") == len(TYPES) + 1


async def test_a_payment_whose_every_event_is_lost_is_found_when_it_stays_open(
    runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await stories.tip(runtime, 500)
    box.pay(sent.payment.intent_id)
    settled = await sweeps.open_payments(
        runtime.database,
        runtime.stripe,
        SETTLEMENT,
        before=stories.later(minutes=1),
        now=runtime.now(),
    )
    assert settled == 1
    assert f"payment:{sent.payment.id}:earned" in await stories.told(runtime.database)
