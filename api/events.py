"""Stripe's events: GET list, GET one, and handle one again."""

from typing import Annotated

from fastapi import Query
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from api import operations, pages
from api.dependencies import Here, Id
from api.operations import operation
from api.schemas.common import Listing
from api.schemas.events import Event, EventFilter, EventWithPayload
from takings.errors import NotFound
from takings.payments import stripe_tables as tables
from takings.payments import webhooks

router = operations.router("events")


@router.get("/events", **operation("webhooks", raises=(NotFound,)))
async def newest(here: Here, asked: Annotated[EventFilter, Query()]) -> Listing[Event]:
    """The events, as they came in, newest first."""
    table = tables.Event
    by = {col(table.status): asked.status, col(table.type): asked.type}
    page = await here.database.run(
        pages.newest, select(table), table, asked, filters=by, at="received_at"
    )
    found = [Event.of(row) for row in page.rows]
    return Listing(data=found, has_more=page.has_more, url="/v1/events")


@router.get("/events/{id}", **operation("webhooks", raises=(NotFound,)))
async def one(here: Here, id: Id) -> EventWithPayload:  # noqa: A002 - the name in the address
    """One event with its body."""
    return EventWithPayload.of(await here.database.run(_get, id))


@router.post("/events/{id}/replay", **operation("webhooks", raises=(NotFound,)))
async def replay(here: Here, id: Id) -> EventWithPayload:  # noqa: A002 - the name in the address
    """Let the worker handle the event again; what it did before is not done twice."""
    await webhooks.replay(here.database, id, now=here.now())
    return EventWithPayload.of(await here.database.run(_get, id))


async def _get(session: AsyncSession, event_id: str) -> tables.Event:
    found = await session.get(tables.Event, event_id)
    if found is None:
        raise NotFound(kind="event", id=event_id)
    return found
