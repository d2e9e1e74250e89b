"""Agreed: agreements that every payee signs, shares that wait for their payee, who is on stage.

Revision ID: 0010
Revises: 0009
"""

from alembic import context, op

from migrations import statements

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# What was agreed before is in force: it was sold under.
AGREEMENTS = """
ALTER TABLE agreements ADD COLUMN tips varchar NOT NULL DEFAULT 'shares';
ALTER TABLE agreements ADD CONSTRAINT agreements_tips_known CHECK (tips IN ('shares', 'stage'));
ALTER TABLE agreements ADD COLUMN signed_at timestamptz;
UPDATE agreements SET signed_at = created_at;
-- squawk-ignore ban-drop-not-null -- only new code makes one
ALTER TABLE spaces ALTER COLUMN agreement_version DROP NOT NULL;

ALTER TABLE shares ADD COLUMN claim_days smallint;
ALTER TABLE shares ADD COLUMN unclaimed varchar;
ALTER TABLE shares ADD CONSTRAINT shares_unclaimed_known
  CHECK (unclaimed IN ('others', 'listener'));
ALTER TABLE shares ADD CONSTRAINT shares_claimed_in_time
  CHECK ((claim_days IS NULL) = (unclaimed IS NULL) AND claim_days > 0);

CREATE TABLE signatures (
  space_id varchar NOT NULL,
  version smallint NOT NULL,
  host_id varchar NOT NULL,
  actor varchar NOT NULL,
  signed_at timestamptz NOT NULL,
  CONSTRAINT signatures_pk PRIMARY KEY (space_id, version, host_id),
  CONSTRAINT signatures_space_id_version_host_id_fk FOREIGN KEY(space_id, version, host_id)
    REFERENCES shares (space_id, version, host_id)
);
"""

# A tip goes to who is on stage when it is given, where the agreement says so.
STAGE = """
CREATE TABLE speakers (
  space_id varchar NOT NULL,
  host_id varchar NOT NULL,
  joined_at timestamptz NOT NULL,
  left_at timestamptz,
  CONSTRAINT speakers_pk PRIMARY KEY (space_id, host_id, joined_at),
  CONSTRAINT speakers_left_after_joining CHECK (left_at >= joined_at),
  CONSTRAINT speakers_space_id_fk FOREIGN KEY(space_id) REFERENCES spaces (id),
  CONSTRAINT speakers_host_id_fk FOREIGN KEY(host_id) REFERENCES hosts (id)
);
CREATE UNIQUE INDEX speakers_on_stage_key ON speakers (space_id, host_id) WHERE left_at IS NULL;

ALTER TABLE lines ADD COLUMN on_stage smallint[];
"""

GRANTS = """
GRANT SELECT, INSERT ON signatures, speakers TO {app};
GRANT UPDATE (signed_at) ON agreements TO {app};
GRANT UPDATE (left_at) ON speakers TO {app};
"""

DROPS = """
ALTER TABLE lines DROP COLUMN on_stage;
DROP TABLE speakers, signatures;
ALTER TABLE shares DROP COLUMN claim_days, DROP COLUMN unclaimed;
DELETE FROM spaces WHERE agreement_version IS NULL;
ALTER TABLE spaces ALTER COLUMN agreement_version SET NOT NULL;
REVOKE UPDATE (signed_at) ON agreements FROM {app};
ALTER TABLE agreements DROP COLUMN signed_at, DROP COLUMN tips;
"""


def upgrade() -> None:
    grants = GRANTS.format(app=context.config.attributes["app_role"])
    for statement in statements(AGREEMENTS, STAGE, grants):
        op.execute(statement)


def downgrade() -> None:
    for statement in statements(DROPS.format(app=context.config.attributes["app_role"])):
        op.execute(statement)
