"""A key has one effect: fifty at once, another request, a death and a failure on every operation.

What one effect is, is measured: the same story told once, in another world.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from api import acts, app, operations, worker
from api.acts import HEADER, Act
from api.operations import REPLAYED, SAFE, Door, Handle, Rules
from takings.database import Database
from takings.embedded import Server
from takings.payments.asks import LEASE
from tests import stories
from tests.acceptance.examples import STORY, TO_ADD, Example, missing
from tests.acceptance.world import World, calling, elsewhere, grown
from tests.conftest import PROVE, Fresh

AT_ONCE = 50

AT_FIRST = {
    operations.named(route)
    for resource in app.RESOURCES
    for route in resource.router.routes
    if hasattr(route.endpoint, "first")
}
"""Operations that are begun, done and noted in one statement."""


@dataclass(frozen=True)
class Effect:
    """What an operation did: the rows that it added, and what changed at Stripe."""

    rows: dict[str, int]
    moved: list[str]


class Watch:
    """What has happened since it was looked at last."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def look(self) -> None:
        """From now on."""
        self.rows, self.moved = await self.world.rows(), self.world.moved()

    async def effect(self) -> Effect:
        """What has been done since."""
        rows = grown(self.rows, await self.world.rows())
        return Effect(rows, self.world.moved()[len(self.moved) :])

    async def nothing(self) -> bool:
        """Whether nothing at all has been."""
        return (self.rows, self.moved) == (await self.world.rows(), self.world.moved())


Doing = Callable[[Example, World], Awaitable[Any]]


async def acted(world: World, act: Doing) -> None:
    """The story, each act of it done in that way; it says what the act was answered."""
    unknown = missing(world)
    assert not unknown, TO_ADD.format(unknown)
    for example in STORY:
        await example.ready(world)
        if example.method(world) not in SAFE:
            example.learn(world, await act(example, world))
        elif example.keeps:
            example.learn(world, (await world.client.send(example.request(world))).json())


async def send(
    example: Example, world: World, client: httpx.AsyncClient | None = None, **changed: Any
) -> httpx.Response:
    """The request under its key."""
    headers = {HEADER: example.operation}
    return await (client or world.client).send(example.request(world, headers=headers, **changed))


def code(answer: httpx.Response) -> str | None:
    """What is wrong, if anything is."""
    return None if answer.is_success else str(answer.json()["code"])


@pytest.fixture(scope="module", autouse=True)
def _one_day() -> Iterator[None]:
    """No day begins, though hours pass: the payouts of a day are no effect of an operation."""
    with pytest.MonkeyPatch.context() as patch:
        duties = tuple(duty for duty in worker.DUTIES if duty.name != "payout_day")
        patch.setattr(worker, "DUTIES", duties)
        yield


@pytest.fixture(scope="module")
async def once(server: Server, template: str) -> dict[str, Effect]:
    """What each operation does when it is asked once and nothing goes wrong; and in the end."""
    found: dict[str, Effect] = {}

    async def act(example: Example, world: World) -> Any:
        watch = Watch(world)
        await watch.look()
        answer = await send(example, world)
        assert answer.is_success, answer.text
        found[example.operation] = await watch.effect()
        await in_peace(world)
        found[in_the_end(example)] = await watch.effect()
        return answer.json()

    async with elsewhere(server, template) as world:
        await acted(world, act)
    return found


def in_the_end(example: Example) -> str:
    """What an operation has come to when Stripe's events are heard."""
    return f"{example.operation}, in the end"


async def in_peace(world: World) -> None:
    """What was left for later is done, and what Stripe says to that is heard."""
    for _ in range(2):
        world.ahead += LEASE
        await world.heard()


async def test_fifty_equal_requests_at_once_are_one_act_on_every_operation(
    world: World, once: dict[str, Effect]
) -> None:
    async def act(example: Example, world: World) -> Any:
        watch = Watch(world)
        await watch.look()
        hands = [world.client, twin] * (AT_ONCE // 2)
        answers = await asyncio.gather(*[send(example, world, hand) for hand in hands])
        assert {code(one) for one in answers} <= {None, "in_flight"}, answers[0].text
        done = [one for one in answers if one.is_success]
        assert await watch.effect() == once[example.operation], example.operation

        await watch.look()
        again = await send(example, world)
        assert again.headers[REPLAYED] == "true"
        assert {one.content for one in done} == {again.content}
        assert all(one.status_code == again.status_code for one in done)
        assert {one.headers.get("etag") for one in done} == {again.headers.get("etag")}
        changed = await send(example, world, body={**(example.body or {}), "other": 1})
        assert (changed.status_code, code(changed)) == (422, "idempotency_key_reused")
        headers = {HEADER: example.operation, "If-Match": '"7"'}
        other = await world.client.send(example.request(world, headers=headers))
        assert (other.status_code, code(other)) == (422, "idempotency_key_reused")
        assert await watch.nothing(), example.operation
        return again.json()

    async with calling(app.create(world.runtime)) as twin:  # as if in another process
        await acted(world, act)


async def test_what_moves_money_asks_for_a_key_and_a_key_is_free_until_something_begins(
    world: World, once: dict[str, Effect]
) -> None:
    async def act(example: Example, world: World) -> Any:
        watch = Watch(world)
        await watch.look()
        *_, said = world.operations()[example.operation]
        if said["x-moves-money"]:
            bare = await world.client.send(example.request(world))
            assert (bare.status_code, code(bare)) == (400, "idempotency_key_missing")
        bad = await world.client.send(example.request(world, headers={HEADER: "k" * 256}))
        assert (bad.status_code, code(bad)) == (400, "bad_idempotency_key")
        assert await watch.nothing(), example.operation
        if example.body is not None:
            wrong = await send(example, world, body={"wrong": 1})
            assert (wrong.status_code, code(wrong)) == (422, "invalid_request")
        right = await send(example, world)
        assert right.is_success, right.text
        assert await watch.effect() == once[example.operation], example.operation
        return right.json()

    await acted(world, act)


class Killed(BaseException):
    """The process is gone."""


class Trapdoor(Door):
    """A door behind which something happens once the work is done and before anybody is told."""

    trap: BaseException | None = None

    async def enter(self, rules: Rules, request: Request, handle: Handle) -> Response:
        async def trapped(request: Request) -> Response:
            return self._fall(await handle(request))

        async def trapped_first(request: Request, act: Act) -> Response | None:
            done = await rules.first(request, act) if rules.first else None
            return self._fall(done) if done else None

        first = trapped_first if rules.first else None
        return await super().enter(replace(rules, first=first), request, trapped)

    def _fall(self, response: Response) -> Response:
        trap, self.trap = self.trap, None
        if trap is not None:
            raise trap
        return response


@pytest.fixture
def door(world: World) -> Trapdoor:
    """The door of this world, which can be made to fail."""
    world.app.state.door = Trapdoor(world.runtime)
    return world.app.state.door


async def test_who_dies_between_effect_and_answer_is_finished_once_when_the_lease_is_over(
    world: World, door: Trapdoor, once: dict[str, Effect]
) -> None:
    async def act(example: Example, world: World) -> Any:
        watch = Watch(world)
        await watch.look()
        door.trap = Killed()
        with pytest.raises(Killed):
            await send(example, world)
        if example.operation not in AT_FIRST:  # what is one statement is not half done
            early = await send(example, world)
            assert (early.status_code, code(early)) == (409, "in_flight")
            world.ahead += LEASE + timedelta(seconds=1)
        late = await send(example, world)
        assert (code(late), REPLAYED in late.headers) == (None, False), example.operation
        again = await send(example, world)
        assert (again.content, again.headers[REPLAYED]) == (late.content, "true")
        assert await watch.effect() == once[example.operation], example.operation
        return late.json()

    await acted(world, act)


async def test_a_failure_after_the_effect_leaves_a_point_from_which_the_same_key_goes_on(
    world: World, door: Trapdoor, once: dict[str, Effect]
) -> None:
    async def act(example: Example, world: World) -> Any:
        watch = Watch(world)
        await watch.look()
        door.trap = RuntimeError("a disk is full")
        failed = await send(example, world)
        assert (failed.status_code, code(failed)) == (500, "internal")
        again = await send(example, world)
        assert (code(again), REPLAYED in again.headers) == (None, False), example.operation
        assert await watch.effect() == once[example.operation], example.operation
        return again.json()

    await acted(world, act)


STRUCK = ("timeout_with_effect", "timeout_without_effect", "503")


@pytest.mark.parametrize("fault", STRUCK if PROVE else STRUCK[:1])
async def test_whatever_stripe_does_the_same_key_goes_on_and_stripe_does_it_once(
    world: World, once: dict[str, Effect], fault: str
) -> None:
    stood = []

    async def act(example: Example, world: World) -> Any:
        watch = Watch(world)
        await watch.look()
        if not once[example.operation].moved:
            answer = await send(example, world)
            await in_peace(world)
            return answer.json()
        world.box.faults.call(fault, times=100)
        first = await send(example, world)
        world.box.faults.clear()
        if not first.is_success:
            stood.append(example.operation)
            assert (first.status_code, first.json()["retryable"]) == (503, True), first.text
        again = await send(example, world)
        assert again.is_success, again.text
        await in_peace(world)
        assert await watch.effect() == once[in_the_end(example)], example.operation
        return again.json()

    await acted(world, act)
    assert {"tips.send", "tabs.open", "refunds.refund"} <= set(stood)


AGAIN = 5


@pytest.mark.parametrize("law", [True, False], ids=["with the law", "without the law"])
async def test_control_without_the_unique_index_a_key_has_many_effects(
    world: World, fresh: Fresh, monkeypatch: pytest.MonkeyPatch, *, law: bool
) -> None:
    careless = re.sub(r"ON CONFLICT.*?(?=RETURNING)", "", acts.START, flags=re.DOTALL)
    monkeypatch.setattr(acts, "START", careless)
    if not law:
        async with Database(fresh.owner, connections=1) as owner:
            await owner.fetch("ALTER TABLE acts DROP CONSTRAINT acts_actor_key_key")
    await stories.room(world.runtime.database, world.runtime.now())
    tip = next(example for example in STORY if example.operation == "tips.send")
    codes = [code(await send(tip, world)) for _ in range(AGAIN)]
    effects = len(world.box.state.table("payment_intent").rows)
    if law:
        assert (codes, effects) == ([None] + ["law_broken"] * (AGAIN - 1), 1)
    else:
        assert (codes, effects > 1) == ([None] * AGAIN, True)
