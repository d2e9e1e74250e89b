"""How Alembic runs here: as the owner, over asyncpg, and never waiting long for a lock."""

import asyncio
from typing import Any

from alembic import context
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import api.tables
import takings.ledger.tables
import takings.payments.dispute_tables
import takings.payments.stripe_tables
import takings.payments.tables
import takings.payouts.tables
import takings.policies.tables
import takings.spaces.tables
import ticketing.door_tables
import ticketing.sale_tables
import ticketing.tables
import tipping.tables
from takings.records import Row

MODELS = (  # named, so that what only has to be imported is not imported for nothing
    api.tables,
    takings.ledger.tables,
    takings.payments.dispute_tables,
    takings.payments.stripe_tables,
    takings.payments.tables,
    takings.payouts.tables,
    takings.policies.tables,
    takings.spaces.tables,
    ticketing.door_tables,
    ticketing.sale_tables,
    ticketing.tables,
    tipping.tables,
)

attributes = context.config.attributes


def ours(name: str | None, kind: str, _parents: Any) -> bool:
    """Whether the object belongs to the model: partitions are their parents' business."""
    return kind != "table" or name in Row.metadata.tables


def run(connection: Connection) -> None:
    """Run the migrations on this connection, each in a transaction of its own."""
    context.configure(
        connection=connection,
        target_metadata=Row.metadata,
        include_name=ours,
        transaction_per_migration=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        # A migration that waits for a lock makes everybody behind it wait: rather fail and retry.
        connection.exec_driver_sql("SET lock_timeout = '2s'")
        context.run_migrations()


async def online() -> None:
    """Connect as the owner, run, and let go."""
    engine = create_async_engine(attributes["url"], poolclass=NullPool)  # a lock must not linger
    async with engine.connect() as connection:
        # Two that start at once: the second waits here, and then finds nothing to do.
        await connection.exec_driver_sql("SELECT pg_advisory_lock(hashtext('takings migrations'))")
        await connection.commit()
        await connection.run_sync(run)
        await connection.commit()


if context.is_offline_mode():
    context.configure(
        dialect_name="postgresql",
        dialect_opts={"paramstyle": "named"},  # so that a % stays one %
        target_metadata=Row.metadata,
    )
    context.run_migrations()
else:
    asyncio.run(online())
