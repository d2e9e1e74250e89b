"""A crash at any boundary heals: whatever died where, in the end it is as if nobody had."""

import gc
import os
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from random import Random
from typing import Any, Self

import pytest
from pydantic import SecretStr

import sandbox
from api import worker
from api.settings import sealed
from takings import books
from takings.database import Database
from takings.embedded import Server
from takings.payments.objects import Object
from takings.payments.stripe import Call, Stripe
from takings.payouts import batches
from takings.records import new_id
from tests.conftest import HOME, PROVE, postgres
from tests.contract import gate
from tests.faults.crash_flows import FLOWS
from tests.faults.crash_points import Fate, Play, Way

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # the dead close nothing

PART = 8
"""How many crash points of each flow are tried, unless all are."""


class Theatre:
    """Every performance has a database and a Stripe of its own."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.empty, self.stage = (f"{what}_{os.getpid()}" for what in ("empty", "stage"))

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Self]:
        """A migrated database is there to be copied; nobody waits for the disk.

        It is processes that die here, and not the machine.
        """
        url = self.server.url("postgres", "admin")
        async with Database(url, connections=1) as admin:
            await admin.fetch("ALTER SYSTEM SET fsync = off")
            await admin.fetch("SELECT pg_reload_conf()")
        await self.server.drop(self.empty)
        await self.server.create(self.empty)
        await books.prepare(self.server.url(self.empty, "owner"), books.APP, now=datetime.now(UTC))
        yield self
        await self.server.drop(self.stage)
        await self.server.drop(self.empty)

    async def perform(
        self, flow: str, fate: Fate, without: Collection[str] = ()
    ) -> tuple[list[str], Counter[str]]:
        """What is wrong after it, and all that there is then."""
        await self.server.drop(self.stage)
        await self.server.create(self.stage, template=self.empty)
        async with sandbox.running() as box:
            settings = sealed(
                database_url=self.server.url(self.stage, "app"),
                stripe_api_key=SecretStr("sk_test_takings"),
                stripe_api_base=box.url,
            )
            play = Play(settings, box, fate, without)
            await play.begin()
            try:
                await FLOWS[flow](play)
                seen = await play.last_look()
            finally:
                await play.end()
            gate.check(box)
        return play.wrong, seen

    async def differs(
        self, flow: str, fate: Fate, whole: Counter[str], without: Collection[str] = ()
    ) -> list[str]:
        """What is wrong, or otherwise than in a performance where nobody died."""
        try:
            wrong, seen = await self.perform(flow, fate, without)
        except Exception as error:  # noqa: BLE001 - it is what is wrong
            return [f"{type(error).__name__}: {error}"]
        return [
            *wrong,
            *(f"+ {one}" for one in seen - whole),
            *(f"- {one}" for one in whole - seen),
        ]


@pytest.fixture(scope="session")
async def theatre() -> AsyncIterator[Theatre]:
    """A server apart, so that other tests have their disk for themselves."""
    async with (
        postgres(HOME.with_name("theatre")) as server,
        Theatre(server).opened() as found,
    ):
        yield found


@pytest.fixture(autouse=True)
def _buried() -> Iterator[None]:
    """What the dead held is given back here, and not in somebody else's test."""
    yield
    gc.collect()


def points(met: Sequence[str]) -> Iterator[tuple[int, Way]]:
    """Every crash point: each boundary, in every way; what only reads has no effect to lose."""
    for at, what in enumerate(met, 1):
        yield at, "before"
        yield at, "lost"
        if not what.startswith("GET"):
            yield at, "after"


@pytest.mark.parametrize("flow", FLOWS)
async def test_whoever_dies_where_the_flow_ends_as_if_nobody_had(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch, flow: str
) -> None:
    monkeypatch.setattr(batches, "STEP", 1)  # each host is a step of its own
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
    assert found == {}
    assert struck == len(some)


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
    calls = [what.startswith("POST") for what in fate.met]  # most hangs on these: they come first
    for at, way in sorted(points(fate.met), key=lambda point: not calls[point[0] - 1]):
        fate = Fate(at, way)
        if await theatre.differs(flow, fate, whole, [LIFELINES[flow]]) and fate.struck:
            return
    pytest.fail("nothing was missed")


async def test_control_under_another_key_what_was_lost_is_done_twice(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where neither an event nor its cash tells of it first."""
    flow, ask = "parked_claimed", Stripe.ask
    fate = Fate()
    _, whole = await theatre.perform(flow, fate)

    async def forgetful(self: Stripe, call: Call, params: Mapping[str, Any], _: str) -> Object:
        return await ask(self, call, params, new_id("key"))

    monkeypatch.setattr(Stripe, "ask", forgetful)
    fate = Fate(fate.met.index("POST /v1/refunds") + 1, "lost")
    others = {"events", *(duty.name for duty in worker.DUTIES)} - {"unanswered"}
    differs = await theatre.differs(flow, fate, whole, others)
    assert "+ refund amount=100 currency=eur status=succeeded" in differs
