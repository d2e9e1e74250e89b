"""Taken back: disputes, what is frozen for them, rolling reserves, shares that are parked.

Revision ID: 0011
Revises: 0010
"""

from alembic import context, op

from migrations import statements

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

DISPUTES = """
CREATE TABLE disputes (
  id varchar NOT NULL,
  payment_id varchar NOT NULL,
  kind varchar NOT NULL,
  status varchar NOT NULL,
  reason varchar NOT NULL,
  minor bigint NOT NULL,
  currency char(3) NOT NULL,
  taken bigint NOT NULL,
  frozen bigint NOT NULL,
  stage smallint NOT NULL,
  moves smallint NOT NULL,
  due_by timestamptz,
  created_at timestamptz NOT NULL,
  closed_at timestamptz,
  CONSTRAINT disputes_pk PRIMARY KEY (id),
  CONSTRAINT disputes_payment_id_fk FOREIGN KEY(payment_id) REFERENCES payments (id),
  CONSTRAINT disputes_kind_known CHECK (kind IN ('dispute', 'charge_failure')),
  CONSTRAINT disputes_takes_no_more_than_disputed
    CHECK (minor > 0 AND taken >= 0 AND frozen >= 0 AND taken + frozen <= minor)
);
CREATE INDEX disputes_payment_id_idx ON disputes (payment_id);
CREATE INDEX disputes_created_at_id_idx ON disputes (created_at, id);
CREATE INDEX disputes_inquiry_idx ON disputes (payment_id) WHERE stage = 1;

ALTER TABLE payments ADD COLUMN lost bigint NOT NULL DEFAULT 0;
ALTER TABLE payments ADD CONSTRAINT payments_lost_not_negative CHECK (lost >= 0);
ALTER TABLE lines ADD COLUMN disputed bigint NOT NULL DEFAULT 0;
ALTER TABLE lines ADD COLUMN frozen bigint NOT NULL DEFAULT 0;
ALTER TABLE lines ADD CONSTRAINT lines_disputes_no_more_than_paid
  CHECK (disputed >= 0 AND frozen >= 0 AND returned + disputed + frozen <= minor + fees_covered);
"""

# Where an allotment's money is, and which card fee its host has borne of it.
DRAWERS = """
ALTER TABLE payments ADD COLUMN rolls_at timestamptz;
CREATE INDEX payments_rolls_idx ON payments (rolls_at) WHERE rolls_at IS NOT NULL;
ALTER TABLE allotments ADD COLUMN reserved bigint NOT NULL DEFAULT 0;
ALTER TABLE allotments ADD COLUMN rolling bigint NOT NULL DEFAULT 0;
ALTER TABLE allotments ADD COLUMN fee bigint NOT NULL DEFAULT 0;
ALTER TABLE allotments ADD COLUMN fee_back bigint NOT NULL DEFAULT 0;
ALTER TABLE allotments ADD COLUMN dispute_fee bigint NOT NULL DEFAULT 0;
ALTER TABLE allotments ADD COLUMN parked_until timestamptz;
ALTER TABLE allotments ADD COLUMN directed boolean NOT NULL DEFAULT false;
ALTER TABLE allotments ADD CONSTRAINT allotments_drawers_not_negative
  CHECK (reserved >= 0 AND rolling >= 0 AND dispute_fee >= 0);
ALTER TABLE allotments ADD CONSTRAINT allotments_gives_back_no_more_than_the_fee
  CHECK (fee_back BETWEEN 0 AND fee);
CREATE INDEX allotments_parked_idx ON allotments (parked_until) WHERE parked_until IS NOT NULL;
CREATE INDEX allotments_parked_host_idx ON allotments (host_id) WHERE parked_until IS NOT NULL;

ALTER TABLE refunds ADD COLUMN payee varchar;
ALTER TABLE refunds ADD CONSTRAINT refunds_payee_fk FOREIGN KEY(payee) REFERENCES hosts (id);
CREATE INDEX refunds_asked_idx ON refunds (payment_id) WHERE state = 'asked';
"""

# What was taken of a host after it had gone: to be asked back of the host's own account.
RECOVERIES = """
CREATE TABLE recoveries (
  cause varchar NOT NULL,
  host_id varchar NOT NULL,
  currency char(3) NOT NULL,
  minor bigint NOT NULL,
  created_at timestamptz NOT NULL,
  looked_at timestamptz,
  CONSTRAINT recoveries_pk PRIMARY KEY (cause, host_id, currency),
  CONSTRAINT recoveries_positive CHECK (minor > 0),
  CONSTRAINT recoveries_host_id_fk FOREIGN KEY(host_id) REFERENCES hosts (id)
);
CREATE INDEX recoveries_open_idx ON recoveries (created_at) WHERE looked_at IS NULL;
"""

# A payee's parked money has an account of its own, which nobody can overdraw.
PARKED = """
-- squawk-ignore ban-drop-constraint -- it comes back at once, one kind of account wider
ALTER TABLE accounts DROP CONSTRAINT accounts_hosts_are_owed;
ALTER TABLE accounts ADD CONSTRAINT accounts_hosts_are_owed CHECK (
  owes_only = (name LIKE 'liabilities:host:%' AND name NOT LIKE '%:available'
               OR name LIKE 'liabilities:parked:%')
  AND (NOT owes_only OR slots = 1));
"""

GRANTS = """
GRANT SELECT, INSERT ON disputes, recoveries TO {app};
GRANT UPDATE (status, minor, taken, frozen, stage, moves, due_by, closed_at) ON disputes TO {app};
GRANT UPDATE (looked_at) ON recoveries TO {app};
GRANT UPDATE (lost, rolls_at) ON payments TO {app};
GRANT UPDATE (disputed, frozen) ON lines TO {app};
GRANT UPDATE (account, gross, credited, reserved, rolling, fee, fee_back, dispute_fee, parked_until,
  directed)
  ON allotments TO {app};
"""

DROPS = """
ALTER TABLE accounts DROP CONSTRAINT accounts_hosts_are_owed;
ALTER TABLE accounts ADD CONSTRAINT accounts_hosts_are_owed CHECK (
  owes_only = (name LIKE 'liabilities:host:%' AND name NOT LIKE '%:available')
  AND (NOT owes_only OR slots = 1));
DROP TABLE recoveries;
DROP INDEX refunds_asked_idx;
ALTER TABLE refunds DROP COLUMN payee;
REVOKE UPDATE (account, gross, credited) ON allotments FROM {app};
ALTER TABLE allotments DROP COLUMN reserved, DROP COLUMN rolling, DROP COLUMN fee,
  DROP COLUMN fee_back, DROP COLUMN dispute_fee, DROP COLUMN parked_until, DROP COLUMN directed;
ALTER TABLE payments DROP COLUMN rolls_at, DROP COLUMN lost;
ALTER TABLE lines DROP COLUMN disputed, DROP COLUMN frozen;
DROP TABLE disputes;
"""


def upgrade() -> None:
    grants = GRANTS.format(app=context.config.attributes["app_role"])
    for statement in statements(DISPUTES, DRAWERS, RECOVERIES, PARKED, grants):
        op.execute(statement)


def downgrade() -> None:
    for statement in statements(DROPS.format(app=context.config.attributes["app_role"])):
        op.execute(statement)
