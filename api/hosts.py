"""Hosts: POST, GET one, GET list, and each one's standing, money and account at Stripe."""

from typing import Annotated

from fastapi import Query
from sqlmodel import select
from sqlmodel.ext.asyncio.session import AsyncSession

from api import operations, pages
from api.dependencies import Here, Id, New
from api.operations import operation
from api.schemas.banks import BankPayout, HostAccount, OnboardingInput, OnboardingLink
from api.schemas.common import Listing, Paging
from api.schemas.hosts import Host, HostBalance, HostInput, Standing, StandingInput
from takings.errors import NotFound
from takings.ledger import balances
from takings.payments import exposures, stripe
from takings.payouts import capabilities, onboarding
from takings.payouts import tables as payouts
from takings.records import BadId
from takings.spaces import hosts, standings, tables

router = operations.router("hosts")

ASKING = (stripe.StripeRefused, stripe.StripeAway, stripe.StripeBusy, stripe.KeyRefused)


@router.post(
    "/hosts", **operation("spaces", raises=(BadId, hosts.HostDiffers, hosts.ListenerTaken))
)
async def register(here: Here, new: New, given: HostInput) -> Host:
    """Make somebody a host; repeating it changes nothing."""
    host_id, told = new.of("host", given.id), {"listener": given.listener}
    return Host.of(await hosts.register(here.database, host_id, given.name, **told, now=here.now()))


@router.get("/hosts", **operation("spaces", raises=(NotFound,)))
async def newest(here: Here, asked: Annotated[Paging, Query()]) -> Listing[Host]:
    """The hosts, newest first."""
    page = await here.database.run(pages.newest, select(tables.Host), tables.Host, asked)
    found = [Host.of(row) for row in page.rows]
    return Listing(data=found, has_more=page.has_more, url="/v1/hosts")


@router.get("/hosts/{id}", **operation("spaces", raises=(NotFound,)))
async def one(here: Here, id: Id) -> Host:  # noqa: A002 - the name in the address
    """One host."""
    return Host.of(await here.database.run(hosts.get, id))


@router.get("/hosts/{id}/balance", **operation("payouts.read", "finance", raises=(NotFound,)))
async def balance(here: Here, id: Id) -> HostBalance:  # noqa: A002 - the name in the address
    """What we owe the host, by currency and drawer, and what of it is safe to spend."""
    return await here.database.run(_balance, id)


@router.post(
    "/hosts/{id}/onboarding",
    **operation("spaces", raises=(NotFound, onboarding.BadCountry, *ASKING)),
)
async def onboard(here: Here, id: Id, given: OnboardingInput) -> OnboardingLink:  # noqa: A002
    """A page where the host hands in the papers; the first time their account is made."""
    link = onboarding.link(here.database, here.stripe, id, **given.model_dump(), now=here.now())
    return OnboardingLink.of(await link)


@router.get(
    "/hosts/{id}/account", **operation("spaces", "payouts.read", raises=(NotFound, *ASKING))
)
async def account(here: Here, id: Id) -> HostAccount:  # noqa: A002 - the name in the address
    """The host's account as Stripe shows it now, and what Stripe still wants of the host."""
    found = capabilities.look(here.database, here.stripe, id, now=here.now())
    return HostAccount.of(await found)


@router.get("/hosts/{id}/bank_payouts", **operation("payouts.read", "finance", raises=(NotFound,)))
async def bank_payouts(
    here: Here,
    id: Id,  # noqa: A002 - the name in the address
    asked: Annotated[Paging, Query()],
) -> Listing[BankPayout]:
    """What Stripe pays to the host's own bank, newest first; the books do not know of it."""
    page = await here.database.run(_bank_payouts, id, asked)
    found = [BankPayout.of(row) for row in page.rows]
    return Listing(data=found, has_more=page.has_more, url=f"/v1/hosts/{id}/bank_payouts")


@router.get("/hosts/{id}/standing", **operation("spaces", raises=(NotFound,)))
async def standing(here: Here, id: Id) -> Standing:  # noqa: A002 - the name in the address
    """What was last stated of the host."""
    return Standing.of(id, await here.database.run(standings.get, id))


@router.put("/hosts/{id}/standing", **operation("spaces", raises=(NotFound, standings.BadStanding)))
async def state(here: Here, id: Id, given: StandingInput) -> Standing:  # noqa: A002 - as above
    """State the host's facts anew, all of them: the gates compare them with a policy."""
    facts = given.standing()
    return Standing.of(id, await standings.state(here.database, id, facts, now=here.now()))


async def _bank_payouts(session: AsyncSession, host_id: str, asked: Paging) -> pages.Page:
    await hosts.get(session, host_id)
    table = payouts.BankPayout
    return await pages.newest(session, select(table).where(table.host_id == host_id), table, asked)


async def _balance(session: AsyncSession, host_id: str) -> HostBalance:
    host = await hosts.get(session, host_id)
    exposed = await exposures.of_host(session, host.id)
    return HostBalance.of(host.id, await balances.of_host(session, host.id), exposed)
