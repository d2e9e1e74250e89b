"""The schema, step by step, and the two things one does with it: bring it up, compare it."""

import re
from collections.abc import Iterator
from pathlib import Path

from alembic import command
from alembic.config import Config

from takings.database import address

HERE = Path(__file__).parent


def config(owner_url: str, app_role: str) -> Config:
    """How Alembic reaches the database as its owner, and whom it lets serve."""
    found = Config()
    found.set_main_option("script_location", str(HERE))
    found.attributes["url"] = address(owner_url)
    found.attributes["app_role"] = f'"{app_role}"'
    return found


def upgrade(owner_url: str, app_role: str, revision: str = "head") -> None:
    """Bring the schema to the revision; repeat it as often as you like.

    Blocks, and runs an event loop of its own: from async code call it in a thread.
    """
    command.upgrade(config(owner_url, app_role), revision)


def downgrade(owner_url: str, app_role: str, revision: str = "base") -> None:
    """Take the schema back to the revision, and with it everything in what it drops."""
    command.downgrade(config(owner_url, app_role), revision)


def check(owner_url: str, app_role: str) -> None:
    """Raise where the schema and the tables in the code differ."""
    command.check(config(owner_url, app_role))


def statements(*scripts: str) -> Iterator[str]:
    """The single statements of the scripts: cut at semicolons that no function body encloses.

    Comments are left out, but for the linter's: what a migration may do, and why.
    """
    for script in scripts:
        bare = re.sub(r"--(?! squawk-ignore)[^\n]*", "", script)
        for part in re.findall(r"(?:\$\$.*?\$\$|[^;])+", bare, re.DOTALL):
            if part.strip():
                yield re.sub(r"(?<![:\w]):(?=\w)", r"\:", part.strip())  # no bind parameter
