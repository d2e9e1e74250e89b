"""A month passes: money becomes available and is paid out, and some of it comes back."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from api.cli import output
from api.cli.demo import benefit as stories
from api.cli.demo import days, evening, papers, payday, sale, views
from api.cli.demo.benefit import FAY, GUS, SEA, Benefit
from api.cli.demo.buyers import CURRENCY, Memory
from api.cli.demo.calls import get, post
from api.cli.demo.days import Calendar
from api.cli.demo.stage import Stage

NAMES: Final = evening.HOSTS | sale.HOSTS | stories.HOSTS
PARKED: Final = f"liabilities:parked:{SEA}"
BORNE: Final = 12_00
"""What the hosts bear of Stripe's 15.00 for a chargeback; the charity's fifth is nobody's yet."""

Payouts = list[dict[str, Any]]


@dataclass(slots=True)
class Month:
    """What has happened in it, as far as somebody has to know later."""

    stage: Stage
    calendar: Calendar
    benefit: Benefit
    accounts: dict[str, str] = field(default_factory=dict)  # at Stripe, by host
    payouts: Payouts = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


async def play(stage: Stage, memory: Memory) -> Month:
    """From the evening of a benefit to the day on which nothing is left to be done."""
    output.console.print("\n[bold]A month passes.[/]")
    benefit = await stories.play(stage, memory)
    calendar = Calendar(stage, stage.runtime.now().date())
    month = Month(stage, calendar, benefit)
    await _hand_in(month)
    await _release(month)
    disputes = await _dispute(month)
    await _claim(month)
    await _pay(month)
    await _take_back(month, disputes)
    await _net(month)
    await calendar.go(30, "A month has passed, and nothing is left to be done.")
    return month


async def _hand_in(month: Month) -> None:
    """All hosts but the charity can be paid, every week from day 7 on."""
    payday_ = month.calendar.date(7)
    hosts = {host: name for host, name in NAMES.items() if host != SEA}
    month.accounts |= await papers.hand_in(month.stage, hosts, payday_.isoweekday())
    output.console.print(f"{len(hosts)} hosts can be sent money, and are paid every {payday_:%A}.")


async def _release(month: Month) -> None:
    """What Stripe has made available is the hosts' to take."""
    await month.calendar.go(3, "Stripe has made the evening's money available; it is released.")
    sums: Counter[str] = Counter()
    for host in month.accounts:
        for one in await views.balances(month.stage, host):
            sums[one["currency"]] += one["available"]
    told = ", ".join(views.amount(minor, code) for code, minor in sorted(sums.items()))
    output.console.print(
        f"The hosts could take {told}. {views.amount(await _parked(month))} are parked for Sea "
        "Rescue, who has no account yet.",
        soft_wrap=True,
    )


async def _parked(month: Month) -> int:
    found = await get(month.stage.api, "/v1/balances", account=PARKED, currency=CURRENCY)
    return -int(found["amount"])


async def _dispute(month: Month) -> tuple[str, str]:
    """A chargeback freezes and takes, an inquiry only asks; the ids of the two."""
    stage, benefit = month.stage, month.benefit
    await month.calendar.go(4, "Two banks ask back what Zoe and Yan have tipped.")
    zoe, yan = benefit.tips["zoe"], benefit.tips["yan"]
    asked: dict[str, Any] = {"payment_intent": zoe.intent, "taken": False}
    chargeback = await post(stage.stripe, "/_sandbox/disputes", asked)
    asked = {"payment_intent": yan.intent, "inquiry": True, "reason": "unrecognized"}
    inquiry = await post(stage.stripe, "/_sandbox/disputes", asked)
    await days.pass_on(stage)
    opened = await views.asked(stage)
    await views.drawers(stage, {FAY: NAMES[FAY], GUS: NAMES[GUS]})
    await post(stage.stripe, f"/_sandbox/disputes/{chargeback['id']}/withdraw", {})
    benefit.gone += zoe.minor + BORNE
    await benefit.refund("xia", benefit.tips["xia"].minor // 2)
    await days.pass_on(stage)
    views.disputes("A chargeback and an inquiry", opened, await views.asked(stage))
    output.console.print(
        f"Zoe's bank has taken the money. Of Stripe's fee for that {views.amount(BORNE)} are the "
        "hosts' to bear, and the charity's part is the platform's. Xia has half of her tip back.",
        soft_wrap=True,
    )
    return chargeback["id"], inquiry["id"]


async def _claim(month: Month) -> None:
    """The charity comes in time for what was parked."""
    await month.calendar.go(5, "Sea Rescue has an account now.")
    parked = await _parked(month)
    weekday = month.calendar.date(7).isoweekday()
    month.accounts |= await papers.hand_in(month.stage, {SEA: NAMES[SEA]}, weekday)
    await days.pass_on(month.stage)
    own = (await views.in_dollars(month.stage, SEA))["available"]
    output.console.print(
        f"Of {views.amount(parked)} that were parked {views.amount(own)} are its own now, and "
        f"{views.amount(await _parked(month))} parked still.",
        soft_wrap=True,
    )


async def _pay(month: Month) -> None:
    """Everybody is paid."""
    month.calendar.say(7, "Payday: one batch for all. Above $200.00 another person has to look.")
    month.payouts += await payday.play(month.calendar, 7, NAMES)
    await _explain(month, FAY)


async def _explain(month: Month, host: str) -> None:
    """What the host's last payout is made of, to the cent."""
    found = [one for one in month.payouts if (one["host"], one["currency"]) == (host, CURRENCY)]
    if not found:
        month.wrong.append(f"{NAMES[host]} was not paid.")
    elif await payday.lines(month.stage, found[-1], NAMES[host]):
        month.wrong.append(f"The lines of {found[-1]['id']} do not sum to it.")


async def _take_back(month: Month, disputes: tuple[str, str]) -> None:
    """A refund after the payout: asked back of the hosts' accounts, one of which is empty."""
    stage, (chargeback, inquiry) = month.stage, disputes
    await month.calendar.go(10, "Wim wants his tip back, which has long been paid out.")
    home = f"/_sandbox/accounts/{month.accounts[GUS]}/payout"
    await post(stage.stripe, home, {"currency": CURRENCY})  # Stripe pays it to his bank
    await month.benefit.refund("wim", month.benefit.tips["wim"].minor)
    for dispute, end in ((chargeback, "lost"), (inquiry, "warning_closed")):
        await post(stage.stripe, f"/_sandbox/disputes/{dispute}/close", {"status": end})
    await days.pass_on(stage)
    await views.came_back(stage, month.payouts, stories.HOSTS)
    views.disputes("How the banks decided", await views.asked(stage))
    await stories.encore(stage, month.benefit)
    await days.pass_on(stage)
    await views.upcoming(stage, stories.HOSTS)


async def _net(month: Month) -> None:
    """Who owed something is paid the rest."""
    await month.calendar.go(13, "Stripe has made available what Gus has earned since.")
    month.calendar.say(14, "Payday: what he owed is kept of it.")
    month.payouts += await payday.play(month.calendar, 14, NAMES)
    await _explain(month, GUS)
