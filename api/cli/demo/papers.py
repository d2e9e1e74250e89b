"""Papers: hosts hand in theirs on Stripe's pages, and are paid once a week from then on."""

import asyncio
from collections.abc import Mapping
from typing import Any

from api.cli import output
from api.cli.demo.calls import WentWrong, get, post, put
from api.cli.demo.stage import Stage


async def hand_in(stage: Stage, hosts: Mapping[str, str], weekday: int) -> dict[str, str]:
    """All of them can be paid, on that day of the week; their accounts at Stripe."""
    links = await asyncio.gather(*(_one(stage, host, weekday) for host in hosts))
    first, link = next(iter(hosts.values())), links[0]
    output.console.print(f"{first} hands in the papers: {link['url']}", soft_wrap=True)
    return {link["host"]: link["stripe_account"] for link in links}


async def _one(stage: Stage, host: str, weekday: int) -> dict[str, Any]:
    here = f"/v1/hosts/{host}"
    await put(stage.api, f"{here}/payout_plan", {"schedule": "weekly", "anchor": weekday})
    asked = {
        "country": "us",
        "email": f"{host}@example.com",
        "refresh_url": "https://example.com/again",
        "return_url": "https://example.com/done",
    }
    link = await post(stage.api, f"{here}/onboarding", asked)
    await post(stage.stripe, f"/_sandbox/accounts/{link['stripe_account']}/capability", {})
    account = await get(stage.api, f"{here}/account")
    if account["capability"] != "active":
        raise WentWrong(what=host, status=account["capability"], body=account["due"])
    return link
