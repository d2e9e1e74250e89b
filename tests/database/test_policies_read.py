"""A policy's version never changes: it is read once, and of the database that is asked."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from takings.database import Database, fetch
from takings.errors import NotFound
from takings.policies import policies
from takings.policies.presets import PRESETS
from tests.conftest import Fresh

NEW = replace(PRESETS["clubhouse-2021"], name="new", release_days=3)


async def test_a_version_is_read_once_and_of_the_database_that_is_asked(
    database: Database, fresh: Fresh
) -> None:
    with pytest.raises(NotFound):  # that it is not there is not remembered
        await database.run(policies.get, "new", 1)
    await policies.publish(database, NEW, now=datetime.now(UTC))
    assert await database.run(policies.get, "new", 1) == NEW
    async with Database(fresh.owner) as owner:  # as if it were another database
        await owner.run(fetch, "ALTER TABLE policies RENAME TO hidden")
        assert await database.run(policies.get, "new", 1) == NEW
        with pytest.raises(Exception, match="policies"):
            await owner.run(policies.get, "new", 1)
