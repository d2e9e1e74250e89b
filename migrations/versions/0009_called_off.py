"""Called off: Spaces that are moved, cancelled, or that nobody opened.

Revision ID: 0009
Revises: 0008
"""

from alembic import context, op

from migrations import statements

revision = "0009"
down_revision = "0008"
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
