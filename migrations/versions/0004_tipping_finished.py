"""Tipping, finished: undo, tabs, presets, caps.

Revision ID: 0004
Revises: 0003
"""

from alembic import context, op

from migrations import statements

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = """
ALTER TABLE tips ADD COLUMN cancelled_at timestamptz;
"""

# Money that is authorised first and captured later: undo, and the tips of a tab in one charge.
CAPTURES = """
ALTER TABLE payments ADD COLUMN capture varchar NOT NULL DEFAULT 'at_once';
ALTER TABLE payments ADD COLUMN capture_at timestamptz;
ALTER TABLE payments ADD CONSTRAINT payments_capture_known
  CHECK (capture IN ('at_once', 'after_undo', 'at_close'));
-- squawk-ignore ban-drop-constraint -- it comes back at once, one state wider
ALTER TABLE payments DROP CONSTRAINT payments_state_known;
ALTER TABLE payments ADD CONSTRAINT payments_state_known
  CHECK (state IN ('open', 'processing', 'authorised', 'capturing', 'paid', 'cancelled'));
CREATE INDEX payments_capture_idx ON payments (capture_at) WHERE state = 'authorised';

ALTER TABLE tips ADD COLUMN agreement_version smallint NOT NULL DEFAULT 1;
UPDATE tips t SET agreement_version = l.agreement_version
  FROM lines l WHERE l.payment_id = t.payment_id AND l.agreement_version > 1;
-- squawk-ignore ban-drop-default -- it was for the rows that were there
ALTER TABLE tips ALTER COLUMN agreement_version DROP DEFAULT;
ALTER TABLE tips ADD CONSTRAINT tips_space_id_agreement_version_fk
  FOREIGN KEY(space_id, agreement_version) REFERENCES agreements (space_id, version);
-- squawk-ignore ban-drop-constraint -- the tips of a tab share one payment
ALTER TABLE tips DROP CONSTRAINT tips_payment_id_key;
CREATE INDEX tips_payment_id_idx ON tips (payment_id);

CREATE TABLE tabs (
  id varchar NOT NULL,
  payment_id varchar NOT NULL,
  space_id varchar NOT NULL,
  listener_id varchar NOT NULL,
  cap bigint NOT NULL,
  currency char(3) NOT NULL,
  created_at timestamptz NOT NULL,
  closed_at timestamptz,
  CONSTRAINT tabs_pk PRIMARY KEY (id),
  CONSTRAINT tabs_id_well_formed CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9_.-]*$' AND length(id) <= 64),
  CONSTRAINT tabs_positive CHECK (cap > 0),
  CONSTRAINT tabs_payment_id_key UNIQUE (payment_id),
  CONSTRAINT tabs_payment_id_fk FOREIGN KEY(payment_id) REFERENCES payments (id)
    DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT tabs_space_id_fk FOREIGN KEY(space_id) REFERENCES spaces (id)
);
CREATE INDEX tabs_created_at_id_idx ON tabs (created_at, id);
CREATE INDEX tabs_listener_id_idx ON tabs (listener_id);
CREATE INDEX tabs_open_idx ON tabs (space_id) WHERE closed_at IS NULL;
"""

# What a listener is to pay was agreed when they paid: only a tab's cap becomes its sum, once.
FINAL = """
CREATE FUNCTION amount_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF OLD.capture <> 'at_close' OR OLD.state <> 'authorised' OR NEW.state <> 'capturing'
     OR NEW.minor > OLD.minor OR NEW.currency <> OLD.currency THEN
    RAISE EXCEPTION 'the amount of payment % cannot become %', OLD.id, NEW.minor
      USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_amount_is_final',
            TABLE = 'payments';
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER final BEFORE UPDATE OF minor, currency, fees_covered ON payments FOR EACH ROW
  WHEN ((OLD.minor, OLD.currency, OLD.fees_covered)
        IS DISTINCT FROM (NEW.minor, NEW.currency, NEW.fees_covered))
  EXECUTE FUNCTION amount_is_final();
ALTER TABLE payments ENABLE ALWAYS TRIGGER final;
"""

# Who a host is as a listener; how much one listener gives; what a host suggests.
RULES = """
ALTER TABLE hosts ADD COLUMN listener_id varchar;
ALTER TABLE hosts ADD CONSTRAINT hosts_listener_id_key UNIQUE (listener_id);
ALTER TABLE hosts ADD CONSTRAINT hosts_listener_id_well_formed
  CHECK (listener_id ~ '^[A-Za-z0-9][A-Za-z0-9_.-]*$' AND length(listener_id) <= 64);

CREATE INDEX tips_listener_id_created_at_idx ON tips (listener_id, created_at);
DROP INDEX tips_listener_id_idx;

CREATE TABLE tip_presets (
  host_id varchar NOT NULL,
  currency char(3) NOT NULL,
  version integer NOT NULL,
  amounts bigint[] NOT NULL,
  updated_at timestamptz NOT NULL,
  CONSTRAINT tip_presets_pk PRIMARY KEY (host_id, currency),
  CONSTRAINT tip_presets_one_to_six CHECK (cardinality(amounts) BETWEEN 1 AND 6),
  CONSTRAINT tip_presets_positive CHECK (0 < ALL (amounts)),
  CONSTRAINT tip_presets_host_id_fk FOREIGN KEY(host_id) REFERENCES hosts (id)
);
"""

# Whoever watches a room is told which of its tips have changed, a hundred ids at a time.
FEED = """
CREATE FUNCTION tips_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('takings_tips', string_agg(id, ' '))
     FROM (SELECT id, (row_number() OVER (ORDER BY id) - 1) / 100 AS part FROM written) AS w
    GROUP BY part;
  RETURN NULL;
END $$;
CREATE TRIGGER sent AFTER INSERT ON tips
  REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION tips_changed();
CREATE TRIGGER changed AFTER UPDATE ON tips
  REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION tips_changed();
"""

GRANTS = """
GRANT UPDATE (listener_id) ON hosts TO {app};
GRANT SELECT, INSERT ON tip_presets TO {app};
GRANT UPDATE (version, amounts, updated_at) ON tip_presets TO {app};
GRANT UPDATE (cancelled_at) ON tips TO {app};
GRANT UPDATE (minor, fees_covered, capture_at) ON payments TO {app};
GRANT SELECT, INSERT ON tabs TO {app};
GRANT UPDATE (closed_at) ON tabs TO {app};
"""

DROPS = """
DROP TRIGGER sent ON tips;
DROP TRIGGER changed ON tips;
DROP FUNCTION tips_changed();
DROP TABLE tip_presets;
CREATE INDEX tips_listener_id_idx ON tips (listener_id);
DROP INDEX tips_listener_id_created_at_idx;
ALTER TABLE hosts DROP COLUMN listener_id;
DROP TABLE tabs;
DROP INDEX tips_payment_id_idx;
ALTER TABLE tips ADD CONSTRAINT tips_payment_id_key UNIQUE (payment_id);
ALTER TABLE tips DROP COLUMN agreement_version;
DROP TRIGGER final ON payments;
DROP FUNCTION amount_is_final();
DROP INDEX payments_capture_idx;
ALTER TABLE payments DROP CONSTRAINT payments_state_known;
ALTER TABLE payments ADD CONSTRAINT payments_state_known
  CHECK (state IN ('open', 'authorised', 'processing', 'paid', 'cancelled'));
ALTER TABLE payments DROP COLUMN capture, DROP COLUMN capture_at;
REVOKE UPDATE (minor, fees_covered) ON payments FROM {app};
ALTER TABLE tips DROP COLUMN cancelled_at;
"""


def upgrade() -> None:
    grants = GRANTS.format(app=context.config.attributes["app_role"])
    for statement in statements(TABLES, CAPTURES, FINAL, RULES, FEED, grants):
        op.execute(statement)


def downgrade() -> None:
    for statement in statements(DROPS.format(app=context.config.attributes["app_role"])):
        op.execute(statement)
