"""Who may do what: every operation against every kind of key, wrong or right.

The controls: with the ear shut and the clock stopped, a revoked key still opens; with a scope that
is listed, the same request is let in.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import APIRouter

from api import app, document, keys, operations, serving, versions
from api.acts import HEADER
from api.keys import SCOPES
from api.runtime import Runtime
from tests.acceptance.examples import STORY, Example, streams, told
from tests.acceptance.world import World, calling

HOUR = timedelta(hours=1)
OPEN = {"/v1/openapi.json", "/healthz", "/readyz"}


async def key(world: World, *scopes: str, **named: Any) -> str:
    """The secret of a new key."""
    runtime = world.runtime
    given = {"scopes": scopes or ("admin",), **named}
    return (await keys.issue(runtime.database, "one", **given, now=runtime.now()))[1]


async def ask(
    example: Example, world: World, secret: str | None, **headers: str
) -> tuple[int, str | None]:
    """What a key is answered: the status, and what is wrong if anything is."""
    given = {HEADER: f"again {secret}", **headers}
    given |= {"Authorization": f"Bearer {secret}"} if secret else {"Authorization": ""}
    answer = await world.client.send(example.request(world, headers=given))
    return answer.status_code, None if answer.is_success else answer.json()["code"]


async def wrong_keys(world: World) -> Mapping[str, tuple[str | None, str]]:
    """Keys that open nothing at all, and what is said of them."""
    runtime = world.runtime
    revoked, rotated = await key(world), await key(world)
    by_hash = {bytes(row.hash): row.id for row in await runtime.database.run(keys.all)}
    gone, old = by_hash[keys.digest(revoked)], by_hash[keys.digest(rotated)]
    await keys.revoke(runtime.database, gone, now=runtime.now())
    await keys.rotate(runtime.database, old, grace=HOUR, now=runtime.now() - 2 * HOUR)
    return {
        "missing": (None, "missing_key"),
        "wrong": (f"tk_test_{'0' * 48}", "unknown_key"),
        "revoked": (revoked, "unknown_key"),
        "expired": (rotated, "unknown_key"),
        "of the other mode": (await key(world, live=True), "wrong_mode"),
        "of the other mode, with its prefix changed": (
            (await key(world, live=True)).replace("tk_live_", "tk_test_"),
            "unknown_key",
        ),
    }


async def test_a_wrong_key_opens_no_operation_and_nothing_is_written(world: World) -> None:
    await told(world)
    wrong = await wrong_keys(world)
    before, moved = await world.rows(), world.moved()
    for example in STORY:
        for kind, (secret, code) in wrong.items():
            answered = await ask(example, world, secret)
            assert answered == (401, code), f"{example.operation}, a key that is {kind}"
    assert (await world.rows(), world.moved()) == (before, moved)


async def test_each_scope_opens_the_operations_that_list_it_and_no_others(world: World) -> None:
    await told(world)
    secrets = {scope: await key(world, scope) for scope in SCOPES}
    before, moved = await world.rows(), world.moved()
    listed = {}
    for example in STORY:
        *_, said = world.operations()[example.operation]
        listed[example.operation] = {*said["x-scopes"], "admin"}
        for scope in set(SCOPES) - listed[example.operation]:
            answered = await ask(example, world, secrets[scope])
            assert answered == (403, "scope_missing"), f"{example.operation} with {scope}"
    assert (await world.rows(), world.moved()) == (before, moved)
    for example in (one for one in STORY if not streams(world, one.operation)):
        for scope in sorted(listed[example.operation]):
            status, code = await ask(example, world, secrets[scope])
            assert status not in {401, 500}, (example, scope)
            assert code != "scope_missing", (example, scope)


async def test_every_operation_says_its_version_and_knows_no_other(world: World) -> None:
    await told(world)
    secret = await key(world)
    before, moved = await world.rows(), world.moved()
    for example in STORY:
        answered = await ask(example, world, secret, **{versions.HEADER: "2020-01-01"})
        assert answered == (400, "unknown_version"), example.operation
    assert (await world.rows(), world.moved()) == (before, moved)
    for example in (one for one in STORY if not streams(world, one.operation)):
        headers = {HEADER: "version", versions.HEADER: versions.VERSIONS[0]}
        answer = await world.client.send(example.request(world, headers=headers))
        assert answer.headers[versions.HEADER] == versions.VERSIONS[0], example.operation
        assert answer.headers["request-id"]


async def let_in(client: httpx.AsyncClient) -> bool:
    """Whether the door opens."""
    answer = await client.get("/v1/hosts")
    assert answer.status_code in {200, 401}
    return answer.is_success


async def test_a_revoked_key_is_shut_out_at_once_where_the_service_hears_of_it(
    world: World,
) -> None:
    stopped = world.runtime.now()  # so what is remembered never grows old
    runtime = replace(world.runtime, clock=lambda: stopped)
    secret = await key(world)
    [*_, row] = sorted(await runtime.database.run(keys.all), key=lambda row: row.id)
    headers = {"Authorization": f"Bearer {secret}"}
    deaf = calling(app.create(runtime), headers)
    async with (
        serving.listening(runtime, "127.0.0.1", 0) as url,
        httpx.AsyncClient(base_url=url, headers=headers) as client,
        deaf,
    ):
        assert await let_in(client)
        assert await let_in(deaf)
        await keys.revoke(runtime.database, row.id, now=runtime.now())
        start = time.monotonic()
        while await let_in(client):
            assert time.monotonic() - start < 1
        assert await let_in(deaf)  # the control


async def test_a_service_that_hears_nothing_forgets_a_revoked_key_within_a_second(
    world: World,
) -> None:
    offset = timedelta()
    start = world.runtime.now()
    runtime = replace(world.runtime, clock=lambda: start + offset)
    _, secret = await keys.issue(runtime.database, "one", now=start)
    [*_, row] = sorted(await runtime.database.run(keys.all), key=lambda row: row.id)
    async with calling(app.create(runtime), {"Authorization": f"Bearer {secret}"}) as deaf:
        assert await let_in(deaf)
        await keys.revoke(runtime.database, row.id, now=start)
        offset = timedelta(seconds=0.999)
        assert await let_in(deaf)
        offset = timedelta(seconds=1)
        assert not await let_in(deaf)


async def test_a_key_opens_nothing_from_the_very_instant_that_its_time_is_over(
    world: World,
) -> None:
    database, now = world.runtime.database, world.runtime.now()
    old, secret = await keys.issue(database, "one", now=now)
    await keys.rotate(database, old.id, grace=HOUR, now=now)
    keyring = keys.Keyring(database)
    assert await keyring.find(secret, now + HOUR - timedelta(microseconds=1))
    assert await keyring.find(secret, now + HOUR) is None


async def test_a_clock_that_is_set_back_remembers_no_key_for_longer(world: World) -> None:
    database, now = world.runtime.database, world.runtime.now()
    row, secret = await keys.issue(database, "one", now=now)
    deaf = keys.Keyring(database)
    assert await deaf.find(secret, now + HOUR)
    for at in (now, now + HOUR):
        assert (await keys.revoke(database, row.id, now=at)).revoked_at == now
    assert await deaf.find(secret, now) is None


async def test_while_a_key_is_rotated_both_open_and_then_only_the_new_one(world: World) -> None:
    runtime, database = world.runtime, world.runtime.database
    old, first = await keys.issue(database, "one", scopes=["spaces"], now=runtime.now())
    new, second = await keys.rotate(database, old.id, grace=HOUR, now=runtime.now())
    assert (new.name, new.scopes, new.live) == (old.name, old.scopes, old.live)
    hands = [
        calling(world.app, {"Authorization": f"Bearer {secret}"}) for secret in (first, second)
    ]
    async with hands[0], hands[1]:
        assert [await let_in(hand) for hand in hands] == [True, True]
        world.ahead = HOUR - timedelta(seconds=1)
        assert [await let_in(hand) for hand in hands] == [True, True]
        world.ahead = HOUR
        assert [await let_in(hand) for hand in hands] == [False, True]
        again, _ = await keys.rotate(database, old.id, grace=HOUR, now=runtime.now())
        assert again.id != new.id
        world.ahead += 2 * keys.REMEMBERED  # what is remembered would say the same either way
        assert [await let_in(hand) for hand in hands] == [False, True]  # its time stays over


async def test_an_operation_that_names_no_scope_does_not_start() -> None:
    router = APIRouter(route_class=operations.Operation, tags=["doors"])
    with pytest.raises(AssertionError, match=r"nobody may call doors\.ajar"):

        @router.get("/doors", **operations.operation())
        async def ajar() -> None:
            """Open to nobody."""


async def test_nothing_of_the_service_is_beside_the_door_but_what_says_so(world: World) -> None:
    beside = {
        path for path, _, said in document.every(world.app.openapi()) if "x-scopes" not in said
    }
    assert beside <= OPEN
    async with calling(world.app) as stranger:
        for path in sorted(OPEN):
            assert (await stranger.get(path)).is_success


@pytest.fixture(autouse=True)
def _unlimited(runtime: Runtime) -> None:
    """Nobody is refused here for asking often."""
    assert runtime.settings.rate_limit == 10_000
