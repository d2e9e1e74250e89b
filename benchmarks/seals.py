"""Sealing and verifying: one worker must keep up with whoever posts."""

import time
from datetime import UTC, datetime

from benchmarks import posting
from benchmarks.measure import Figure, Side, compare
from benchmarks.stage import Stage
from takings.ledger import seals

ROUNDS = 5


async def sealed(stage: Stage) -> list[Figure]:
    """What is sealed and what is verified in a second, against what one client posts."""
    post = posting.product(stage)

    async def posted() -> float:
        return 100 * await post()

    note = "floor: journal.post, batches of 100 × 4, one client"
    return [
        await compare(
            Figure("seal the journal, one worker", "entries/s", goal="≥ 1", note=note),
            sealing(stage, posted),
            posted,
            rounds=ROUNDS,
        ),
        await compare(
            Figure("verify the seals", "entries/s", goal="≥ 1", note=note),
            verifying(stage),
            posted,
            rounds=ROUNDS,
        ),
    ]


def sealing(stage: Stage, posted: Side) -> Side:
    """A side: everything that was posted and not sealed yet is sealed."""

    async def side() -> float:
        await posted()
        start = time.perf_counter()
        done = await seals.seal(stage.database, now=datetime.now(UTC))
        return done / (time.perf_counter() - start)

    return side


def verifying(stage: Stage) -> Side:
    """A side: the whole chain is verified, whatever its length by now."""

    async def side() -> float:
        await seals.seal(stage.database, now=datetime.now(UTC))
        walked = [0]
        start = time.perf_counter()
        found = await seals.verify(
            stage.database.fetch, now=datetime.now(UTC), walked=walked.append
        )
        assert not found  # noqa: S101 - a figure of a chain that does not hold is none
        return walked[-1] / (time.perf_counter() - start)

    return side
