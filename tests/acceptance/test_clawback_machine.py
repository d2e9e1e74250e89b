"""Refunds and disputes as a state: whatever the order in which we hear of them, the same is owed.

What Stripe shows of each object, view by view, is made here and told in random orders, older views
after newer ones and all of them more than once; the release of the room falls in between.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.database import Database, fetch
from takings.payments import disputes, releases, returns
from takings.spaces import spaces
from tests import stories, together
from tests.conftest import PROVE

MINORS = (500, 701, 1003)
EXAMPLES = 400 if PROVE else 20
ORDERS = 3

LAWS = ("equation", "lines credited", "lines returned", "disputes divided", "lines posted")


@dataclass(frozen=True, slots=True)
class Story:
    """Refunds, each by line and whether it fails; disputes, each an amount and how far it gets."""

    refunds: tuple[tuple[tuple[int, int, int], bool], ...]
    disputes: tuple[tuple[int, str], ...]


def views(name: str, minor: int, end: str) -> list[dict[str, Any]]:
    """What Stripe shows of a dispute, one after the other."""
    statuses = {
        "open": ["needs_response"],
        "inquiry": ["warning_needs_response"],
        "withdrawn": ["needs_response", "needs_response"],
        "lost": ["needs_response", "under_review", "lost"],
        "won": ["needs_response", "needs_response", "won"],
        "closed": ["needs_response", "won"],
    }[end]
    moves = {"withdrawn": [0, 1], "lost": [0, 1, 1], "won": [0, 1, 2]}.get(end, [0, 0])
    lines = [
        {"id": f"txn_{name}_{n}", "amount": sign * minor, "currency": "eur", "created": 1 + n}
        for n, sign in enumerate((-1, 1))
    ]
    return [
        {
            "id": name,
            "status": status,
            "reason": "fraudulent",
            "amount": minor,
            "currency": "eur",
            "created": 1,
            "evidence_details": {"due_by": None},
            "balance_transactions": lines[:seen],
        }
        for status, seen in zip(statuses, moves, strict=False)
    ]


async def tell(
    runtime: Runtime, payment: str, story: Story, chance: Random, *, gullible: bool = False
) -> None:
    """Every view in a random order, some of them twice; the gullible believe older ones too."""
    database, now = runtime.database, runtime.now()
    told: list[tuple[str, dict[str, Any]]] = []
    for n, (parts, fails) in enumerate(story.refunds):
        name = f"re_{payment[-6:]}_{n}"
        await database.run(_reserve, payment, name, parts, now)
        for status in ["succeeded", "failed"] if fails else ["succeeded"]:
            found = {"id": name, "status": status, "created": 1, "failure_reason": "none"}
            told.append(("refund", found))
    for n, (minor, end) in enumerate(story.disputes):
        told += [("dispute", view) for view in views(f"dp_{payment[-6:]}_{n}", minor, end)]
    told += chance.sample(told, len(told) // 2)
    release = ("release", {})
    told.append(release)
    chance.shuffle(told)
    for kind, found in told:
        if kind == "refund":
            await database.run(returns.book, found["id"], found, now)
        elif kind == "dispute":
            if gullible:
                await database.fetch("UPDATE disputes SET stage = 0, moves = 0")
            await database.run(disputes.heard, found, payment, now)
        else:
            await releases.release(database, now=stories.later(days=60))


async def _reserve(
    session: Any, payment_id: str, name: str, parts: Sequence[int], now: Any
) -> None:
    payment = await returns.lock(session, payment_id)
    rows = await fetch(session, together.LINES, payment_id)
    each = zip([row.id for row in rows], parts, strict=True)
    await returns.reserve(session, name, payment, each, ("by hand", None), now)


async def left(database: Database, payment: str) -> list[tuple[Any, ...]]:
    """How the money of a payment lies in the end."""
    rows = await database.fetch(LEFT, payment)
    return [tuple(row)[1:] for row in rows]


LEFT = """
SELECT l.subject, a.position, a.taken, a.held, a.reserved, l.returned, l.disputed, l.frozen, p.lost
  FROM lines l JOIN allotments a ON a.line_id = l.id JOIN payments p ON p.id = l.payment_id
 WHERE l.payment_id = $1 ORDER BY l.subject, a.position
"""


@pytest.mark.parametrize("seed", range(EXAMPLES))
async def test_in_whatever_order_we_hear_of_them_the_same_is_owed(
    runtime: Runtime, box: Sandbox, seed: int
) -> None:
    chance = Random(seed)  # noqa: S311 - it has to replay
    story = example(chance)
    await together.room(runtime)
    payments = [(await together.paid(runtime, box, MINORS))[0] for _ in range(ORDERS)]
    await spaces.move(runtime.database, "spc_one", "ended", now=runtime.now())
    box.advance(10 * 86_400)
    ends = []
    for payment in payments:
        await tell(runtime, payment, story, chance)
        broken = await stories.guilty(runtime.database)
        assert {law: broken[law] for law in LAWS if law in broken} == {}
        ends.append(await left(runtime.database, payment))
    assert all(end == ends[0] for end in ends), story


async def test_control_who_believes_older_views_ends_elsewhere(
    runtime: Runtime, box: Sandbox
) -> None:
    story = Story((), ((400, "won"),))
    await together.room(runtime)
    payment, _ = await together.paid(runtime, box, MINORS)
    await spaces.move(runtime.database, "spc_one", "ended", now=runtime.now())
    last_first = Random(1)  # noqa: S311 - as above
    await tell(runtime, payment, story, last_first, gullible=True)
    assert any(row[2] for row in await left(runtime.database, payment))  # it was won, all the same


def example(chance: Random) -> Story:
    """A story by chance."""
    remaining, found = list(MINORS), []
    for _ in range(chance.randint(0, 3)):
        parts = tuple(chance.choice((0, chance.randint(0, one))) for one in remaining)
        if sum(parts):
            remaining = [one - part for one, part in zip(remaining, parts, strict=True)]
            found.append(((parts[0], parts[1], parts[2]), chance.random() < 0.4))
    ends = ("open", "inquiry", "withdrawn", "lost", "won", "closed")
    asked = [
        (chance.randint(1, sum(MINORS)), chance.choice(ends)) for _ in range(chance.randint(0, 2))
    ]
    return Story(tuple(found), tuple(asked))
