"""A clock that was ahead keeps nobody out of the limits for as long."""

from datetime import timedelta

from api.limits import NEVER, Limits
from api.runtime import Runtime


async def test_a_process_whose_clock_is_an_hour_ahead_does_not_shut_the_others_out(
    runtime: Runtime,
) -> None:
    now, most = runtime.now(), 1_000
    ahead, right = Limits(runtime.database, most), Limits(runtime.database, most)
    (await ahead.take("key_one", now + timedelta(hours=1))).check()
    (await right.take("key_one", now)).check()


async def test_a_clock_that_is_set_back_an_hour_shuts_nobody_out(runtime: Runtime) -> None:
    now, most = runtime.now(), 20
    limits = Limits(runtime.database, most)
    for _ in range(most):
        (await limits.take("key_one", now + timedelta(hours=1))).check()
    assert (await limits.take("key_one", now + timedelta(hours=1))).wait_s
    (await limits.take("key_one", now)).check()


async def test_control_the_limit_holds_between_clocks_that_differ_by_less(runtime: Runtime) -> None:
    now, most = runtime.now(), 20
    ahead, right = Limits(runtime.database, most), Limits(runtime.database, most)
    for _ in range(most):
        (await ahead.take("key_one", now + NEVER / 2)).check()
    assert (await right.take("key_one", now)).wait_s
