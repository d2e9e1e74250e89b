"""Capabilities: whether a host's account at Stripe can be sent money, as Stripe shows it now.

    none ──► restricted ──► active        the papers are in
               ▲  │           │
               └──┴── closed ◄┘           by its owner or by Stripe: the next link makes another

It goes back and forth: it is fetched, never believed from an event.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from takings.database import Database, fetch
from takings.errors import NotFound
from takings.payments import asks
from takings.payments.facts import Overtaken, Reader, Readers, Told
from takings.payments.objects import Object
from takings.payments.stripe import Stripe
from takings.payments.sweeps import ADVANCE, CURSOR

log = structlog.get_logger()

SHOWN: Final = ["configuration.recipient", "requirements"]
"""The parts of an account that Stripe leaves out unless they are asked for."""

ROUND: Final = "accounts"
STATUSES: Final = frozenset({"pending", "restricted", "active", "rejected", "unsupported"})
"""What Stripe may say of an account; whatever it says next year counts as restricted."""


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
        view = View(host_id, host.stripe_account, said(shown, host.capability), host.version)
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


def said(account: Object | None, known: str) -> str:
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
    return View(host.id, host.stripe_account, said(shown, known), host.version)


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
