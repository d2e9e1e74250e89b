"""The journal's last seal, to be kept where the database's owner cannot write."""

import orjson
import typer

from api.cli import loop
from takings.ledger import seals

app = typer.Typer(help="The hash chain over the journal.", no_args_is_help=True)


@app.command()
@loop.awaited
async def head() -> None:
    """The last seal, which stands for the whole journal: append it to a file kept elsewhere.

    It is a line of JSON, such that many of them make the file that "takings verify --anchor" reads.
    """
    async with loop.running() as runtime:
        last = await runtime.database.run(seals.head)
        published = last.published(runtime.now())
    typer.echo(orjson.dumps(published, option=orjson.OPT_UTC_Z))
