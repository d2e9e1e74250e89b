"""``takings payouts``: what was paid to whom, and for what; approving, refusing and planning it."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import orjson
import typer
from rich.markup import escape
from sqlmodel.ext.asyncio.session import AsyncSession

from api import payouts as resource
from api.cli import loop, output, paydays
from api.cli.output import AsJson
from api.cli.people import Limit
from api.runtime import Runtime
from api.schemas import payouts as schemas
from api.schemas.common import Paging
from takings import money
from takings.errors import Invalid
from takings.money import Money
from takings.payouts import lines as parts
from takings.payouts import payouts, plans, upcoming
from takings.payouts.tables import Payout
from takings.policies.rules import Schedule

app = typer.Typer(
    help="What hosts are paid: show it, approve it, run it, plan it.", no_args_is_help=True
)
app.command()(paydays.run)

PAGE = 1_000
