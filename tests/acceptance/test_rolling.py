"""The rolling reserve: a part of every release is kept for its days, and pays what comes back."""

from dataclasses import replace

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.policies import policies
from takings.policies.presets import PRESETS
from takings.policies.rules import RollingReserve
from tests import stories

ADA, BOB = "liabilities:host:host_ada", "liabilities:host:host_bob"
RULES = replace(
    PRESETS[stories.CLUBHOUSE],
    name="rolling",
    rolling_reserve=RollingReserve(rate_bps=1_000, days=90),
)


async def released(runtime: Runtime, box: Sandbox) -> tuple[str, str]:
    """A tip of 5.05 for Ada and Bob, released; its payment and its intent."""
    await policies.publish(runtime.database, RULES, now=runtime.now())
    await stories.room(runtime.database, runtime.now(), policy="rolling")
    sent = await stories.paid_tip(runtime, box, 505)
    await stories.end(runtime, box)
    return sent.payment.id, sent.payment.intent_id or ""


async def test_a_part_of_what_is_released_is_kept_and_comes_back_by_date(
    runtime: Runtime, box: Sandbox
) -> None:
    payment, _ = await released(runtime, box)
    assert (
        f"""\
payment:{payment}:released
  {ADA}:held +303 eur
  {ADA}:available -273 eur
  {ADA}:rolling -30 eur
  {BOB}:held +202 eur
  {BOB}:available -182 eur
  {BOB}:rolling -20 eur"""
        in await stories.told(runtime.database)
    )
    await stories.hear(runtime, box, now=stories.later(days=31 + 89))
    assert ":rolled" not in await stories.told(runtime.database)
    await stories.hear(runtime, box, now=stories.later(days=31 + 91))
    assert (
        f"""\
payment:{payment}:rolled
  {ADA}:rolling +30 eur
  {ADA}:available -30 eur
  {BOB}:rolling +20 eur
  {BOB}:available -20 eur"""
        in await stories.told(runtime.database)
    )
    assert await stories.guilty(runtime.database) == {}


async def test_what_the_bank_takes_comes_out_of_the_reserve_first(
    runtime: Runtime, box: Sandbox
) -> None:
    _, intent = await released(runtime, box)
    found = box.dispute(payment_intent=intent, amount=100)
    await stories.hear(runtime, box, now=stories.later(days=40))
    told = await stories.told(runtime.database)
    assert (
        f"""\
dispute:{found["id"]}:opened
  {ADA}:reserved -60 eur
  {ADA}:rolling +30 eur
  {ADA}:available +30 eur
  {BOB}:reserved -40 eur
  {BOB}:rolling +20 eur
  {BOB}:available +20 eur
dispute:{found["id"]}:withdrawn
  {ADA}:reserved +60 eur
  {BOB}:reserved +40 eur
  clearing:disputes -100 eur"""
        in told
    )
    await stories.hear(runtime, box, now=stories.later(days=31 + 91))
    assert ":rolled" not in await stories.told(runtime.database)  # nothing was left of it
    assert await stories.guilty(runtime.database, short=True) == {}
