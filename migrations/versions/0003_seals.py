"""The seals: a hash chain over the journal, written beside it.

Revision ID: 0003
Revises: 0002
"""

from alembic import context, op

from migrations import statements

revision = "0003"
down_revision = "0002"
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
