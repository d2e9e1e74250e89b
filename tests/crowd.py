"""Many hosts who shared one evening, each with money to be paid and an account to pay it to."""

from collections.abc import Sequence
from datetime import datetime

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.payments.stripe import Stripe
from tests import paying

RECIPIENT = {
    "configuration": {
        "recipient": {"capabilities": {"stripe_balance": {"stripe_transfers": {"requested": True}}}}
    },
    "contact_email": "host@example.com",
    "dashboard": "express",
    "defaults": {
        "responsibilities": {"fees_collector": "application", "losses_collector": "application"}
    },
    "identity": {"country": "de"},
}

EACH = 200
"""What each of them has earned, in minor units."""


async def earned(runtime: Runtime, box: Sandbox, many: int) -> list[str]:
    """So many hosts, in the order of their ids; at most 250, a divisor of 10 000."""
    hosts = [f"host_{number:04}" for number in range(many)]
    shares = [(host, 10_000 // many) for host in hosts]
    await paying.evening(runtime, box, EACH * many, shares=shares)
    for host in hosts:
        await _account(runtime, box, runtime.stripe, host)
    return hosts


async def _account(runtime: Runtime, box: Sandbox, door: Stripe, host: str) -> None:
    made = await door.ask("v2.core.accounts.create", RECIPIENT, f"account of {host}")
    box.capability(made["id"])
    sql = "UPDATE hosts SET stripe_account = $2, capability = 'active' WHERE id = $1"
    await runtime.database.fetch(sql, host, made["id"])


async def restricted(runtime: Runtime, box: Sandbox, host: str) -> None:
    """Stripe wants more papers of the host, and lets nobody send them money meanwhile."""
    sql = "UPDATE hosts SET capability = 'restricted' WHERE id = $1 RETURNING stripe_account"
    [row] = await runtime.database.fetch(sql, host)
    box.capability(row.stripe_account, "restricted")


async def sums(runtime: Runtime, box: Sandbox) -> list[int]:
    """What each host's account at Stripe has, in the order of the hosts."""
    rows = await runtime.database.fetch("SELECT stripe_account FROM hosts ORDER BY id")
    return [box.balance("eur", row.stripe_account)["available"] for row in rows]


async def states(runtime: Runtime) -> dict[str, int]:
    """How many payouts are in which state."""
    rows = await runtime.database.fetch(
        "SELECT state, count(*) AS n FROM payouts GROUP BY state ORDER BY state"
    )
    return {row.state: row.n for row in rows}


def once(many: int) -> Sequence[int]:
    """Everybody has been sent what they earned, once."""
    return [EACH] * many


def at(text: str) -> datetime:
    """An instant in UTC."""
    return datetime.fromisoformat(f"{text}T12:00:00+00:00")
