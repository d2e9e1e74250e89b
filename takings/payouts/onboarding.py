"""Onboarding: every host has one account at Stripe, and a page where the papers are handed in."""

import itertools
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from takings import records
from takings.database import Database, fetch
from takings.errors import Invalid
from takings.payments import asks, webhooks
from takings.payments.asks import AT_ONCE, Ask
from takings.payments.objects import Object
from takings.payments.stripe import Stripe, StripeRefused
from takings.payouts import capabilities
from takings.payouts.capabilities import HOST, SHOWN

CALL: Final = "v2.core.accounts.create"


class BadCountry(Invalid):
    """{country!r} is not a country's code.

    Send two letters, as in de or US (ISO 3166).
    """

    param = "country"


@dataclass(frozen=True, slots=True)
class Link:
    """Where a host hands in the papers, for a few minutes."""

    host: str
    account: str
    url: str
    expires_at: datetime


async def link(
    database: Database,
    door: Stripe,
    host_id: str,
    *,
    country: str,
    email: str,
    refresh_url: str,
    return_url: str,
    now: datetime,
) -> Link:
    """A page where the host hands in the papers; the first time their account is made, once.

    A closed account is followed by a new one.  Raises NotFound, BadCountry; InFlight while the same
    account is being made; StripeRefused, and then there is none; StripeAway, and then it is made
    later.
    """
    if not (len(country) == len("de") and country.isascii() and country.isalpha()):
        raise BadCountry(country=country)
    found = await capabilities.look(database, door, host_id, now=now)
    account = found.id
    if account is None or found.capability == "closed":
        account = await _made(database, door, host_id, country.lower(), email, now)
    urls = {"refresh_url": refresh_url, "return_url": return_url}
    use = {"type": "account_onboarding", "account_onboarding": urls}
    # No row asks for the page: another one changes nothing, so a repetition needs no old key.
    asked = {"account": account, "use_case": use}
    page = await door.ask("v2.core.account_links.create", asked, records.new_id("link"))
    return Link(host_id, account, page["url"], datetime.fromisoformat(page["expires_at"]))


LOCK = "SELECT stripe_account, capability FROM hosts WHERE id = $1 FOR NO KEY UPDATE"

ASKED = "SELECT answered_at IS NOT NULL AS answered FROM asks WHERE key = $1"


async def _made(
    database: Database, door: Stripe, host_id: str, country: str, email: str, now: datetime
) -> str:
    """The host's new account, made by whoever asks first."""
    found = await database.run(_write, host_id, country, email, now)
    ask = await asks.take(database, found, now) if isinstance(found, str) else found
    if ask is not None:
        await carry(database, door, ask, now=now)
    rows = await database.fetch(HOST, host_id)
    if rows[0].stripe_account is None or rows[0].capability == "closed":
        raise asks.InFlight  # somebody is at it; or nobody made it, and the next ask is a new one
    account: str = rows[0].stripe_account
    return account


async def _write(
    session: AsyncSession, host_id: str, country: str, email: str, now: datetime
) -> Ask | str | None:
    """Write down that an account is wanted, or answer under which key it has been written down.

    None where somebody has made it meanwhile.
    """
    host = (await fetch(session, LOCK, host_id))[0]
    if host.stripe_account is not None and host.capability != "closed":
        return None
    for nth in itertools.count(1):
        key = f"account:{host_id}" if nth == 1 else f"account:{host_id}:{nth}"
        rows = await fetch(session, ASKED, key)
        if not rows:
            return await asks.write(session, key, CALL, _wanted(host_id, country, email), now)
        if not rows[0].answered:
            return key
    raise AssertionError  # pragma: no cover - the count has no end


def _wanted(host_id: str, country: str, email: str) -> Object:
    """An account that receives transfers, with Stripe's small dashboard; we answer for losses."""
    transfers = {"stripe_balance": {"stripe_transfers": {"requested": True}}}
    ours = {"fees_collector": "application", "losses_collector": "application"}
    return {
        "configuration": {"recipient": {"capabilities": transfers}},
        "contact_email": email,
        "dashboard": "express",
        "defaults": {"responsibilities": ours},
        "identity": {"country": country},
        "include": SHOWN,
        "metadata": {"takings_host": host_id},
    }


async def carry(database: Database, door: Stripe, ask: Ask, *, now: datetime) -> None:
    """Carry the ask for an account to Stripe, and store what it made."""
    try:
        answer = await asks.answer(database, door, ask, now)
    except StripeRefused:
        await database.run(_store, ask, None, now)
        raise
    if answer is None and not ask.expired:
        raise asks.InFlight  # Stripe failed, and may list it yet: another one would be a second
    await database.run(_store, ask, answer, now)


STORE = """
UPDATE hosts SET stripe_account = $2, capability = $3
 WHERE id = $1 AND (stripe_account IS NULL OR capability = 'closed')
"""

# What people told of themselves stands at Stripe; here it is not needed any more.
FORGET = "UPDATE asks SET params = params - 'contact_email' WHERE key = $1"


async def _store(session: AsyncSession, ask: Ask, made: Object | None, now: datetime) -> None:
    host_id = ask.key.split(":")[1]
    await fetch(session, LOCK, host_id)
    if not await asks.answered(session, ask.key, now):
        return
    await fetch(session, FORGET, ask.key)
    if made is not None:
        await fetch(session, STORE, host_id, made["id"], capabilities.said(made, "none"))
        await webhooks.unpark(session, made["id"], now)  # events may have been quicker


async def unanswered(database: Database, door: Stripe, *, now: datetime) -> int:
    """Carry on the asks for accounts that a crash or an outage left behind; answer how many."""
    left = {ask.key: ask for ask in await asks.take_due(database, [CALL], now, limit=AT_ONCE)}
    await asks.side_by_side(left, lambda key: carry(database, door, left[key], now=now))
    return len(left)
