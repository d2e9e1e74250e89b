import asyncio, time, json, logging
from dataclasses import replace
from datetime import timedelta
import httpx, pytest
from api import app, keys, acts, serving
from api.acts import Acts, Act, Answer, Started
from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.database import Database
from takings.errors import TakingsError
from takings.money import Money
from tests import stories, authorised
from tests.conftest import Fresh
from tipping import tabs, tips
from tipping.tabs import TabTip, TabWish
from tests.acceptance.world import World


async def test_nul(world: World):
    async def one(path):
        r = await world.client.post(
            path,
            json={"id": "host_x", "name": "X"},
            headers={"Idempotency-Key": path[-20:] + str(time.time())},
        )
        return r.status_code, (r.json().get("code"))

    print("nul", await asyncio.gather(*[one(p) for p in ["/v1/tips/%00/undo"] + ["/v1/hosts"] * 5]))


async def test_stale_finish(database: Database, runtime: Runtime):
    a = Acts(database)
    now = runtime.now()
    act = Act("req_1", "key_1", "K", "op", "/x", b"f" * 32, now)
    await a.start(act)
    later = replace(act, id="req_2", begun_at=now + timedelta(seconds=61))
    s = await a.start(later)
    print("second", s)
    await a.finish(later, Answer(200, "application/json", b"{}"), later.begun_at)
    await a.finish(act, Answer(503), later.begun_at)
    third = replace(act, id="req_3", begun_at=now + timedelta(seconds=70))
    print("third", await a.start(third))


async def test_rotation(world: World, room=None):
    r = world.runtime
    await stories.room(r.database, r.now())
    body = {
        "space": "spc_one",
        "listener": "lis_zoe",
        "amount": 500,
        "currency": "eur",
        "surface": "intent",
    }
    one = await world.client.post("/v1/tips", json=body, headers={"Idempotency-Key": "K"})
    kid = (await world.client.get("/v1/keys")).json()["data"][0]["id"]
    _, secret = await keys.rotate(r.database, kid, now=r.now())
    two = await world.client.post(
        "/v1/tips", json=body, headers={"Idempotency-Key": "K", "Authorization": f"Bearer {secret}"}
    )
    print(
        "rotated",
        one.json()["id"] == two.json()["id"],
        len([m for m in world.moved() if m == "payment_intent.created"]),
    )
    t = one.json()["id"]
    e = await world.client.get(f"/v1/tips/{t}?expand[]=payment&expand[]=payment")
    print("expand twice", e.status_code, e.text[:200])
    body = {f"a{n}": 1 for n in range(70000)}
    s = time.time()
    h = await world.client.post("/v1/tips", json=body, headers={"Idempotency-Key": "K2"})
    print("faults", h.status_code, len(h.content), time.time() - s)
    for p in ("/docs", "/v1/openapi.json", "/problems", "/problems/internal"):
        await world.client.get(p, headers={"Authorization": ""})
        s = time.time()
        d = await world.client.get(p, headers={"Authorization": ""})
        print(p, d.status_code, len(d.content), time.time() - s)


async def test_ear(fresh: Fresh):
    heard = []
    async with Database(fresh.app.replace("postgresql://", "postgresql+asyncpg://")) as db:
        await db.fetch("SELECT 1")
        async with db.listening({"x": heard.append}):
            await db.fetch("SELECT pg_notify('x', 'hi')")
            await asyncio.sleep(0.5)
    print("ear", heard)


async def test_tab_currency(runtime: Runtime, box: Sandbox):
    await stories.room(runtime.database, runtime.now())
    await authorised.opened(runtime, box)
    for tip in (TabTip("tip_u", "tab_1", Money(500, "usd")),):
        try:
            print(await tabs.tip(runtime.database, tip, now=runtime.now()))
        except TakingsError as e:
            print("usd on eur tab:", e.code, e)


async def test_ifmatch(world: World):
    r = world.runtime
    await stories.room(r.database, r.now())
    shares = {
        "shares": [{"host": "host_ada", "weight": 5000}, {"host": "host_bob", "weight": 5000}]
    }
    one = await world.client.put(
        "/v1/spaces/spc_one/shares",
        json=shares,
        headers={"If-Match": '"7"', "Idempotency-Key": "S"},
    )
    two = await world.client.put(
        "/v1/spaces/spc_one/shares",
        json=shares,
        headers={"If-Match": '"1"', "Idempotency-Key": "S"},
    )
    print("ifmatch", one.status_code, two.status_code, two.headers)
    three = await world.client.put(
        "/v1/spaces/spc_one/shares",
        json=shares,
        headers={"If-Match": '"1"', "Idempotency-Key": "S3"},
    )
    four = await world.client.put(
        "/v1/spaces/spc_one/shares",
        json=shares,
        headers={"If-Match": '"1"', "Idempotency-Key": "S3"},
    )
    print("etag", three.headers.get("etag"), four.headers.get("etag"))


async def test_disconnect(service: str, key: str, capfd):
    host, port = service.removeprefix("http://").split(":")
    r, w = await asyncio.open_connection(host, int(port))
    w.write(
        f"POST /v1/hosts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode()
    )
    await w.drain()
    await asyncio.sleep(0.3)
    w.close()
    await asyncio.sleep(0.5)
    async with httpx.AsyncClient(base_url=service, headers={"Authorization": f"Bearer {key}"}) as c:
        m = (await c.get("/metrics")).text
        print([l for l in m.splitlines() if "hosts.register" in l and "_total" in l])


async def test_stream(runtime: Runtime):
    await stories.room(runtime.database, runtime.now())
    k, secret = await keys.issue(runtime.database, "t", now=runtime.now())
    async with serving.listening(runtime, "127.0.0.1", 0) as url:
        c = httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {secret}"}, timeout=30
        )
        async with c.stream("GET", "/v1/spaces/spc_one/tips/feed") as s:
            lines = s.aiter_lines()
            await keys.revoke(runtime.database, k.id, now=runtime.now())
            await asyncio.sleep(1.2)
            await stories.tip(runtime, 500, name="tip_after")
            try:
                async with asyncio.timeout(5):
                    async for l in lines:
                        if l:
                            print("after revocation:", l[:60])
                            break
            except TimeoutError:
                print("nothing told")
        k, secret = await keys.issue(runtime.database, "t2", now=runtime.now())
        c.headers["Authorization"] = f"Bearer {secret}"
        stream = c.stream("GET", "/v1/spaces/spc_one/tips/feed")
        await stream.__aenter__()
        start = time.time()
    print("shutdown took", time.time() - start)
    await c.aclose()
