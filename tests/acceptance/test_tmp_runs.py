from datetime import UTC, datetime
from tests import stories
from ticketing import runs
async def test_it(database):
    now=datetime.now(UTC)
    await stories.room(database, now)
    w=runs.RunWish("run_one","spc_one",10,[runs.TierWish("A",minor=500),runs.TierWish("B","choice",minor=700,size=3)],"eur")
    a=await runs.open(database,w,now=now)
    b=await runs.open(database,w,now=now)
    assert a.wish()==b.wish()
    print(b)
    c=await runs.edit(database,"run_one",{"size":12},now=now)
    print(c)
