"""A crash at any boundary heals: whatever died where, in the end it is as if nobody had."""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from random import Random

import pytest
from pydantic import SecretStr

import sandbox
from api.settings import Settings, sealed
from takings.embedded import Server
from tests.conftest import PROVE
from tests.contract import gate
from tests.faults.crash_flows import FLOWS
from tests.faults.crash_points import Fate, Play, Way

PART = 20
"""How many crash points of a flow are tried, unless all are."""


def settings(server: Server, database: str, stripe: str) -> Settings:
    """Those of a process on this stage."""
    return sealed(
        database_url=server.url(database, "app"),
        owner_url=server.url(database, "owner"),
        stripe_api_key=SecretStr("sk_test_takings"),
        stripe_api_base=stripe,
    )


class Theatre:
    """Every performance has a database and a Stripe of its own."""

    def __init__(self, server: Server, template: str) -> None:
        self.server, self.template = server, template

    async def perform(
        self, flow: str, fate: Fate, without: Collection[str] = ()
    ) -> tuple[list[str], Counter[str]]:
        """What is wrong after it, and all that there is then."""
        name = f"crash_{os.getpid()}"
        await self.server.drop(name)
        await self.server.create(name, template=self.template)
        async with sandbox.running() as box:
            play = Play(settings(self.server, name, box.url), box, fate, without)
            await play.begin()
            try:
                await FLOWS[flow](play)
                seen = await play.last_look()
            finally:
                await play.end()
            gate.check(box)
        await self.server.drop(name)
        return play.wrong, seen

    async def differs(
        self, flow: str, fate: Fate, whole: Counter[str], without: Collection[str] = ()
    ) -> list[str]:
        """What is wrong, or otherwise than in a performance where nobody died."""
        try:
            wrong, seen = await self.perform(flow, fate, without)
        except Exception as error:  # noqa: BLE001 - it is what is wrong
            return [f"{type(error).__name__}: {error}"]
        return [*wrong, *(f"+ {one}" for one in seen - whole), *(f"- {one}" for one in whole - seen)]


@pytest.fixture(scope="session")
def theatre(server: Server, template: str) -> Theatre:
    return Theatre(server, template)


def points(met: Sequence[str]) -> Iterator[tuple[int, Way]]:
    """Every crash point: each boundary, in every way; what only reads has no effect to lose."""
    for at, what in enumerate(met, 1):
        yield at, "before"
        yield at, "lost"
        if not what.startswith("GET"):
            yield at, "after"


@pytest.mark.parametrize("flow", FLOWS)
async def test_whoever_dies_where_the_flow_ends_as_if_nobody_had(
    theatre: Theatre, flow: str
) -> None:
    fate = Fate()
    wrong, whole = await theatre.perform(flow, fate)
    assert wrong == []
    every = list(points(fate.met))
    some = every if PROVE else Random(flow).sample(every, min(PART, len(every)))  # noqa: S311
    struck = 0
    found: dict[str, list[str]] = {}
    for at, way in some:
        fate = Fate(at, way)
        if differs := await theatre.differs(flow, fate, whole):
            found[f"{at} {way} {fate.met[at - 1 : at]}"] = differs
        struck += fate.struck
    print(f"{flow}: {len(every)} points, {struck} of {len(some)} struck")
    assert found == {}


LIFELINES = {
    "tip_refunded_in_pieces": "unanswered",
    "dispute_won": "events",
    "parked_returned": "unanswered",
    "batch_of_three": "transfers",
    "refund_after_payout": "recoveries",
}
"""What some flow cannot do without, once somebody has died."""


@pytest.mark.parametrize("flow", LIFELINES)
async def test_control_without_a_step_of_the_recovery_not_every_crash_heals(
    theatre: Theatre, flow: str
) -> None:
    fate = Fate()
    _, whole = await theatre.perform(flow, fate)
    every = list(points(fate.met))
    for at, way in Random(flow).sample(every, len(every)):  # noqa: S311 - only an order
        fate = Fate(at, way)
        if await theatre.differs(flow, fate, whole, [LIFELINES[flow]]) and fate.struck:
            return
    pytest.fail("nothing was missed")
