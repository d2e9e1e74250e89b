"""``takings keys``: who may call the API."""

import typer

from api import keys
from api.cli import loop, output
from api.cli.output import AsJson

app = typer.Typer(help="The API's keys: issue, list, revoke.", no_args_is_help=True)
