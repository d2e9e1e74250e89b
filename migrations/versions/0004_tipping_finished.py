"""Tipping, finished: undo, tabs, presets, caps.

Revision ID: 0004
Revises: 0003
"""

from alembic import context, op

from migrations import statements

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = """
ALTER TABLE tips ADD COLUMN cancelled_at timestamptz;
"""

GRANTS = """
GRANT UPDATE (cancelled_at) ON tips TO {app};
"""

DROPS = """
ALTER TABLE tips DROP COLUMN cancelled_at;
"""


def upgrade() -> None:
    grants = GRANTS.format(app=context.config.attributes["app_role"])
    for statement in statements(TABLES, grants):
        op.execute(statement)


def downgrade() -> None:
    for statement in statements(DROPS):
        op.execute(statement)
