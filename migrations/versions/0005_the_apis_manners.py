"""The API's manners: scoped keys, acts and their answers, limits.

Revision ID: 0005
Revises: 0004
"""

from alembic import context, op

from migrations import statements

revision = "0005"
down_revision = "0004"
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
