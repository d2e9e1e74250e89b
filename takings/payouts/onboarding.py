"""Onboarding: every host has an account at Stripe, and we know whether it can be sent money.

    none ──► restricted ──► active        the papers are in
               ▲  │           │
               └──┴── closed ◄┘           by its owner or by Stripe: the next link makes another

What Stripe says of an account goes back and forth: it is fetched, never believed from an event.
"""

import itertools
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from takings import records
from takings.database import Database, fetch
from takings.errors import Invalid, NotFound
from takings.payments import asks
from takings.payments.asks import AT_ONCE, Ask
from takings.payments.facts import Overtaken, Reader, Readers, Told
from takings.payments.objects import Object
from takings.payments.stripe import Stripe, StripeRefused
from takings.payments.sweeps import ADVANCE, CURSOR

log = structlog.get_logger()

CALL: Final = "v2.core.accounts.create"
SHOWN: Final = ["configuration.recipient", "requirements"]
"""The parts of an account that Stripe leaves out unless they are asked for."""

ROUND: Final = "accounts"
STATUSES: Final = frozenset({"pending", "restricted", "active", "rejected", "unsupported"})
"""What Stripe may say of an account; whatever it says next year counts as restricted."""


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


@dataclass(frozen=True, slots=True)
class Account:
    """A host's account as Stripe shows it: whether it can be sent money, and what that wants."""

    host: str
    id: str | None
    capability: str
    due: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """What Stripe said of an account, and which version of the host's row it was to replace."""

    host: str
    account: str
    capability: str
    replaces: str


# The version is PostgreSQL's own: it changes with every update of the row, and with nothing else.
HOST = """
SELECT id, stripe_account, capability, xmin::text AS version FROM hosts WHERE id = $1
"""

OF_ACCOUNT = """
SELECT id, stripe_account, capability, xmin::text AS version FROM hosts WHERE stripe_account = $1
"""


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
    found = await look(database, door, host_id, now=now)
    account = found.id
    if account is None or found.capability == "closed":
        account = await _made(database, door, host_id, country.lower(), email, now)
    urls = {"refresh_url": refresh_url, "return_url": return_url}
    use = {"type": "account_onboarding", "account_onboarding": urls}
    # No row asks for the page: another one changes nothing, so a repetition needs no old key.
    asked = {"account": account, "use_case": use}
    page = await door.ask("v2.core.account_links.create", asked, records.new_id("link"))
    return Link(host_id, account, page["url"], datetime.fromisoformat(page["expires_at"]))


async def look(database: Database, door: Stripe, host_id: str, *, now: datetime) -> Account:
    """The host's account as Stripe shows it now; where we thought otherwise, we learn it."""
    while True:
        rows = await database.fetch(HOST, host_id)
        if not rows:
            raise NotFound(kind="host", id=host_id)
        host = rows[0]
        if host.stripe_account is None:
            return Account(host_id, None, host.capability)
        shown = await _shown(door, host.stripe_account)
        view = View(host_id, host.stripe_account, capability(shown, host.capability), host.version)
        try:
            if view.capability != host.capability:
                await database.run(book, view, now)
        except Overtaken:
            continue
        return Account(host_id, host.stripe_account, view.capability, _due(shown))


async def _shown(door: Stripe, account: str) -> Object | None:
    """The account as Stripe shows it; None where it does not show it to us."""
    try:
        return await door.fetch("v2.core.accounts", account, {"include": SHOWN})
    except NotFound:
        return None


def _due(account: Object | None) -> tuple[str, ...]:
    """What Stripe still wants to know before money can be sent."""
    entries = ((account or {}).get("requirements") or {}).get("entries") or ()
    return tuple(sorted({entry["description"] for entry in entries}))


def capability(account: Object | None, known: str) -> str:
    """Whether an account can be sent money, in our words.

    One that is not shown to us is only restricted: the fault may be our key.  What was closed
    stays closed.
    """
    if known == "closed" or (account or {}).get("closed"):
        return "closed"
    found = account or {}
    for part in ("configuration", "recipient", "capabilities", "stripe_balance"):
        found = found.get(part) or {}
    status = (found.get("stripe_transfers") or {}).get("status")
    return status if status in STATUSES else "restricted"


LOCK = "SELECT stripe_account, capability FROM hosts WHERE id = $1 FOR NO KEY UPDATE"

ASKED = "SELECT answered_at IS NOT NULL AS answered FROM asks WHERE key = $1"


async def _made(
    database: Database, door: Stripe, host_id: str, country: str, email: str, now: datetime
) -> str:
    """The host's new account, made by whoever asks first."""
    found = await database.run(_write, host_id, country, email, now)
    ask = await asks.take(database, found, now) if isinstance(found, str) else found
    if ask is None:
        raise asks.InFlight
    await carry(database, door, ask, now=now)
    rows = await database.fetch(HOST, host_id)
    if rows[0].stripe_account is None or rows[0].capability == "closed":
        raise asks.InFlight  # its key had expired and it was never made: the next ask is a new one
    account: str = rows[0].stripe_account
    return account


async def _write(
    session: AsyncSession, host_id: str, country: str, email: str, now: datetime
) -> Ask | str:
    """Write down that an account is wanted; or the key under which it has been written down."""
    await fetch(session, LOCK, host_id)
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
    await database.run(_store, ask, answer, now)


STORE = """
UPDATE hosts SET stripe_account = $2, capability = $3
 WHERE id = $1 AND (stripe_account IS NULL OR capability = 'closed')
"""

# What people told of themselves stands at Stripe; here it is not needed any more.
FORGET = "UPDATE asks SET params = params - 'contact_email' WHERE key = $1"

# An event may come before we know whose account it is about.
UNPARK = """
UPDATE events SET status = 'received', next_at = $2, attempts = 0
 WHERE account = $1 AND status = 'parked'
"""


async def _store(session: AsyncSession, ask: Ask, made: Object | None, now: datetime) -> None:
    host_id = ask.key.split(":")[1]
    await fetch(session, LOCK, host_id)
    if not await asks.answered(session, ask.key, now):
        return
    await fetch(session, FORGET, ask.key)
    if made is not None:
        await fetch(session, STORE, host_id, made["id"], capability(made, "none"))
        await fetch(session, UNPARK, made["id"], now)


async def unanswered(database: Database, door: Stripe, *, now: datetime) -> int:
    """Carry on the asks for accounts that a crash or an outage left behind; answer how many."""
    left = {ask.key: ask for ask in await asks.take_due(database, [CALL], now, limit=AT_ONCE)}
    await asks.side_by_side(left, lambda key: carry(database, door, left[key], now=now))
    return len(left)


CHANGED: Final = (
    "v2.core.account.created",
    "v2.core.account.updated",
    "v2.core.account.closed",
    "v2.core.account[configuration.recipient].updated",
    "v2.core.account[configuration.recipient].capability_status_updated",
    "v2.core.account[requirements].updated",
    "account.updated",
    "capability.updated",
)
LEFT: Final = "account.application.deauthorized"


async def learn(database: Database, door: Stripe, told: Told) -> View | None:
    """Fetch the account that an event is about."""
    rows = await database.fetch(OF_ACCOUNT, told.account)
    if not rows:
        return None
    host = rows[0]
    shown = await _shown(door, host.stripe_account)
    gone = told.kind == LEFT and shown is None  # its owner took it from us, and Stripe says so
    known = "closed" if gone else host.capability
    return View(host.id, host.stripe_account, capability(shown, known), host.version)


BOOK = """
UPDATE hosts SET capability = $3
 WHERE id = $1 AND stripe_account = $2 AND xmin::text = $4 RETURNING id
"""


async def book(session: AsyncSession, view: View | None, now: datetime) -> None:  # noqa: ARG001
    """Note what Stripe said; raises Overtaken.  Writing the same changes the row, too."""
    if view is None:
        return
    if not await fetch(session, BOOK, view.host, view.account, view.capability, view.replaces):
        raise Overtaken(id=view.account)
    log.info("account_seen", host=view.host, capability=view.capability)


READERS: Readers = dict.fromkeys((*CHANGED, LEFT), Reader(learn, book))

NEXT = """
SELECT id FROM hosts
 WHERE stripe_account IS NOT NULL AND capability <> 'closed' AND id > $1 ORDER BY id LIMIT $2
"""


async def sweep(database: Database, door: Stripe, *, now: datetime, most: int = 100) -> int:
    """Look at the accounts that come next, round and round; answer how many.

    Stripe keeps no list of thin notifications that it could not deliver: this finds out all the
    same.
    """
    rows = await database.fetch(CURSOR, ROUND)
    hosts = await database.fetch(NEXT, rows[0].value if rows else "", most)

    async def one(host_id: str) -> None:
        await look(database, door, host_id, now=now)

    await asks.side_by_side([host.id for host in hosts], one)
    reached = hosts[-1].id if len(hosts) == most else ""
    await database.fetch(ADVANCE, ROUND, reached, now)
    return len(hosts)
