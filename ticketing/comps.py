"""Comps: tickets that the house gives, from the same quota as those that are sold."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import records
from takings.database import Database, fetch
from takings.errors import NotFound, Refused
from takings.money import Money
from ticketing import holds, pools, purchases, sales
from ticketing.holds import Claim, Held
from ticketing.purchases import Bought, HoldersDoNotMatch, PurchaseDiffers
from ticketing.sale_tables import Purchase
from ticketing.tables import Tier


class NotAComp(Refused):
    """The tier {tier} is not one of comps: its tickets are not given away.

    Name a tier of the kind comp; add one to the run if it has none.
    """

    param = "tier"


@dataclass(frozen=True, slots=True)
class CompWish:
    """Tickets of a comp tier for a listener, with the names of those who come, or none."""

    id: str
    run: str
    tier: str
    listener: str
    quantity: int = 1
    holders: tuple[str, ...] = ()


async def give(database: Database, wish: CompWish, *, now: datetime) -> Bought:
    """Give tickets away: they are valid at once; repeatable by its id.

    Raises NotFound, NotAComp, HoldersDoNotMatch, PurchaseDiffers, and what ``holds.claim`` does.
    """
    records.check_id(wish.id)
    claim = Claim(records.new_id("hold"), wish.run, wish.listener, wish.quantity, tier=wish.tier)
    holds.check(claim)
    if wish.holders and len(wish.holders) != wish.quantity:
        raise HoldersDoNotMatch(quantity=wish.quantity, named=len(wish.holders))
    await database.run(_give, wish, claim, now)
    return await purchases.get(database, wish.id)


CLAIM: Final = """
SELECT * FROM claim_tickets($1, 'house', $2, $3::text[], $4::text[], $5::text[], $6::bytea[],
                            $7::text[], $8::integer[], $9::integer[])
"""


async def _give(session: AsyncSession, wish: CompWish, claim: Claim, now: datetime) -> None:
    """The hold, the purchase and the sale in one transaction, under the run's lock."""
    await pools.lock(session, wish.run)
    if await session.get(Purchase, wish.id) is not None:
        return await _check_same(session, wish)
    kind = select(Tier.kind).where(Tier.id == wish.tier, Tier.run_id == wish.run)
    found = (await session.exec(kind)).first()
    if found is None:
        raise NotFound(kind="tier", id=wish.tier)
    if found != "comp":
        raise NotAComp(tier=wish.tier)
    (row,) = await fetch(session, CLAIM, wish.run, now, *holds.columns([claim]))
    held = holds.answer(claim, row, now)
    if not isinstance(held, Held):
        raise held
    (hold,) = await fetch(session, purchases.HOLD, claim.id)
    nothing = Money(0, hold.currency)
    if not await sales.write(session, wish.id, hold, nothing, wish.holders, None, now):
        raise PurchaseDiffers(id=wish.id)  # of another run, a moment ago
    await sales.sell(session, wish.run, [wish.id], now)
    return None


async def _check_same(session: AsyncSession, wish: CompWish) -> None:
    """Nothing happens if the purchase that is there is this gift, sent again."""
    known = await purchases.of(session, wish.id)
    told = (known.hold.run_id, known.hold.tier_id, known.hold.listener_id, known.hold.quantity)
    if told != (wish.run, wish.tier, wish.listener, wish.quantity):
        raise PurchaseDiffers(id=wish.id)
    purchases.check_holders(known, wish.holders)
