"""What is said of a failed statement holds nothing of what people sent: errors are logged."""

import pytest
from sqlalchemy.exc import DBAPIError

from takings.database import Database

SENT = "what a listener wrote to a host"


async def test_an_error_that_we_have_no_word_for_does_not_repeat_what_was_sent(
    database: Database,
) -> None:
    with pytest.raises(DBAPIError) as found:
        await database.fetch("SELECT no_such_function($1::text)", SENT)
    assert "no_such_function" in str(found.value)
    assert SENT not in str(found.value)
