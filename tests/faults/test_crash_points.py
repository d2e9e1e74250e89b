"""A crash at any boundary heals: whatever died where, in the end it is as if nobody had."""

from collections import Counter
from collections.abc import Collection
import time, traceback
import os

import pytest

import sandbox
from pydantic import SecretStr
from api.settings import Settings
from takings.embedded import Server
from tests.contract import gate
from tests.faults.crash_flows import FLOWS
from tests.faults.crash_points import Fate, Play, Way


async def perform(server, template, flow, fate, without=()):
    name = f"crash_{os.getpid()}"
    await server.drop(name)
    await server.create(name, template=template)
    try:
        async with sandbox.running() as box:
            settings = Settings(
                _env_file=None,
                database_url=server.url(name, "app"),
                stripe_api_key=SecretStr("sk_test_takings"),
                stripe_api_base=box.url,
            )
            play = Play(settings, box, fate, without, short=True)
            await play.begin()
            try:
                await FLOWS[flow](play)
                fate.on = False
                await play.quiet()
                await play.check("in the end")
                seen = await play.seen()
            finally:
                await play.end()
            gate.check(box)
    finally:
        await server.drop(name)
    return play.wrong, seen


@pytest.mark.parametrize("flow", FLOWS)
async def test_x(server, template, flow):
    fate = Fate()
    t = time.time()
    wrong, seen = await perform(server, template, flow, fate)
    print(flow, len(fate.met), time.time() - t)
    print(wrong)
    if os.environ.get("V"):
        for x in fate.met: print("   ", x)
        for k in sorted(seen): print("   ", seen[k], k)
    assert not wrong
