"""Previews: POST, which writes nothing."""

from typing import Final

from api import operations
from api.dependencies import Here
from api.keys import Scope
from api.operations import operation
from api.schemas.previews import Preview, PreviewInput
from takings import money
from takings.errors import NotFound
from takings.payments import previews
from takings.policies import rules
from takings.spaces import agreements

router = operations.router("previews")

ASKING = (
    *(NotFound, money.UnknownCurrency, money.AmountTooLarge, money.NotChargeable),
    *(rules.CurrencyNotOffered, rules.BelowMinimum, rules.AboveMaximum, rules.RegionNotPriced),
    *(agreements.SharesDoNotSum, agreements.ShareTooSmall, agreements.PayeeTwice),
    *(previews.BadSize, previews.NobodyToDivideAmong, previews.ChannelNotPriced),
)
SCOPES: Final[tuple[Scope, ...]] = ("spaces", "tips", "tickets", "agreements", "finance")


@router.post("/previews", **operation(*SCOPES, raises=ASKING))
async def ask(here: Here, given: PreviewInput) -> Preview:
    """What would each get of a tip or a ticket, or of many: to the cent what would be booked."""
    return Preview.of(await here.database.run(previews.ask, given.question()))
