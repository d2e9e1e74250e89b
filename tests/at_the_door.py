"""The words that stories of the door are told in: guests, their passes, what becomes of both."""

import secrets
from datetime import datetime

from takings.database import Database
from takings.errors import TakingsError
from tests import box_office
from ticketing import admissions, door_keys
from ticketing.admissions import AdmissionWish
from ticketing.wishes import TierWish

FREE = (TierWish("Seat", "free", 0, "tier_seat"),)


async def guests(database: Database, now: datetime, *names: str, size: int = 1000) -> None:
    """A live Space, spc_one, and a ticket for it for each of these: tkt_<name>_1."""
    await box_office.run(database, now, size=size, tiers=FREE)
    await come(database, now, *names)


async def come(database: Database, now: datetime, *names: str) -> None:
    """A ticket more for each of these, numbered in their order."""
    for name in names:
        assert await box_office.claim(database, name, now=now) == "held"
        await box_office.sold(database, [name], now)


async def shows(database: Database, name: str, now: datetime) -> str:
    """What somebody's QR code says."""
    return await database.run(door_keys.sign, f"tkt_{name}_1", now=now)


async def scanned(database: Database, text: str, now: datetime, door: str = "north") -> str:
    """What becomes of a scan at a door of spc_one: admitted, or the code of the refusal."""
    wish = AdmissionWish(f"adm_{secrets.token_hex(8)}", text, "spc_one", door)
    try:
        await admissions.admit(database, wish, now=now)
    except TakingsError as error:
        return error.code
    return "admitted"


async def passed_on(database: Database, name: str, to: str = "lis_eve") -> None:
    """Somebody else has the ticket now, and a pass of their own."""
    await database.fetch(PASS_ON, f"tkt_{name}_1", to, secrets.token_bytes(16))


PASS_ON = """
UPDATE tickets SET listener_id = $2, secret = $3, serial = serial + 1 WHERE id = $1
"""


async def given_back(database: Database, name: str, now: datetime) -> None:
    """The ticket is void, and its place free."""
    ids = [f"tkt_{name}_1"]
    await database.fetch("SELECT void_tickets($1, $2, 'asked', $3)", "run_one", ids, now)
