"""Balances: of an account, now or as of an instant, and of all of them."""

from typing import Annotated

from fastapi import Query
from sqlmodel.ext.asyncio.session import AsyncSession

from api import operations
from api.dependencies import Here
from api.operations import operation
from api.schemas.balances import Balance, BalanceQuestion, TrialBalance
from takings import money
from takings.database import fetch
from takings.errors import NotFound
from takings.ledger import balances
from takings.money import Money

router = operations.router("balances")


@router.get("/balances", **operation("finance", raises=(NotFound, money.UnknownCurrency)))
async def balance(here: Here, asked: Annotated[BalanceQuestion, Query()]) -> Balance:
    """What an account holds now, or held as of an instant on either of the two times."""
    found = await here.database.run(_balance, asked)
    return Balance(**asked.model_dump(), amount=found.minor)


@router.get("/trial-balance", **operation("finance"))
async def trial(here: Here) -> TrialBalance:
    """Every account that is not zero; both sides of each currency are equal."""
    return TrialBalance.of(await here.database.run(balances.trial))


async def _balance(session: AsyncSession, asked: BalanceQuestion) -> Money:
    money.exponent(asked.currency)  # raises UnknownCurrency
    if not await fetch(session, "SELECT id FROM accounts WHERE name = $1", asked.account):
        raise NotFound(kind="account", id=asked.account)
    account = (asked.account, asked.currency)
    if asked.happened_at is not None:
        return await balances.effective(session, *account, asked.happened_at)
    if asked.posted_at is not None:
        return await balances.recorded(session, *account, asked.posted_at)
    return await balances.now(session, *account)
