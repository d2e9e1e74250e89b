"""Agreements: GET the versions of a Space's, and sign one."""

from typing import Annotated

from fastapi import Path
from sqlmodel.ext.asyncio.session import AsyncSession

from api import operations
from api.dependencies import Actor, Here, Id
from api.operations import operation
from api.schemas.agreements import Agreement, SignInput
from api.schemas.common import Listing
from takings.errors import NotFound
from takings.spaces import agreements

router = operations.router("agreements")

Number = Annotated[int, Path(ge=1)]

SIGNING = (NotFound, agreements.NotAPayee, agreements.AgreementSuperseded)


@router.get("/spaces/{id}/agreements", **operation("spaces", "agreements", raises=(NotFound,)))
async def every(here: Here, id: Id) -> Listing[Agreement]:  # noqa: A002 - the name in the address
    """All versions of who shares what in a Space, newest first: who has signed, which holds."""
    return await here.database.run(_every, id)


@router.post("/spaces/{id}/agreements/{version}/sign", **operation("agreements", raises=SIGNING))
async def sign(
    here: Here,
    id: Id,  # noqa: A002 - the name in the address
    version: Number,
    given: SignInput,
    actor: Actor,
) -> Agreement:
    """A payee agrees to a version; it holds when the last one does.  Repeating changes nothing."""
    signed = agreements.sign(here.database, id, version, given.host, actor=actor, now=here.now())
    return Agreement.of(await signed)


async def _every(session: AsyncSession, space_id: str) -> Listing[Agreement]:
    found = await agreements.every(session, space_id)
    shown = [Agreement.of(version) for version in found]
    return Listing.whole(shown, f"/v1/spaces/{space_id}/agreements")
