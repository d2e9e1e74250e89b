"""A room's live feed: a tip is pending until it is settled, and everybody who watches hears of it.

The control: a watcher of another room hears nothing.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.money import Money
from tests import books, stories
from tests.conftest import Fresh
from tipping import tips
from tipping.tips import Wish

Told = tuple[str, dict[str, Any]]


@asynccontextmanager
async def watching(
    client: httpx.AsyncClient, what: str, feed: str = "/v1/spaces/{}/tips/feed"
) -> AsyncIterator["asyncio.Queue[Any]"]:
    """What a watcher is told, as it comes; None where the feed has come to its end."""
    heard: asyncio.Queue[Told | None] = asyncio.Queue()
    open_ = asyncio.Event()

    async def listen() -> None:
        async with client.stream("GET", feed.format(what)) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            open_.set()
            name = ""
            async for line in stream.aiter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    heard.put_nowait((name, json.loads(value)))
        heard.put_nowait(None)

    task = asyncio.create_task(listen())
    try:
        async with asyncio.timeout(10):
            await open_.wait()
        yield heard
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def next_of(heard: "asyncio.Queue[Any]") -> Any:
    async with asyncio.timeout(10):
        return await heard.get()


async def test_a_tip_is_pending_until_settled_for_everyone_in_the_room(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    await stories.room(runtime.database, runtime.now())
    await stories.room(runtime.database, runtime.now(), space="spc_two")
    async with (
        watching(client, "spc_one") as one,
        watching(client, "spc_one") as another,
        watching(client, "spc_two") as elsewhere,
    ):
        sent = await stories.tip(runtime, 500, name="tip_a")
        for watcher in (one, another):
            name, tip = await next_of(watcher)
            assert (name, tip["id"], tip["state"]) == ("tip.pending", "tip_a", "pending")
            assert (tip["amount"], tip["listener"]) == (500, "lis_zoe")
        box.pay(sent.payment.intent_id)
        await stories.hear(runtime, box)
        for watcher in (one, another):
            name, tip = await next_of(watcher)
            assert (name, tip["state"]) == ("tip.settled", "settled")
        assert elsewhere.empty()


async def test_an_anonymous_tip_has_no_name_and_an_undone_one_is_cancelled(
    runtime: Runtime, client: httpx.AsyncClient
) -> None:
    await stories.room(runtime.database, runtime.now())
    wish = Wish(
        id="tip_shy",
        space="spc_one",
        listener="lis_zoe",
        money=Money(500, "eur"),
        surface="intent",
        anonymous=True,
        undoable=True,
    )
    async with watching(client, "spc_one") as heard:
        await tips.send(runtime.database, runtime.stripe, wish, now=runtime.now())
        _, tip = await next_of(heard)
        assert tip["listener"] is None
        assert "client_secret" not in tip
        await tips.undo(runtime.database, runtime.stripe, "tip_shy", now=runtime.now())
        assert (await next_of(heard))[0] == "tip.cancelled"


async def test_whoever_comes_late_is_told_the_newest_first(
    runtime: Runtime, client: httpx.AsyncClient
) -> None:
    await stories.room(runtime.database, runtime.now())
    for number in range(60):
        await stories.tip(runtime, 500, name=f"tip_{number:02d}")
    async with watching(client, "spc_one") as heard:
        told = [(await next_of(heard))[1]["id"] for _ in range(50)]
        assert told == [f"tip_{number:02d}" for number in range(10, 60)]


async def test_an_unknown_room_has_no_feed(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/spaces/spc_none/tips/feed")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_watcher_is_let_go_when_something_may_have_been_missed(
    runtime: Runtime, fresh: Fresh, client: httpx.AsyncClient
) -> None:
    await stories.room(runtime.database, runtime.now())
    async with watching(client, "spc_one"):
        pass
    stream = client.stream("GET", "/v1/spaces/spc_one/tips/feed")
    async with stream as open_, books.connected(fresh.admin) as admin:
        await admin.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND query LIKE 'LISTEN%'"""
        )
        async with asyncio.timeout(10):
            assert [line async for line in open_.aiter_lines() if line] == []
