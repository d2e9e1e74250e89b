"""The journal's last seal, to be kept where the database's owner cannot write."""

import orjson
import typer

from api.cli import loop, output
from api.cli.output import AsJson
from takings.ledger import seals

app = typer.Typer(help="The hash chain over the journal.", no_args_is_help=True)


@app.command()
@loop.awaited
async def head(*, json: AsJson = False) -> None:
    """The last seal, which stands for the whole journal: append it to a file kept elsewhere."""
    async with loop.running() as runtime:
        last = await runtime.database.run(seals.head)
        published = last.published(runtime.now())
    if json:  # one line, so that many of them make a file of anchors
        typer.echo(orjson.dumps(published, option=orjson.OPT_UTC_Z))
    else:
        output.console.print(f"seal {last.n}  {last.digest.hex()}", soft_wrap=True)
