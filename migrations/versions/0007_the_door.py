"""The door: who has come in, and what two doors saw at once.

Revision ID: 0007
Revises: 0006
"""

from alembic import context, op

from migrations import statements

revision = "0007"
down_revision = "0006"
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
