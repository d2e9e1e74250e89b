"""Admissions: POST, GET list by Space."""

from typing import Annotated

from fastapi import Query
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from api import operations, pages
from api.dependencies import Here, New
from api.operations import operation
from api.schemas.admissions import Admission, AdmissionFilter, AdmissionInput
from api.schemas.common import Listing
from takings.errors import NotFound
from takings.records import BadId
from ticketing import admissions, door_tables, passes

router = operations.router("admissions")

ADMITTING = (
    *(BadId, NotFound, passes.BadPass, admissions.WrongSpace, admissions.PassReplaced),
    *(admissions.TicketVoid, admissions.SpaceCancelled, admissions.AlreadyAdmitted),
    admissions.AdmissionDiffers,
)


@router.post("/admissions", **operation("tickets", raises=ADMITTING))
async def admit(here: Here, new: New, given: AdmissionInput) -> Admission:
    """Let in whoever shows the pass, once; a second scan is told where and when the first was."""
    wish = given.wish(new.of("adm", given.id))
    return Admission.of(await admissions.admit(here.database, wish, now=here.now()))


@router.get("/admissions", **operation("tickets", raises=(NotFound,)))
async def newest(here: Here, asked: Annotated[AdmissionFilter, Query()]) -> Listing[Admission]:
    """The admissions, newest first."""
    return await here.database.run(_newest, asked)


async def _newest(session: AsyncSession, asked: AdmissionFilter) -> Listing[Admission]:
    table, query = door_tables.Admission, admissions.EVERY
    by = {col(table.space_id): asked.space}
    page = await pages.newest(session, query, table, asked, filters=by)
    shown = [Admission.of(admissions.Admitted(*row)) for row in page.rows]
    return Listing(data=shown, has_more=page.has_more, url="/v1/admissions")
