"""Tabs: POST, GET, a tip on one, and close."""

from api import operations
from api.dependencies import Here, Id, New
from api.operations import operation
from api.schemas.tabs import Tab, TabInput, TabTipInput
from api.schemas.tips import Tip
from api.tips import GIVING, PAYING
from takings import money
from takings.errors import NotFound
from takings.spaces.agreements import AgreementUnsigned
from tipping import tabs, tips

router = operations.router("tabs")

OPENING = (*PAYING, tips.SpaceNotLive, AgreementUnsigned, tabs.TabDiffers, tabs.CapTooSmall)
TIPPING = (*GIVING, money.NotChargeable, tabs.TabNotOpen, tabs.TabFull)


@router.post("/tabs", **operation("tips", moves_money=True, raises=OPENING))
async def open(here: Here, new: New, given: TabInput) -> Tab:  # noqa: A001 - tabs.open
    """Open a tab; the answer says where its cap is authorised."""
    wish = given.wish(new.of("tab", given.id))
    return Tab.of(await tabs.open(here.database, here.stripe, wish, now=here.now()))


@router.get("/tabs/{id}", **operation("tips", raises=(NotFound,)))
async def one(here: Here, id: Id) -> Tab:  # noqa: A002 - the name in the address
    """One tab, as far as it has come."""
    return Tab.of(await tabs.get(here.database, id))


@router.post("/tabs/{id}/tips", **operation("tips", moves_money=True, raises=TIPPING))
async def tip(here: Here, new: New, id: Id, given: TabTipInput) -> Tip:  # noqa: A002 - as above
    """Give a tip on an open tab, under the room's agreement of now."""
    wish = given.given(new.of("tip", given.id), id)
    return Tip.of(await tabs.tip(here.database, wish, now=here.now()))


@router.post("/tabs/{id}/close", **operation("tips", moves_money=True, raises=(NotFound,)))
async def close(here: Here, id: Id) -> Tab:  # noqa: A002 - the name in the address
    """The listener leaves: what was given is charged, the rest of the cap is let go."""
    return Tab.of(await tabs.close(here.database, here.stripe, id, now=here.now()))
