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
CREATE TABLE seals (
  n         bigint      NOT NULL,
  entry_id  varchar     NOT NULL,
  posted_at timestamptz NOT NULL,
  digest    bytea       NOT NULL,
  CONSTRAINT seals_pk PRIMARY KEY (n),
  CONSTRAINT seals_entry_id_key UNIQUE (entry_id),
  CONSTRAINT seals_counted_from_one CHECK (n > 0),
  CONSTRAINT seals_digest_is_sha256 CHECK (octet_length(digest) = 32)
);
SELECT make_final('seals');

-- What was posted lately is found by one summary for each megabyte of the journal, which is written
-- when that megabyte is full: so posting does not pay for it.
CREATE INDEX entries_posted_at_idx ON entries USING brin (posted_at) WITH (autosummarize = on);
"""

GRANTS = """
GRANT SELECT, INSERT ON seals TO {app};
"""

DROPS = """
DROP INDEX entries_posted_at_idx;
DROP TABLE seals;
"""


def upgrade() -> None:
    grants = GRANTS.format(app=context.config.attributes["app_role"])
    for statement in statements(TABLES, grants):
        op.execute(statement)


def downgrade() -> None:
    for statement in statements(DROPS):
        op.execute(statement)
