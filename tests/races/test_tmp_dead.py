import asyncio, time
from takings.database import Database, fetch
from tests import box_office
from tests.races.test_scarcity import NOON, buyers, rush
from ticketing import pools, purchases
from tests.conftest import Fresh

async def test_x(database: Database, fresh: Fresh) -> None:
    names = ["run_a", "run_b"]
    for run in names:
        await box_office.run(database, NOON, name=run, tiers=box_office.seat(run), size=1000)
    await pools.cap_space(database, "spc_one", 2000, now=NOON)
    async def settle(n):
        a,b=f"sa{n}",f"sb{n}"
        await box_office.claim(database,a,now=NOON,run="run_a"); await box_office.claim(database,b,now=NOON,run="run_b")
        async def step(session):
            await fetch(session, box_office.BUY, [f"hold_{a}",f"hold_{b}"], NOON)
            await purchases.sell(session,"run_a",[f"pur_{a}"],NOON) if hasattr(purchases,"sell") else await fetch(session,"SELECT sell_tickets('run_a',$1,$2)",[f"pur_{a}"],NOON)
            await asyncio.sleep(0.005)
            await fetch(session,"SELECT sell_tickets('run_b',$1,$2)",[f"pur_{b}"],NOON)
        await database.run(step)
    t=time.time()
    await asyncio.gather(*(settle(n) for n in range(10)), rush(database, buyers(100), run="run_b"))
    async with Database(fresh.admin) as o:
        for _ in range(3):
            await asyncio.sleep(1)
            print("DEAD", time.time()-t, (await o.fetch("select deadlocks from pg_stat_database where datname=current_database()"))[0].deadlocks)
