"""The work that is measured: tips earned, each an entry of four postings, two of them hot."""

import random
from datetime import UTC, datetime

from takings import records
from takings.ledger import accounts
from takings.ledger.entries import Entry, Posting
from takings.money import Money

HOSTS = [f"host_{number:05d}" for number in range(2_000)]


def earned(count: int) -> list[Entry]:
    """As many tips, each shared by two hosts: clearing and commission are hot, hosts random."""
    return [_earned(datetime.now(UTC)) for _ in range(count)]


def batches(count: int, size: int = 100) -> list[list[Entry]]:
    """As many batches of tips."""
    return [earned(size) for _ in range(count)]


def _earned(now: datetime) -> Entry:
    payment, line = records.new_id("pay"), records.new_id("lin")
    ada, bob = random.sample(HOSTS, 2)
    return Entry(
        key=f"payment:{payment}:earned",
        kind="earned",
        subject=payment,
        happened_at=now,
        postings=(
            Posting(accounts.CHARGES, Money(1_000, "eur")),
            Posting(accounts.of_host(ada, "held"), Money(-600, "eur"), line),
            Posting(accounts.of_host(bob, "held"), Money(-300, "eur"), line),
            Posting(accounts.TIP_COMMISSION, Money(-100, "eur")),
        ),
    )
