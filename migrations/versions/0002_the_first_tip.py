"""The first tip: hosts and Spaces, policies, payments with Stripe, tips, and keys to the door.

Revision ID: 0002
Revises: 0001
"""

from alembic import context, op

from migrations import statements

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SPACES = """
CREATE TABLE hosts (
  id varchar NOT NULL,
  name varchar NOT NULL,
  stripe_account varchar,
  created_at timestamptz NOT NULL,
  CONSTRAINT hosts_pk PRIMARY KEY (id),
  CONSTRAINT hosts_id_well_formed CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9_.-]*$' AND length(id) <= 64),
  CONSTRAINT hosts_stripe_account_key UNIQUE (stripe_account)
);

CREATE TABLE policies (
  name varchar NOT NULL,
  version smallint NOT NULL,
  rules jsonb NOT NULL,
  created_at timestamptz NOT NULL,
  CONSTRAINT policies_pk PRIMARY KEY (name, version)
);

CREATE TABLE lifetime_sales (
  host_id varchar NOT NULL,
  currency char(3) NOT NULL,
  minor bigint NOT NULL,
  CONSTRAINT lifetime_sales_pk PRIMARY KEY (host_id, currency),
  CONSTRAINT lifetime_sales_not_negative CHECK (minor >= 0),
  CONSTRAINT lifetime_sales_host_id_fk FOREIGN KEY(host_id) REFERENCES hosts (id)
);

CREATE TABLE spaces (
  id varchar NOT NULL,
  host_id varchar NOT NULL,
  title varchar NOT NULL,
  state varchar NOT NULL,
  policy varchar NOT NULL,
  policy_version smallint NOT NULL,
  agreement_version smallint NOT NULL,
  starts_at timestamptz,
  live_at timestamptz,
  ended_at timestamptz,
  created_at timestamptz NOT NULL,
  CONSTRAINT spaces_pk PRIMARY KEY (id),
  CONSTRAINT spaces_id_well_formed CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9_.-]*$' AND length(id) <= 64),
  CONSTRAINT spaces_state_known CHECK (state IN ('scheduled', 'live', 'ended', 'cancelled')),
  CONSTRAINT spaces_ended_at_a_time CHECK (state <> 'ended' OR ended_at IS NOT NULL),
  CONSTRAINT spaces_policy_policy_version_fk
    FOREIGN KEY(policy, policy_version) REFERENCES policies (name, version),
  CONSTRAINT spaces_host_id_fk FOREIGN KEY(host_id) REFERENCES hosts (id)
);

CREATE TABLE agreements (
  space_id varchar NOT NULL,
  version smallint NOT NULL,
  created_at timestamptz NOT NULL,
  CONSTRAINT agreements_pk PRIMARY KEY (space_id, version),
  CONSTRAINT agreements_space_id_fk FOREIGN KEY(space_id) REFERENCES spaces (id)
);

CREATE TABLE shares (
  space_id varchar NOT NULL,
  version smallint NOT NULL,
  position smallint NOT NULL,
  host_id varchar NOT NULL,
  weight smallint NOT NULL,
  CONSTRAINT shares_pk PRIMARY KEY (space_id, version, position),
  CONSTRAINT shares_space_id_version_fk
    FOREIGN KEY(space_id, version) REFERENCES agreements (space_id, version),
  CONSTRAINT shares_space_id_version_host_id_key UNIQUE (space_id, version, host_id),
  CONSTRAINT shares_weight_in_range CHECK (weight BETWEEN 1 AND 10000),
  CONSTRAINT shares_host_id_fk FOREIGN KEY(host_id) REFERENCES hosts (id)
);
"""

# Sum 10 000 is the law of a whole agreement, so it is looked at when its shares are all written.
WHOLE = """
CREATE FUNCTION shares_are_whole() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE guilty record;
BEGIN
  SELECT s.space_id, s.version, sum(s.weight) AS weight INTO guilty
    FROM shares s JOIN (SELECT DISTINCT space_id, version FROM written) w USING (space_id, version)
   GROUP BY s.space_id, s.version HAVING sum(s.weight) <> 10000 LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'the shares of % version % sum to %, not 10000',
                    guilty.space_id, guilty.version, guilty.weight
      USING ERRCODE = 'check_violation', CONSTRAINT = 'shares_sum_to_all', TABLE = 'shares';
  END IF;
  RETURN NULL;
END $$;

CREATE TRIGGER whole AFTER INSERT ON shares
  REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION shares_are_whole();
ALTER TABLE shares ENABLE ALWAYS TRIGGER whole;

CREATE FUNCTION agreement_has_shares() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM shares WHERE space_id = NEW.space_id AND version = NEW.version) THEN
    RAISE EXCEPTION 'the agreement of % version % has no shares', NEW.space_id, NEW.version
      USING ERRCODE = 'check_violation', CONSTRAINT = 'agreements_have_shares',
            TABLE = 'agreements';
  END IF;
  RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER whole AFTER INSERT ON agreements
  DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION agreement_has_shares();
ALTER TABLE agreements ENABLE ALWAYS TRIGGER whole;

SELECT make_final('policies'), make_final('agreements'), make_final('shares');
"""

PAYMENTS = """
CREATE TABLE asks (
  key varchar NOT NULL,
  call varchar NOT NULL,
  params jsonb NOT NULL,
  first_asked_at timestamptz NOT NULL,
  leased_until timestamptz NOT NULL,
  attempts integer NOT NULL,
  answered_at timestamptz,
  CONSTRAINT asks_pk PRIMARY KEY (key)
);
CREATE INDEX asks_due_idx ON asks (leased_until) WHERE answered_at IS NULL;

CREATE TABLE cash (
  id varchar NOT NULL,
  category varchar NOT NULL,
  source varchar,
  subject varchar NOT NULL,
  payment_id varchar,
  currency char(3) NOT NULL,
  minor bigint NOT NULL,
  fee bigint NOT NULL,
  net bigint NOT NULL,
  created_at timestamptz NOT NULL,
  available_on timestamptz NOT NULL,
  matured_at timestamptz,
  CONSTRAINT cash_pk PRIMARY KEY (id)
);
CREATE INDEX cash_pending_idx ON cash (available_on) WHERE matured_at IS NULL;
CREATE INDEX cash_payment_id_idx ON cash (payment_id);
CREATE INDEX cash_subject_idx ON cash (subject);

CREATE TABLE cursors (
  name varchar NOT NULL,
  value varchar NOT NULL,
  swept_at timestamptz NOT NULL,
  CONSTRAINT cursors_pk PRIMARY KEY (name)
);

CREATE TABLE events (
  id varchar NOT NULL,
  endpoint varchar NOT NULL,
  type varchar NOT NULL,
  api_version varchar,
  account varchar,
  livemode boolean NOT NULL,
  created_at timestamptz NOT NULL,
  received_at timestamptz NOT NULL,
  payload bytea NOT NULL,
  status varchar NOT NULL,
  attempts integer NOT NULL,
  next_at timestamptz NOT NULL,
  handled_at timestamptz,
  error varchar,
  CONSTRAINT events_pk PRIMARY KEY (id),
  CONSTRAINT events_status_known CHECK (status IN ('received', 'done', 'failed', 'parked')),
  CONSTRAINT events_done_at_a_time CHECK (status <> 'done' OR handled_at IS NOT NULL)
);
CREATE INDEX events_due_idx ON events (next_at) WHERE status IN ('received', 'failed');
CREATE INDEX events_received_at_id_idx ON events (received_at, id);

CREATE TABLE payments (
  id varchar NOT NULL,
  listener_id varchar NOT NULL,
  surface varchar NOT NULL,
  state varchar NOT NULL,
  minor bigint NOT NULL,
  currency char(3) NOT NULL,
  fees_covered bigint NOT NULL,
  intent_id varchar,
  session_id varchar,
  charge_id varchar,
  client_secret varchar,
  url varchar,
  created_at timestamptz NOT NULL,
  paid_at timestamptz,
  released_at timestamptz,
  looked_at timestamptz,
  CONSTRAINT payments_pk PRIMARY KEY (id),
  CONSTRAINT payments_state_known
    CHECK (state IN ('open', 'authorised', 'processing', 'paid', 'cancelled')),
  CONSTRAINT payments_surface_known CHECK (surface IN ('checkout', 'intent', 'saved')),
  CONSTRAINT payments_positive CHECK (minor > 0),
  CONSTRAINT payments_paid_at_a_time CHECK ((state = 'paid') = (paid_at IS NOT NULL)),
  CONSTRAINT payments_intent_id_key UNIQUE (intent_id),
  CONSTRAINT payments_session_id_key UNIQUE (session_id),
  CONSTRAINT payments_charge_id_key UNIQUE (charge_id)
);
CREATE INDEX payments_created_at_id_idx ON payments (created_at, id);
CREATE INDEX payments_listener_id_idx ON payments (listener_id);
CREATE INDEX payments_open_idx ON payments (created_at) WHERE state <> 'paid';
CREATE INDEX payments_release_idx ON payments (id) WHERE state = 'paid' AND released_at IS NULL;

CREATE TABLE refunds (
  id varchar NOT NULL,
  payment_id varchar NOT NULL,
  state varchar NOT NULL,
  minor bigint NOT NULL,
  currency char(3) NOT NULL,
  reason varchar NOT NULL,
  stripe_id varchar,
  error varchar,
  created_at timestamptz NOT NULL,
  booked_at timestamptz,
  CONSTRAINT refunds_pk PRIMARY KEY (id),
  CONSTRAINT refunds_id_well_formed
    CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9_.-]*$' AND length(id) <= 64),
  CONSTRAINT refunds_state_known CHECK (state IN ('asked', 'booked', 'failed', 'refused')),
  CONSTRAINT refunds_positive CHECK (minor > 0),
  CONSTRAINT refunds_payment_id_fk FOREIGN KEY(payment_id) REFERENCES payments (id),
  CONSTRAINT refunds_stripe_id_key UNIQUE (stripe_id)
);
CREATE INDEX refunds_payment_id_idx ON refunds (payment_id);

CREATE TABLE lines (
  id varchar NOT NULL,
  payment_id varchar NOT NULL,
  kind varchar NOT NULL,
  subject varchar NOT NULL,
  space_id varchar NOT NULL,
  agreement_version smallint NOT NULL,
  policy varchar NOT NULL,
  policy_version smallint NOT NULL,
  currency char(3) NOT NULL,
  minor bigint NOT NULL,
  fees_covered bigint NOT NULL,
  refunding bigint NOT NULL,
  returned bigint NOT NULL,
  CONSTRAINT lines_pk PRIMARY KEY (id),
  CONSTRAINT lines_space_id_agreement_version_fk
    FOREIGN KEY(space_id, agreement_version) REFERENCES agreements (space_id, version),
  CONSTRAINT lines_policy_policy_version_fk
    FOREIGN KEY(policy, policy_version) REFERENCES policies (name, version),
  CONSTRAINT lines_positive CHECK (minor > 0),
  CONSTRAINT lines_returns_no_more_than_paid
    CHECK (returned >= 0 AND refunding >= 0 AND returned + refunding <= minor + fees_covered),
  CONSTRAINT lines_payment_id_fk FOREIGN KEY(payment_id) REFERENCES payments (id)
);
CREATE INDEX lines_payment_id_idx ON lines (payment_id);

CREATE TABLE allotments (
  line_id varchar NOT NULL,
  position smallint NOT NULL,
  host_id varchar,
  account varchar NOT NULL,
  gross bigint NOT NULL,
  credited bigint NOT NULL,
  taken bigint NOT NULL,
  held bigint NOT NULL,
  CONSTRAINT allotments_pk PRIMARY KEY (line_id, position),
  CONSTRAINT allotments_not_negative CHECK (credited >= 0),
  CONSTRAINT allotments_takes_no_more_than_credited CHECK (taken BETWEEN 0 AND credited),
  CONSTRAINT allotments_holds_no_more_than_credited CHECK (held BETWEEN 0 AND credited),
  CONSTRAINT allotments_line_id_fk FOREIGN KEY(line_id) REFERENCES lines (id),
  CONSTRAINT allotments_host_id_fk FOREIGN KEY(host_id) REFERENCES hosts (id)
);

CREATE TABLE refund_lines (
  refund_id varchar NOT NULL,
  line_id varchar NOT NULL,
  minor bigint NOT NULL,
  CONSTRAINT refund_lines_pk PRIMARY KEY (refund_id, line_id),
  CONSTRAINT refund_lines_positive CHECK (minor > 0),
  CONSTRAINT refund_lines_refund_id_fk FOREIGN KEY(refund_id) REFERENCES refunds (id),
  CONSTRAINT refund_lines_line_id_fk FOREIGN KEY(line_id) REFERENCES lines (id)
);
"""

TIPS = """
CREATE TABLE tips (
  id varchar NOT NULL,
  payment_id varchar NOT NULL,
  space_id varchar NOT NULL,
  listener_id varchar NOT NULL,
  minor bigint NOT NULL,
  currency char(3) NOT NULL,
  message varchar,
  anonymous boolean NOT NULL,
  created_at timestamptz NOT NULL,
  settled_at timestamptz,
  CONSTRAINT tips_pk PRIMARY KEY (id),
  CONSTRAINT tips_id_well_formed CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9_.-]*$' AND length(id) <= 64),
  CONSTRAINT tips_positive CHECK (minor > 0),
  CONSTRAINT tips_payment_id_key UNIQUE (payment_id),
  CONSTRAINT tips_payment_id_fk FOREIGN KEY(payment_id) REFERENCES payments (id)
    DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT tips_space_id_fk FOREIGN KEY(space_id) REFERENCES spaces (id)
);
CREATE INDEX tips_created_at_id_idx ON tips (created_at, id);
CREATE INDEX tips_listener_id_idx ON tips (listener_id);
CREATE INDEX tips_space_id_idx ON tips (space_id);
"""

KEYS = """
CREATE TABLE api_keys (
  id varchar NOT NULL,
  name varchar NOT NULL,
  hash bytea NOT NULL,
  hint varchar NOT NULL,
  created_at timestamptz NOT NULL,
  revoked_at timestamptz,
  CONSTRAINT api_keys_pk PRIMARY KEY (id),
  CONSTRAINT api_keys_hash_key UNIQUE (hash)
);
"""

# Only what may change can be changed: amounts, owners and what was sent stay as they were written.
GRANTS = """
GRANT SELECT ON alembic_version TO {app};
GRANT SELECT, INSERT ON policies, agreements, shares, hosts, spaces, lifetime_sales, payments,
  lines, allotments, refunds, refund_lines, asks, events, cash, cursors, tips, api_keys TO {app};
GRANT UPDATE (stripe_account) ON hosts TO {app};
GRANT UPDATE (state, live_at, ended_at, agreement_version) ON spaces TO {app};
GRANT UPDATE (minor) ON lifetime_sales TO {app};
GRANT UPDATE (state, intent_id, session_id, charge_id, client_secret, url, paid_at, released_at,
              looked_at) ON payments TO {app};
GRANT UPDATE (refunding, returned) ON lines TO {app};
GRANT UPDATE (taken, held) ON allotments TO {app};
GRANT UPDATE (state, stripe_id, error, booked_at) ON refunds TO {app};
GRANT UPDATE (leased_until, attempts, answered_at) ON asks TO {app};
GRANT UPDATE (status, attempts, next_at, handled_at, error) ON events TO {app};
GRANT UPDATE (matured_at) ON cash TO {app};
GRANT UPDATE (value, swept_at) ON cursors TO {app};
GRANT UPDATE (settled_at) ON tips TO {app};
GRANT UPDATE (revoked_at) ON api_keys TO {app};
"""

DROPS = """
DROP TABLE api_keys, tips, cursors, cash, events, asks, refund_lines, refunds, allotments, lines,
  payments, lifetime_sales, shares, agreements, spaces, hosts, policies;
DROP FUNCTION shares_are_whole();
DROP FUNCTION agreement_has_shares();
"""


def upgrade() -> None:
    grants = GRANTS.format(app=context.config.attributes["app_role"])
    for statement in statements(SPACES, WHOLE, PAYMENTS, TIPS, KEYS, grants):
        op.execute(statement)


def downgrade() -> None:
    for statement in statements(DROPS):
        op.execute(statement)
