import tests.acceptance.test_api_examples as t
from tests.acceptance.test_api_examples import *
import json
async def test_mine(world, service):
    found = await executed(world, service)
    for k in found:
        if k.startswith("disputes") or k in ("hosts.balance","payments.one"):
            print(json.dumps({k: found[k]}, indent=1, ensure_ascii=False))
