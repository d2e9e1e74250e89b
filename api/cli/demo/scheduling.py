"""Scheduling: rooms are planned by their hosts, and signed by all before anything is sold."""

from typing import Any

from rich.markup import escape

from api.cli import output
from api.cli.demo.calls import get, post
from api.cli.demo.stage import Stage


async def schedule(stage: Stage, space: dict[str, Any]) -> None:
    """A Space whose host agrees by scheduling it; the others sign what they read."""
    made = await post(stage.api, "/v1/spaces", space)
    here = f"/v1/spaces/{made['id']}"
    agreement = await get(stage.api, f"{here}/shares")
    parts = {share["host"]: share["weight"] // 100 for share in agreement["shares"]}
    for host in agreement["waiting_for"]:
        await post(stage.api, f"{here}/agreements/{agreement['version']}/sign", {"host": host})
        who = host.removeprefix("host_").title()
        output.console.print(
            f"{escape(made['title'])}: {who} has signed for {parts[host]} %, so sales are open."
        )
