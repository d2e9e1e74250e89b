"""Paid out: plans, batches, payouts, transfers and their reversals.

Revision ID: 0012
Revises: 0011
"""

from alembic import context, op

from migrations import statements

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# ``capability`` is what Stripe says of the host's account: only an active one can be sent money.
HOSTS = """
ALTER TABLE hosts ADD COLUMN capability varchar NOT NULL DEFAULT 'none';
ALTER TABLE hosts ADD CONSTRAINT hosts_capability_known CHECK (
  capability IN ('none', 'pending', 'restricted', 'active', 'rejected', 'unsupported', 'closed'));

CREATE TABLE payout_plans (
  host_id varchar NOT NULL,
  version integer NOT NULL,
  schedule varchar NOT NULL,
  anchor smallint,
  minimums jsonb NOT NULL,
  next_on date,
  paused_at timestamptz,
  paused_why varchar,
  paused_by varchar,
  updated_at timestamptz NOT NULL,
  CONSTRAINT payout_plans_pk PRIMARY KEY (host_id),
  CONSTRAINT payout_plans_schedule_known
    CHECK (schedule IN ('manual', 'daily', 'weekly', 'monthly')),
  CONSTRAINT payout_plans_anchored CHECK (
    CASE schedule WHEN 'weekly' THEN coalesce(anchor, 0) BETWEEN 1 AND 7
                  WHEN 'monthly' THEN coalesce(anchor, 0) BETWEEN 1 AND 28
                  ELSE anchor IS NULL END),
  CONSTRAINT payout_plans_next_by_schedule CHECK ((schedule = 'manual') = (next_on IS NULL)),
  CONSTRAINT payout_plans_paused_by_somebody CHECK ((paused_at IS NULL) = (paused_by IS NULL)),
  CONSTRAINT payout_plans_host_id_fk FOREIGN KEY(host_id) REFERENCES hosts (id)
);
CREATE INDEX shares_host_id_idx ON shares (host_id);
CREATE INDEX cash_transfer_reversals_idx ON cash (created_at)
  WHERE category = 'transfer_reversal';
"""

# Who serves may not write balances, so it cannot lock them either, but by this: a payout is of
# what stays as it is until the payout is written.
BALANCES = """
CREATE FUNCTION lock_balances(names text[]) RETURNS SETOF bigint LANGUAGE sql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT b.account_id FROM accounts a JOIN balances b ON b.account_id = a.id
   WHERE a.name = ANY(names) ORDER BY b.account_id, b.slot FOR NO KEY UPDATE OF b
$$;
REVOKE ALL ON FUNCTION lock_balances FROM public;
"""

# A payout pays what moved on the host's available account after the last one: the postings
# numbered above after_seq up to upto_seq, and what the last one left (carried).
PAYOUTS = """
CREATE TABLE payout_batches (
  id varchar NOT NULL,
  due_on date NOT NULL,
  scheduled boolean NOT NULL,
  requested_by varchar NOT NULL,
  upto varchar NOT NULL,
  looked integer NOT NULL,
  written integer NOT NULL,
  created_at timestamptz NOT NULL,
  written_at timestamptz,
  CONSTRAINT payout_batches_pk PRIMARY KEY (id),
  CONSTRAINT payout_batches_id_well_formed
    CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9_.-]*$' AND length(id) <= 64)
);
CREATE UNIQUE INDEX payout_batches_due_on_key ON payout_batches (due_on) WHERE scheduled;
CREATE INDEX payout_batches_open_idx ON payout_batches (created_at) WHERE written_at IS NULL;

CREATE TABLE payouts (
  id varchar NOT NULL,
  host_id varchar NOT NULL,
  currency char(3) NOT NULL,
  minor bigint NOT NULL,
  state varchar NOT NULL,
  batch_id varchar,
  requested_by varchar NOT NULL,
  approved_by varchar,
  approved_at timestamptz,
  destination varchar NOT NULL,
  account_id bigint NOT NULL,
  after_seq bigint NOT NULL,
  upto_seq bigint NOT NULL,
  after_at timestamptz,
  upto_at timestamptz NOT NULL,
  brought bigint NOT NULL,
  carried bigint NOT NULL,
  error varchar,
  created_at timestamptz NOT NULL,
  ended_at timestamptz,
  CONSTRAINT payouts_pk PRIMARY KEY (id),
  CONSTRAINT payouts_id_well_formed
    CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9_.-]*$' AND length(id) <= 64),
  CONSTRAINT payouts_state_known CHECK (state IN ('waiting', 'sending', 'sent', 'refused')),
  CONSTRAINT payouts_positive CHECK (minor > 0),
  CONSTRAINT payouts_pays_something CHECK (upto_seq > after_seq OR brought > 0),
  CONSTRAINT payouts_carries_no_debt CHECK (brought >= 0 AND carried >= 0),
  CONSTRAINT payouts_by_another_person CHECK (approved_by <> requested_by),
  CONSTRAINT payouts_host_id_fk FOREIGN KEY(host_id) REFERENCES hosts (id),
  CONSTRAINT payouts_batch_id_fk FOREIGN KEY(batch_id) REFERENCES payout_batches (id),
  CONSTRAINT payouts_account_id_fk FOREIGN KEY(account_id) REFERENCES accounts (id)
);
CREATE UNIQUE INDEX payouts_under_way_key ON payouts (host_id, currency)
  WHERE state IN ('waiting', 'sending');
CREATE INDEX payouts_account_id_upto_seq_idx ON payouts (account_id, upto_seq);
CREATE INDEX payouts_created_at_id_idx ON payouts (created_at, id);
CREATE INDEX payouts_host_id_created_at_id_idx ON payouts (host_id, created_at, id);
CREATE INDEX payouts_batch_id_idx ON payouts (batch_id, id);

CREATE TABLE transfers (
  id varchar NOT NULL,
  payout_id varchar NOT NULL,
  host_id varchar NOT NULL,
  currency char(3) NOT NULL,
  minor bigint NOT NULL,
  state varchar NOT NULL,
  stripe_id varchar,
  reversing bigint NOT NULL,
  reversed bigint NOT NULL,
  error varchar,
  created_at timestamptz NOT NULL,
  sent_at timestamptz,
  CONSTRAINT transfers_pk PRIMARY KEY (id),
  CONSTRAINT transfers_stripe_id_key UNIQUE (stripe_id),
  CONSTRAINT transfers_state_known CHECK (state IN ('asked', 'sent', 'refused')),
  CONSTRAINT transfers_reverses_no_more_than_sent
    CHECK (minor > 0 AND reversing >= 0 AND reversed >= 0 AND reversing + reversed <= minor),
  CONSTRAINT transfers_payout_id_fk FOREIGN KEY(payout_id) REFERENCES payouts (id)
);
CREATE INDEX transfers_payout_id_idx ON transfers (payout_id);
CREATE INDEX transfers_host_id_currency_sent_at_idx ON transfers (host_id, currency, sent_at)
  WHERE state = 'sent';

CREATE TABLE reversals (
  id varchar NOT NULL,
  transfer_id varchar NOT NULL,
  minor bigint NOT NULL,
  state varchar NOT NULL,
  cause varchar NOT NULL,
  stripe_id varchar,
  error varchar,
  created_at timestamptz NOT NULL,
  booked_at timestamptz,
  CONSTRAINT reversals_pk PRIMARY KEY (id),
  CONSTRAINT reversals_stripe_id_key UNIQUE (stripe_id),
  CONSTRAINT reversals_state_known CHECK (state IN ('asked', 'booked', 'refused')),
  CONSTRAINT reversals_positive CHECK (minor > 0),
  CONSTRAINT reversals_transfer_id_fk FOREIGN KEY(transfer_id) REFERENCES transfers (id)
);
CREATE INDEX reversals_transfer_id_idx ON reversals (transfer_id);
"""

# What Stripe tells of a payout to a bank: the platform's own is booked, a host's is only shown.
BANK = """
CREATE TABLE bank_payouts (
  id varchar NOT NULL,
  stripe_id varchar,
  host_id varchar,
  minor bigint NOT NULL,
  currency char(3) NOT NULL,
  status varchar NOT NULL,
  failure varchar,
  arrives_on date,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  CONSTRAINT bank_payouts_pk PRIMARY KEY (id),
  CONSTRAINT bank_payouts_stripe_id_key UNIQUE (stripe_id),
  CONSTRAINT bank_payouts_id_well_formed
    CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9_.-]*$' AND length(id) <= 64),
  CONSTRAINT bank_payouts_known_to_stripe
    CHECK ((stripe_id IS NULL) = (status IN ('asked', 'refused'))),
  CONSTRAINT bank_payouts_host_id_fk FOREIGN KEY(host_id) REFERENCES hosts (id)
);
CREATE UNIQUE INDEX bank_payouts_asked_key ON bank_payouts (currency) WHERE status = 'asked';
CREATE INDEX bank_payouts_host_id_created_at_idx ON bank_payouts (host_id, created_at);
"""

GRANTS = """
GRANT SELECT, INSERT ON payout_plans, payout_batches, payouts, transfers, reversals, bank_payouts
  TO {app};
GRANT UPDATE (capability) ON hosts TO {app};
GRANT UPDATE (version, schedule, anchor, minimums, next_on, paused_at, paused_why, paused_by,
              updated_at)
  ON payout_plans TO {app};
GRANT EXECUTE ON FUNCTION lock_balances TO {app};
GRANT UPDATE (upto, looked, written, written_at) ON payout_batches TO {app};
GRANT UPDATE (state, approved_by, approved_at, error, ended_at) ON payouts TO {app};
GRANT UPDATE (state, stripe_id, reversing, reversed, error, sent_at) ON transfers TO {app};
GRANT UPDATE (state, stripe_id, error, booked_at) ON reversals TO {app};
GRANT UPDATE (stripe_id, status, failure, arrives_on, updated_at) ON bank_payouts TO {app};
GRANT UPDATE (params) ON asks TO {app};
"""

DROPS = """
DROP TABLE bank_payouts, reversals, transfers, payouts, payout_batches, payout_plans;
ALTER TABLE hosts DROP COLUMN capability;
DROP INDEX shares_host_id_idx, cash_transfer_reversals_idx;
DROP FUNCTION lock_balances;
REVOKE UPDATE (params) ON asks FROM {app};
"""


def upgrade() -> None:
    grants = GRANTS.format(app=context.config.attributes["app_role"])
    for statement in statements(HOSTS, BALANCES, PAYOUTS, BANK, grants):
        op.execute(statement)


def downgrade() -> None:
    for statement in statements(DROPS.format(app=context.config.attributes["app_role"])):
        op.execute(statement)
