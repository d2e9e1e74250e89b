"""Entries posted one at a time by many callers, who share commits without knowing of each other."""

from collections.abc import Sequence

from takings.batching import Batcher
from takings.database import Database
from takings.errors import TakingsError, Unavailable
from takings.ledger import journal
from takings.ledger.entries import Entry
from takings.ledger.journal import KeyReused


class Writer:
    """Posts single entries; what arrives while a commit is in flight becomes the next one.

    For callers who have nothing else to commit with their entry; a step of a larger transaction
    uses ``journal.post``.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batcher = Batcher(self._write)

    async def post(self, entry: Entry) -> bool:
        """Whether the entry was new, once it is committed.

        Raises KeyReused, Overdrawn or whatever else is wrong with this entry; what is wrong with
        the others of its commit, they are told.
        """
        return await self._batcher.put(entry)

    async def _write(self, entries: Sequence[Entry]) -> Sequence[bool | Exception]:
        """Write them in one statement, which is a transaction of its own."""
        first: dict[str, int] = {}  # the place of each key's first entry
        for place, entry in enumerate(entries):
            first.setdefault(entry.key, place)
        try:
            columns = journal.columns([entries[place] for place in first.values()])
            rows = await self._database.fetch(journal.POST, *columns, None)
        except Unavailable:
            raise  # it is nobody's entry
        except TakingsError as error:
            if len(entries) == 1:
                return [error]
            return [answer for entry in entries for answer in await self._write([entry])]
        new = {first[row.key] for row in rows}
        old = [entry for place, entry in enumerate(entries) if place not in new]
        wrong = {id(entry) for entry in await self._differing(old)}
        return [
            KeyReused(key=entry.key) if id(entry) in wrong else place in new
            for place, entry in enumerate(entries)
        ]

    async def _differing(self, old: Sequence[Entry]) -> Sequence[Entry]:
        if not old:
            return ()
        rows = await self._database.fetch(journal.KNOWN, [entry.key for entry in old])
        return list(journal.differing(old, rows))
