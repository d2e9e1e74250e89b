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

# A ticket is admitted once: its row is its admission, of whichever door was first.  What a key has
# signed is read by its public half; the private one is gone when the next key takes over.
TABLES = """
CREATE TABLE signing_keys (
  id varchar NOT NULL,
  public bytea NOT NULL,
  private bytea,
  withdrawn boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL,
  retired_at timestamptz,
  CONSTRAINT signing_keys_pk PRIMARY KEY (id),
  CONSTRAINT signing_keys_of_256_bits
    CHECK (octet_length(public) = 32 AND octet_length(private) = 32),
  CONSTRAINT signing_keys_retired_without_private
    CHECK ((retired_at IS NULL) = (private IS NOT NULL)),
  CONSTRAINT signing_keys_withdrawn_when_retired CHECK (retired_at IS NOT NULL OR NOT withdrawn)
);
CREATE UNIQUE INDEX signing_keys_one_at_a_time_idx ON signing_keys ((true))
  WHERE retired_at IS NULL;

CREATE TABLE admissions (
  ticket_id varchar NOT NULL,
  id varchar NOT NULL,
  space_id varchar NOT NULL,
  door varchar NOT NULL,
  place varchar,
  happened_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL,
  CONSTRAINT admissions_pk PRIMARY KEY (ticket_id),
  CONSTRAINT admissions_id_key UNIQUE (id),
  CONSTRAINT admissions_id_well_formed
    CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9_.-]*$' AND length(id) <= 64),
  CONSTRAINT admissions_ticket_id_fk FOREIGN KEY(ticket_id) REFERENCES tickets (id),
  CONSTRAINT admissions_space_id_fk FOREIGN KEY(space_id) REFERENCES spaces (id)
);
CREATE INDEX admissions_created_at_id_idx ON admissions (created_at, id);
CREATE INDEX admissions_space_id_idx ON admissions (space_id);

CREATE TABLE admission_conflicts (
  ticket_id varchar NOT NULL,
  door varchar NOT NULL,
  happened_at timestamptz NOT NULL,
  space_id varchar NOT NULL,
  place varchar,
  cause varchar NOT NULL,
  created_at timestamptz NOT NULL,
  CONSTRAINT admission_conflicts_pk PRIMARY KEY (ticket_id, door, happened_at),
  CONSTRAINT admission_conflicts_ticket_id_fk FOREIGN KEY(ticket_id) REFERENCES tickets (id),
  CONSTRAINT admission_conflicts_space_id_fk FOREIGN KEY(space_id) REFERENCES spaces (id)
);
CREATE INDEX admission_conflicts_space_id_idx ON admission_conflicts (space_id);
"""

GRANTS = """
GRANT SELECT, INSERT ON signing_keys, admissions, admission_conflicts TO {app};
GRANT UPDATE (private, withdrawn, retired_at) ON signing_keys TO {app};
GRANT UPDATE (door, place, happened_at) ON admissions TO {app};
"""

DROPS = """
DROP TABLE admission_conflicts, admissions, signing_keys;
"""


def upgrade() -> None:
    grants = GRANTS.format(app=context.config.attributes["app_role"])
    for statement in statements(TABLES, grants):
        op.execute(statement)


def downgrade() -> None:
    for statement in statements(DROPS):
        op.execute(statement)
