import asyncio, time, json
from dataclasses import replace
from datetime import timedelta
import pytest
from api import worker, feed as feeds
from api.settlement import SETTLEMENT
from api.runtime import Runtime
from api.limits import Limits
from sandbox.control import Sandbox
from takings.commission import FeeSchedule
from takings.database import Database
from takings.errors import TakingsError
from takings.money import Money
from takings.policies import policies
from takings.policies.rules import Policy, Terms
from takings.payments import sweeps, captures
from takings.spaces import spaces
from tests import stories, authorised
from tests.conftest import Fresh
from tipping import tabs, tips
from tipping.tabs import TabTip, TabWish


async def a_tab(runtime, box, bearer, currency, cap, gifts, space="spc_p"):
    fee = FeeSchedule(290, 30) if True else None
    p = Policy(
        name=f"p-{bearer}-{currency}",
        version=1,
        source="t",
        fee_bearer=bearer,
        refund_fee_bearer="platform" if bearer != "host" else "host",
        terms={currency: Terms(fee=fee, minimum=1, maximum=10_000_000)},
    )
    await policies.publish(runtime.database, p, now=runtime.now())
    await stories.room(runtime.database, runtime.now(), policy=p.name, space=space)
    w = TabWish("tab_p", space, "lis_zoe", Money(cap, currency), "intent")
    t = await tabs.open(runtime.database, runtime.stripe, w, now=runtime.now())
    box.pay(t.payment.intent_id)
    await stories.hear(runtime, box)
    for n, g in enumerate(gifts):
        try:
            await tabs.tip(
                runtime.database,
                TabTip(f"tip_p{n}", "tab_p", Money(g, currency)),
                now=runtime.now(),
            )
        except TakingsError as e:
            print("  tip refused", g, e.code)
    try:
        t = await tabs.close(runtime.database, runtime.stripe, "tab_p", now=runtime.now())
        print("  ", t.state, t.payment.state, t.payment.minor)
    except Exception as e:
        print("  close raised", type(e), e)
    await stories.hear(runtime, box)
    print(
        "  asks",
        [
            (r.key, r.answered_at is not None)
            for r in await runtime.database.fetch(
                "SELECT key, answered_at FROM asks ORDER BY first_asked_at"
            )
        ],
    )
    print("  guilty", await stories.guilty(runtime.database))
    print(await stories.told(runtime.database))


@pytest.mark.parametrize("bearer", ["platform", "listener", "host"])
@pytest.mark.parametrize(
    ("currency", "cap", "gifts"),
    [
        ("isk", 100_000, (150, 1050)),
        ("jpy", 5000, (101, 57)),
        ("kwd", 5000, (101, 57)),
        ("eur", 5000, (3,)),
    ],
)
async def test_steps(runtime: Runtime, box: Sandbox, bearer, currency, cap, gifts):
    print("STEP", bearer, currency)
    try:
        await a_tab(runtime, box, bearer, currency, cap, gifts)
    except Exception as e:
        print("  raised", type(e), e)


async def test_poison(runtime: Runtime, box: Sandbox, monkeypatch):
    await stories.room(runtime.database, runtime.now())
    for n in range(3):
        await authorised.opened(runtime, box, name=f"tab_{n}")
        await authorised.give(runtime, f"tip_{n}", tab=f"tab_{n}")
    await spaces.move(runtime.database, "spc_one", "ended", now=runtime.now())
    was = tabs._close

    async def bad(session, tab, now):
        if tab == "tab_0":
            raise TakingsError()
        return await was(session, tab, now)

    monkeypatch.setattr(tabs, "_close", bad)
    try:
        await tabs.close_ended(runtime.database, runtime.stripe, now=runtime.now())
    except Exception as e:
        print("raised", repr(e))
    for n in range(3):
        print("poison", (await tabs.get(runtime.database, f"tab_{n}")).state)


async def test_feed_fail(runtime: Runtime, monkeypatch):
    await stories.room(runtime.database, runtime.now())
    f = feeds.Feed(runtime.database)
    async with runtime.database.listening({feeds.CHANNEL: f.ring}):
        with f.watching("spc_one") as q:
            was = feeds._tips

            async def bad(*_):
                raise OSError("x")

            monkeypatch.setattr(feeds, "_tips", bad)
            await stories.tip(runtime, 500, name="tip_lost")
            await asyncio.sleep(0.3)
            monkeypatch.setattr(feeds, "_tips", was)
            await stories.tip(runtime, 500, name="tip_next")
            await asyncio.sleep(0.3)
            print("feed heard", [q.get_nowait() and 1 for _ in range(q.qsize())])


async def test_clock_back(runtime: Runtime):
    now = runtime.now()
    ahead, right = Limits(runtime.database, 1000), Limits(runtime.database, 1000)
    await ahead.take("key_1", now + timedelta(hours=1))
    a = await right.take("key_1", now)
    print("clock", a)
    a = await ahead.take("key_1", now)
    print("clock same process", a)
    for _ in range(30):
        a = await ahead.take("key_1", now)
    print("clock same process", a)


async def test_up_down_up(runtime: Runtime, box: Sandbox, fresh: Fresh):
    from takings import books

    await stories.room(runtime.database, runtime.now())
    await authorised.opened(runtime, box)
    await authorised.give(runtime, "tip_1")
    await authorised.give(runtime, "tip_2")
    await authorised.close(runtime)
    await stories.hear(runtime, box)
    import migrations

    print(
        [n for n in dir(migrations) if not n.startswith("_")],
        [n for n in dir(books) if not n.startswith("_")],
    )
