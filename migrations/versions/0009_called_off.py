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

# A Space that was moved lets the holders of older tickets out; one that nobody opened is cancelled.
TABLES = """
ALTER TABLE spaces ADD COLUMN rescheduled_at timestamptz;
ALTER TABLE spaces ADD COLUMN no_show boolean NOT NULL DEFAULT false;
ALTER TABLE spaces ADD CONSTRAINT spaces_no_show_is_cancelled
  CHECK (state = 'cancelled' OR NOT no_show);
CREATE INDEX spaces_scheduled_idx ON spaces (starts_at) WHERE state = 'scheduled';
CREATE INDEX spaces_cancelled_idx ON spaces (id) WHERE state = 'cancelled';
"""

GRANTS = """
GRANT UPDATE (starts_at, rescheduled_at, no_show) ON spaces TO {app};
"""

DROPS = """
DROP INDEX spaces_cancelled_idx;
DROP INDEX spaces_scheduled_idx;
ALTER TABLE spaces DROP COLUMN no_show, DROP COLUMN rescheduled_at;
REVOKE UPDATE (starts_at) ON spaces FROM {app};
"""


def upgrade() -> None:
    grants = GRANTS.format(app=context.config.attributes["app_role"])
    for statement in statements(TABLES, grants):
        op.execute(statement)


def downgrade() -> None:
    drops = DROPS.format(app=context.config.attributes["app_role"])
    for statement in statements(drops):
        op.execute(statement)
