"""The waiting list under load: no walk-in comes before it, and nobody in it is forgotten."""

import asyncio
from collections import Counter

from takings.database import Database
from tests import box_office
from tests.acceptance.test_waiting import NOON, at, place, release, sold_out, states, wait
from tests.conftest import Fresh
from ticketing import holds, waitlist

MANY = 50


async def listed(database: Database) -> None:
    """A run that is sold out, half of it bought, and as many who wait."""
    await sold_out(database, size=MANY, hold_s=86_400, offer_s=60)
    await box_office.sold(database, [f"early_{n}" for n in range(0, MANY, 2)], NOON)
    for n in range(MANY):
        assert await wait(database, f"{n:02}", 1 + n / 1000) == "waiting"


VOID = "SELECT void_tickets('run_one', $1, 'asked', $2)"


async def give_back(database: Database, n: int, second: float) -> None:
    """What one of the early has is refunded or released."""
    if n % 2:
        await release(database, n, second)
    else:
        await database.fetch(VOID, [f"tkt_early_{n}_1"], at(second))


async def race(database: Database) -> Counter[str]:
    """Everything is given back, one by one, while as many walk in; what those were answered."""
    over, answers = asyncio.Event(), Counter[str]()

    async def walk_in(n: int) -> None:
        answer = "sold_out"
        while not over.is_set() and answer != "held":
            answer = await box_office.claim(database, f"walk_{n}", now=at(5))
            answers[answer] += 1

    async def watch() -> None:
        while not over.is_set():
            (row,) = await database.fetch(IN_ORDER)
            assert row.in_order in (True, None), "the list is served from its front"

    async def give() -> None:
        for n in range(MANY):
            await give_back(database, n, 5)
        over.set()

    await asyncio.gather(give(), watch(), *(walk_in(n) for n in range(MANY)))
    return answers


IN_ORDER = """
SELECT max(rank) FILTER (WHERE state = 'offered') < min(rank) FILTER (WHERE state = 'waiting')
       AS in_order FROM waiting
"""

COUNTED = """
SELECT p.held = (SELECT coalesce(sum(h.quantity), 0) FROM holds h
                  WHERE h.run_id = p.id AND h.state IN ('held', 'expiring')) AS right,
       p.quota - p.held - p.sold AS free
  FROM pools p WHERE p.id = 'run_one'
"""


async def test_fifty_walk_ins_get_nothing_while_fifty_wait(database: Database) -> None:
    await listed(database)
    answers = await race(database)
    assert answers["held"] == 0
    assert answers["sold_out"] > 0
    assert set((await states(database)).values()) == {"offered"}
    assert await box_office.left(database) == (MANY, MANY, 0)


async def test_control_offered_outside_the_transaction_that_frees_a_walk_in_wins(
    database: Database, fresh: Fresh
) -> None:
    await listed(database)
    async with Database(fresh.owner) as owner:
        for name in ("free_holds", "void_tickets", "claim_tickets"):
            await without(owner, name, "PERFORM offer_tickets(wanted, moment);")
    assert (await race(database))["held"] > 0


async def test_without_the_offer_in_the_transaction_a_claim_still_serves_the_list_first(
    database: Database, fresh: Fresh
) -> None:
    await listed(database)
    async with Database(fresh.owner) as owner:
        for name in ("free_holds", "void_tickets"):
            await without(owner, name, "PERFORM offer_tickets(wanted, moment);")
    assert (await race(database))["held"] == 0


async def without(owner: Database, function: str, words: str) -> None:
    """A function of the database without some words of it."""
    (found,) = await owner.fetch("SELECT pg_get_functiondef($1::text::regproc) AS sql", function)
    assert words in found.sql
    await owner.fetch(found.sql.replace(words, "NULL;"))


async def test_offers_lapse_and_move_on_until_everybody_had_one(database: Database) -> None:
    await listed(database)
    await asyncio.gather(*(give_back(database, n, 5) for n in range(5)))
    second, walked = 5, 0
    while "waiting" in (await states(database)).values():
        second += 60
        offered = [name for name, s in (await states(database)).items() if s == "offered"]
        bought = [(await place(database, name)).hold for name in offered[::5]]
        names = [str(hold).removeprefix("hold_") for hold in bought]
        await box_office.sold(database, names, at(second - 1))
        claims = (box_office.claim(database, f"{second}_{n}", now=at(second)) for n in range(MANY))
        sweeps = (holds.sweep(database, now=at(second)) for _ in range(2))
        answers, _ = await asyncio.gather(asyncio.gather(*claims), asyncio.gather(*sweeps))
        walked += answers.count("held")
        if walked:
            break
        back = [f"tkt_{name}_1" for name in names]  # and given back at once
        await database.fetch(VOID, back, at(second))
    ends = Counter((await states(database)).values())
    assert ends["waiting"] == 0
    assert walked <= 5
    assert ends["taken"] + ends["lapsed"] + ends["offered"] == MANY, "nobody was forgotten"


async def test_joining_leaving_and_giving_back_at_once_leaves_no_seat_free_while_one_waits(
    database: Database,
) -> None:
    await sold_out(database, size=MANY, hold_s=86_400)
    for n in range(0, MANY, 2):
        await wait(database, f"{n:02}", 1)
    acts = [give_back(database, n, 5) for n in range(1, MANY, 2)]
    joins = [wait(database, f"{n:02}", 5) for n in range(1, MANY, 2)]
    leaves = [waitlist.leave(database, f"wait_{n:02}", now=at(5)) for n in range(0, MANY, 4)]
    await asyncio.gather(*acts, *joins, *leaves)
    (row,) = await database.fetch(COUNTED)
    assert row.right
    assert row.free == 0 or "waiting" not in (await states(database)).values()


async def test_one_listener_who_joins_fifty_times_at_once_has_one_place(
    database: Database,
) -> None:
    await sold_out(database)
    joins = (wait(database, f"{n}", 1, listener="lis_bot") for n in range(MANY))
    answers = Counter(await asyncio.gather(*joins))
    assert answers == {"waiting": 1, "already_waiting": MANY - 1}


async def test_one_address_has_no_more_places_than_tickets(database: Database) -> None:
    await sold_out(database, per_address=4)
    joins = (wait(database, f"{n}", 1, address="10.0.0.1") for n in range(MANY))
    answers = Counter(await asyncio.gather(*joins))
    assert answers == {"waiting": 4, "too_many_tickets": MANY - 4}
