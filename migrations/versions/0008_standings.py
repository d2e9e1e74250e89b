"""Standings: what the platform states of its hosts, for gates to look at.

Revision ID: 0008
Revises: 0007
"""

from alembic import context, op

from migrations import statements

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TABLES = """
"""

GRANTS = """
"""

DROPS = """
"""


def upgrade() -> None:
    grants = GRANTS.format(app=context.config.attributes["app_role"])
    for statement in statements(TABLES, grants):
        op.execute(statement)


def downgrade() -> None:
    for statement in statements(DROPS):
        op.execute(statement)
