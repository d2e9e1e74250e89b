"""What one caller sends harms no other, and nothing is done twice.

Each of these once went wrong.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from api import acts, keys
from api.acts import HEADER, Act, Acts, Answer, Started
from api.operations import REPLAYED
from api.runtime import Runtime
from takings.database import Database
from takings.payments.asks import LEASE
from tests import stories
from tests.acceptance.world import World

TIP = {
    "space": "spc_one",
    "listener": "lis_zoe",
    "amount": 500,
    "currency": "eur",
    "surface": "intent",
}


def named(key: str) -> dict[str, str]:
    return {HEADER: key}


async def test_an_address_that_no_database_stores_fails_nobody_elses_request(world: World) -> None:
    """Acts are written many at a time: one row that PostgreSQL refuses once failed all of them."""
    host = {"id": "host_ada", "name": "Ada"}
    bad = world.client.post("/v1/tips/%00/undo", headers=named("bad"))
    good = [world.client.post("/v1/hosts", json=host, headers=named(f"k{n}")) for n in range(5)]
    refused, *answers = await asyncio.gather(bad, *good)
    assert refused.status_code == 422
    assert {answer.status_code for answer in answers} == {200}


def an_act(runtime: Runtime, **changed: object) -> Act:
    act = Act("req_1", "key_1", "K", "tips.send", "/v1/tips", b"same", runtime.now())
    return replace(act, **changed)  # type: ignore[arg-type]


async def begun(made: Acts, act: Act) -> Started:
    started = await made.start(act)
    assert isinstance(started, Started)
    return started


@pytest.mark.parametrize("late", [Answer(503), Answer(422, open=True), Answer(200, "x", b"late")])
async def test_who_finishes_after_the_lease_does_not_undo_what_the_next_try_came_to(
    database: Database, runtime: Runtime, late: Answer
) -> None:
    made, act = Acts(database), an_act(runtime)
    first = await begun(made, act)
    again = replace(act, id="req_2", begun_at=act.begun_at + LEASE)
    second = await begun(made, again)
    assert second.id("tip") == first.id("tip"), "both make the same"
    done = Answer(200, "application/json", b"{}", '"1"')
    await made.finish(second, done, again.begun_at)
    await made.finish(first, late, again.begun_at)
    for n, later in enumerate((again.begun_at, again.begun_at + 2 * LEASE)):
        assert await made.start(replace(act, id=f"req_3{n}", begun_at=later)) == done


async def test_a_late_finish_gives_nobody_elses_lease_back(
    database: Database, runtime: Runtime
) -> None:
    made, act = Acts(database), an_act(runtime)
    first = await begun(made, act)
    again = replace(act, id="req_2", begun_at=act.begun_at + LEASE)
    await begun(made, again)
    await made.finish(first, Answer(422, open=True), again.begun_at)
    other = replace(again, id="req_3", fingerprint=b"other")
    with pytest.raises(acts.IdempotencyKeyReused):
        await made.start(other)


async def test_a_key_that_was_left_off_is_taken_over_by_the_same_request_alone(
    database: Database, runtime: Runtime
) -> None:
    made, act = Acts(database), an_act(runtime)
    await begun(made, act)
    late = replace(act, id="req_2", begun_at=act.begun_at + LEASE)
    with pytest.raises(acts.IdempotencyKeyReused):
        await made.start(replace(late, fingerprint=b"other"))
    assert (await begun(made, late)).attempt == 2


async def test_of_two_requests_that_come_together_under_one_key_the_other_is_told_so(
    database: Database, runtime: Runtime
) -> None:
    made, act = Acts(database), an_act(runtime)
    twins = [replace(act, id=f"req_{n}", fingerprint=said) for n, said in enumerate((b"a", b"b"))]
    one, other = await asyncio.gather(*map(made.start, twins), return_exceptions=True)
    assert isinstance(one, Started)
    assert isinstance(other, acts.IdempotencyKeyReused)


async def test_a_key_that_was_rotated_repeats_what_the_old_one_began(world: World) -> None:
    """A time-out, a rotation, the same request again: once that was a second tip and charge."""
    runtime = world.runtime
    await stories.room(runtime.database, runtime.now())
    first = await world.client.post("/v1/tips", json=TIP, headers=named("K"))
    [old] = (await world.client.get("/v1/keys")).json()["data"]
    _, secret = await keys.rotate(runtime.database, old["id"], now=runtime.now())
    world.client.headers["Authorization"] = f"Bearer {secret}"
    again = await world.client.post("/v1/tips", json=TIP, headers=named("K"))
    assert (again.content, again.headers[REPLAYED]) == (first.content, "true")
    assert world.moved().count("payment_intent.created") == 1
    new, _ = (await world.client.get("/v1/keys")).json()["data"]
    assert new["id"] != old["id"]
    assert new["actor"] == old["actor"] == old["id"]


async def test_control_a_key_of_another_actor_does_it_anew(world: World) -> None:
    runtime = world.runtime
    await stories.room(runtime.database, runtime.now())
    first = await world.client.post("/v1/tips", json=TIP, headers=named("K"))
    _, secret = await keys.issue(runtime.database, "another", now=runtime.now())
    world.client.headers["Authorization"] = f"Bearer {secret}"
    again = await world.client.post("/v1/tips", json=TIP, headers=named("K"))
    assert again.json()["id"] != first.json()["id"]


def test_a_request_is_another_one_by_each_of_its_parts_and_not_by_how_json_is_spelled() -> None:
    one = ("tips.send", "/v1/tips", '"1"', b'{"a": 1, "b": 2}')
    assert acts.fingerprint(*one[:3], b'{"b":2,"a":1}') == acts.fingerprint(*one)
    other = ("tips.undo", "/v1/tips?a", '"2"', b'{"a": 1, "b": 3}')
    changed = [(*one[:n], other[n], *one[n + 1 :]) for n in range(4)]
    assert len({acts.fingerprint(*each) for each in (one, *changed)}) == 5  # type: ignore[arg-type]


async def test_a_replay_names_the_version_and_another_if_match_is_another_request(
    world: World,
) -> None:
    """Who was told 412, read again and sent the new ETag, was once told 412 for ever."""
    runtime, path = world.runtime, "/v1/spaces/spc_one/shares"
    await stories.room(runtime.database, runtime.now())
    even = [{"host": "host_ada", "weight": 5000}, {"host": "host_bob", "weight": 5000}]

    async def put(key: str, seen: str) -> httpx.Response:
        headers = named(key) | {"If-Match": seen}
        return await world.client.put(path, json={"shares": even}, headers=headers)

    assert (await put("one", '"7"')).status_code == 412
    reused = await put("one", '"1"')
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")
    done = await put("two", '"1"')
    again = await put("two", '"1"')
    assert again.headers[REPLAYED] == "true"
    assert again.headers["etag"] == done.headers["etag"] == '"2"'


async def test_who_hangs_up_while_sending_is_no_failure_of_ours(
    service: str, client: httpx.AsyncClient
) -> None:
    host, port = service.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = [
        *("POST /v1/hosts HTTP/1.1", "Host: takings", "Content-Length: 100"),
        f"Authorization: {client.headers['Authorization']}",
    ]
    writer.write("\r\n".join((*head, "", "{")).encode())
    await writer.drain()
    await asyncio.sleep(0.2)
    before = await failures(client)
    writer.close()
    await asyncio.sleep(0.2)
    assert await failures(client) == before


async def failures(client: httpx.AsyncClient) -> list[str]:
    text = (await client.get("/metrics")).text
    return [line for line in text.splitlines() if 'hosts.register",status="5' in line]


async def test_a_body_with_more_faults_than_anybody_reads_is_told_the_first_of_them(
    world: World,
) -> None:
    body = TIP | {f"x{n}": n for n in range(15_000)}
    answer = await world.client.post("/v1/tips", json=body, headers=named("K"))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert len(answer.json()["errors"]) == 20
    assert len(answer.content) < 5_000


async def test_old_answers_are_forgotten_a_batch_at_a_time_until_none_is_left(
    database: Database, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, now = Acts(database), runtime.now()
    for n in range(5):
        started = await begun(made, an_act(runtime, id=f"req_{n}", key=f"K{n}"))
        await made.finish(started, Answer(200, "application/json", b"{}"), now)
    monkeypatch.setattr(acts, "BATCH", 2)
    just = now + acts.KEPT
    assert await acts.forget_answers(database, now=just) == 0
    assert await acts.forget_answers(database, now=just + timedelta(seconds=1)) == 5
