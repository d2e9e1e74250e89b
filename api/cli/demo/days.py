"""Days pass: at Stripe, in the service and in its worker at once, in a moment of ours."""

import os
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from api.cli import output
from api.cli.demo import closing
from api.cli.demo.calls import WentWrong, post
from api.cli.demo.stage import Stage


@dataclass(frozen=True, slots=True)
class Calendar:
    """The days after an evening."""

    stage: Stage
    evening: date

    def date(self, day: int) -> date:
        """Which day of the calendar it is."""
        return self.evening + timedelta(day)

    async def jump(self, day: int) -> None:
        """It is noon of that day, and nobody has done anything yet."""
        runtime, stripe = self.stage.runtime, self.stage.stripe
        noon = datetime.combine(self.date(day), time(12), UTC)
        seconds = int((noon - runtime.now()).total_seconds())
        await post(stripe, "/_sandbox/clock", {"advance": seconds})  # first: nobody is ahead of it
        clock = self.stage.home / "clock"
        later = clock.with_suffix(".new")
        later.write_text(str(int(clock.read_text()) + seconds))
        os.replace(later, clock)  # noqa: PTH105 - at once: who reads meanwhile reads a number

    async def go(self, day: int, what: str) -> None:
        """It is noon of that day, and all that is due by then is done."""
        self.say(day, what)
        await self.jump(day)
        await pass_on(self.stage)

    def say(self, day: int, what: str) -> None:
        """A heading."""
        when = f"Day {day} · {self.date(day):%a %d %b}"
        output.console.print(f"\n[bold]{when}[/]  {what}", soft_wrap=True)


async def pass_on(stage: Stage) -> None:
    """Stripe's events are delivered, and whatever they make due is done; raises WentWrong."""
    told = await post(stage.stripe, "/_sandbox/deliver", {})
    if told["failed"]:
        raise WentWrong(what="Webhooks", status="no", body=f"{told['failed']} were not taken")
    await closing.drain(stage)
