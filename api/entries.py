"""Entries of the journal: GET one, GET list by subject, account or kind."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Query
from sqlalchemy import ColumnElement, exists
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from api import operations, pages
from api.dependencies import Here, Id
from api.operations import operation
from api.schemas.common import Listing
from api.schemas.entries import Entry, EntryFilter
from takings.database import fetch
from takings.errors import NotFound
from takings.ledger.tables import Account, JournalEntry, JournalPosting

router = operations.router("entries")


@router.get("/entries", **operation("finance", raises=(NotFound,)))
async def newest(here: Here, asked: Annotated[EntryFilter, Query()]) -> Listing[Entry]:
    """The entries, newest first as they were posted."""
    return await here.database.run(_newest, asked)


@router.get("/entries/{id}", **operation("finance", raises=(NotFound,)))
async def one(here: Here, id: Id) -> Entry:  # noqa: A002 - the name in the address
    """One entry with its postings."""
    return await here.database.run(_one, id)


async def _newest(session: AsyncSession, asked: EntryFilter) -> Listing[Entry]:
    query = select(JournalEntry)
    if asked.account is not None:
        query = query.where(_on(asked.account))
    by = {col(JournalEntry.subject): asked.subject, col(JournalEntry.kind): asked.kind}
    page = await pages.newest(session, query, JournalEntry, asked, filters=by, at="posted_at")
    found = await _shown(session, page.rows)
    return Listing(data=found, has_more=page.has_more, url="/v1/entries")


def _on(account: str) -> ColumnElement[bool]:
    """Whether an entry has a posting on the account, in any currency."""
    leg = select(JournalPosting.n).where(
        JournalPosting.entry_id == JournalEntry.id,
        JournalPosting.posted_at == JournalEntry.posted_at,
        JournalPosting.account_id == Account.id,
        Account.name == account,
    )
    return exists(leg)


async def _one(session: AsyncSession, entry_id: str) -> Entry:
    found = (await session.exec(select(JournalEntry).where(JournalEntry.id == entry_id))).all()
    if not found:
        raise NotFound(kind="entry", id=entry_id)
    return (await _shown(session, found))[0]


POSTINGS = """
SELECT p.entry_id, a.name AS account, p.minor, p.currency, p.line
  FROM unnest($1::text[], $2::timestamptz[]) AS e (id, posted_at)
  JOIN postings p ON p.entry_id = e.id AND p.posted_at = e.posted_at
  JOIN accounts a ON a.id = p.account_id
 ORDER BY p.entry_id, p.n
"""


async def _shown(session: AsyncSession, found: Sequence[JournalEntry]) -> list[Entry]:
    ids, times = [entry.id for entry in found], [entry.posted_at for entry in found]
    legs = await fetch(session, POSTINGS, ids, times)
    return [Entry.of(entry, legs) for entry in found]
