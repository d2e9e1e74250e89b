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
CREATE TABLE standings (
  host_id varchar NOT NULL,
  followers integer,
  age integer,
  spaces integer,
  spaces_within_days integer,
  stated_at timestamptz NOT NULL,
  CONSTRAINT standings_pk PRIMARY KEY (host_id),
  CONSTRAINT standings_not_negative
    CHECK (followers >= 0 AND age >= 0 AND spaces >= 0 AND spaces_within_days >= 0),
  CONSTRAINT standings_spaces_of_days CHECK ((spaces IS NULL) = (spaces_within_days IS NULL)),
  CONSTRAINT standings_host_id_fk FOREIGN KEY(host_id) REFERENCES hosts (id)
);
"""

GRANTS = """
GRANT SELECT, INSERT ON standings TO {app};
GRANT UPDATE (followers, age, spaces, spaces_within_days, stated_at) ON standings TO {app};
"""

DROPS = """
DROP TABLE standings;
"""


def upgrade() -> None:
    grants = GRANTS.format(app=context.config.attributes["app_role"])
    for statement in statements(TABLES, grants):
        op.execute(statement)


def downgrade() -> None:
    for statement in statements(DROPS):
        op.execute(statement)
