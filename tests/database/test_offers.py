"""``offer_tickets`` gives what a loop of ten lines gives, whatever is free and whoever waits."""

import random
from dataclasses import dataclass, replace

from takings.database import Database
from tests import box_office
from tests.acceptance.test_waiting import NOON, at
from tests.conftest import PROVE
from ticketing.wishes import TierWish

ROUNDS = 400 if PROVE else 40


@dataclass(frozen=True)
class Wait:
    """Somebody who waits; their number is their rank."""

    n: int
    tier: str | None
    listener: int
    quantity: int
    least: int


@dataclass
class Model:
    """A run as it should be: what each of its tiers has left, and who was offered what."""

    room: int
    rooms: dict[str, int]
    most: int | None
    waiting: list[Wait]
    offered: dict[int, tuple[str, int]]

    def serve(self) -> None:
        """Whoever can be given as few as they would take is given what there is, in turn."""
        for wait in sorted(self.waiting, key=lambda one: one.n):
            fits = [
                tier
                for tier, room in self.rooms.items()
                if wait.tier in (None, tier) and min(self.room, room) >= wait.least
            ]
            given = min(wait.quantity, self.room, self.rooms[fits[0]]) if fits else 0
            if self.most is not None:
                given = min(given, self.most - self.has(wait.listener))
            if given >= wait.least:
                self.take(wait, fits[0], given)

    def has(self, listener: int) -> int:
        """How many tickets a listener is offered; each has one place only."""
        return self.offered.get(listener, ("", 0))[1]

    def take(self, wait: Wait, tier: str, given: int) -> None:
        """So many are theirs."""
        self.room -= given
        self.rooms[tier] -= given
        self.waiting.remove(wait)
        self.offered[wait.listener] = (tier, given)

    def free(self, listener: int) -> None:
        """What somebody was offered is given back."""
        tier, given = self.offered.pop(listener)
        self.room += given
        self.rooms[tier] += given


async def drawn(database: Database, dice: random.Random, run: str) -> Model:
    """A run as chance has it, and its model."""
    size, most = dice.randint(1, 130), dice.choice([None, 2, 4])
    sizes = {f"tier_{run}_{n}": dice.choice([None, 1, 3, 60]) for n in range(dice.randint(1, 3))}
    tiers = [TierWish(name, "fixed", 1000, name, quota) for name, quota in sizes.items()]
    await box_office.run(database, NOON, name=run, size=size, tiers=tiers, per_listener=most)
    waiting = []
    for n in range(dice.randint(0, 160)):
        quantity = dice.choice([1, 1, 2, 3, 5, 8])
        tier = dice.choice([None, *sizes])
        waiting.append(Wait(n, tier, n, quantity, dice.choice([1, quantity])))
    rows = [
        (f"wait_{run}_{one.n}", one.tier, f"lis_{one.listener}", one.quantity, one.least, one.n)
        for one in dice.sample(waiting, len(waiting))
    ]
    columns = [list(column) for column in zip(*rows, strict=True)] or [[]] * 6
    await database.fetch(WAIT, run, *columns, NOON)
    rooms = {name: size if quota is None else quota for name, quota in sizes.items()}
    return Model(size, rooms, most, waiting, {})


WAIT = """
INSERT INTO waiting (id, run_id, tier_id, listener_id, quantity, least, rank, state, created_at)
SELECT w.id, $1, w.tier, w.listener, w.quantity, w.least, w.rank, 'waiting', $8
  FROM unnest($2::text[], $3::text[], $4::text[], $5::integer[], $6::integer[], $7::bigint[])
       AS w (id, tier, listener, quantity, least, rank)
"""

OFFERED = """
SELECT w.listener_id, h.tier_id, h.quantity, h.id
  FROM waiting w JOIN holds h ON h.id = w.hold_id WHERE w.run_id = $1 AND w.state = 'offered'
"""


async def test_offers_are_what_a_simple_loop_gives(database: Database) -> None:
    for seed in range(ROUNDS):
        dice, run = random.Random(seed), f"run_{seed}"  # noqa: S311 - a seed, no secret
        model = await drawn(database, dice, run)
        model.serve()
        await database.fetch("SELECT offer_tickets($1, $2)", run, at(1))
        for _ in range(3):
            rows = await database.fetch(OFFERED, run)
            offered = {int(row.listener_id[4:]): (row.tier_id, row.quantity) for row in rows}
            assert offered == model.offered, f"seed {seed}"
            assert (await left(database, run)) == model.room, f"seed {seed}"
            back = dice.sample(rows, len(rows) // 3)
            for row in back:
                model.free(int(row.listener_id[4:]))
            model.serve()
            ids = [row.id for row in back]
            await database.fetch("SELECT free_holds($1, $2, 'expired', $3)", run, ids, at(2))


async def left(database: Database, run: str) -> int:
    quota, held, sold = await box_office.left(database, run)
    return (quota or 0) - held - sold


async def test_control_a_loop_that_lets_the_small_ones_first_is_found_out(
    database: Database,
) -> None:
    wrong = 0
    for seed in range(ROUNDS):
        dice, run = random.Random(seed), f"run_{seed}"  # noqa: S311 - a seed, no secret
        model = await drawn(database, dice, run)
        model.waiting = [replace(one, n=one.n + 1000 * one.least) for one in model.waiting]
        model.serve()
        await database.fetch("SELECT offer_tickets($1, $2)", run, at(1))
        rows = await database.fetch(OFFERED, run)
        offered = {int(row.listener_id[4:]): (row.tier_id, row.quantity) for row in rows}
        wrong += offered != model.offered
    assert wrong > ROUNDS // 4
