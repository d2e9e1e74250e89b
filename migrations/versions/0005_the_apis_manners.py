"""The API's manners: scoped keys, acts and their answers, limits.

Revision ID: 0005
Revises: 0004
"""

from alembic import context, op

from migrations import statements

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TABLES = """
ALTER TABLE api_keys
  ADD COLUMN actor varchar,
  ADD COLUMN scopes varchar[] NOT NULL DEFAULT '{admin}',
  ADD COLUMN live boolean NOT NULL DEFAULT false,
  ADD COLUMN version varchar NOT NULL DEFAULT '2026-11-20',
  ADD COLUMN expires_at timestamptz;
UPDATE api_keys SET live = hint LIKE 'tk_live%', actor = id;
-- squawk-ignore adding-not-nullable-field -- there are as many rows as keys
ALTER TABLE api_keys ALTER COLUMN actor SET NOT NULL;
-- squawk-ignore ban-drop-default -- it was for the keys that were there
ALTER TABLE api_keys ALTER COLUMN scopes DROP DEFAULT;
-- squawk-ignore ban-drop-default -- as above
ALTER TABLE api_keys ALTER COLUMN live DROP DEFAULT;
-- squawk-ignore ban-drop-default -- as above
ALTER TABLE api_keys ALTER COLUMN version DROP DEFAULT;

-- Whoever changes a key, by whatever way, every process forgets what it knew of keys.
CREATE FUNCTION keys_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('takings_keys', '');
  RETURN NULL;
END $$;
CREATE TRIGGER changed AFTER INSERT OR UPDATE OR DELETE ON api_keys
  FOR EACH STATEMENT EXECUTE FUNCTION keys_changed();

CREATE TABLE acts (
  id varchar NOT NULL,
  actor varchar NOT NULL,
  key varchar NOT NULL,
  operation varchar NOT NULL,
  target varchar NOT NULL,
  fingerprint bytea NOT NULL,
  begun_at timestamptz NOT NULL,
  leased_until timestamptz NOT NULL,
  attempts integer NOT NULL,
  status smallint,
  media varchar,
  answer bytea,
  etag varchar,
  ended_at timestamptz,
  CONSTRAINT acts_pk PRIMARY KEY (id),
  CONSTRAINT acts_actor_key_key UNIQUE (actor, key)
);
CREATE INDEX acts_begun_at_id_idx ON acts (begun_at, id);
CREATE INDEX acts_answers_idx ON acts (ended_at) WHERE answer IS NOT NULL;

-- What waits for a person is few among many: counted at every scrape of the metrics.
CREATE INDEX events_parked_idx ON events (received_at) WHERE status = 'parked';

-- What a crash forgets of the limits, nobody misses.
CREATE UNLOGGED TABLE limits (
  actor varchar NOT NULL,
  spent_until timestamptz NOT NULL,
  CONSTRAINT limits_pk PRIMARY KEY (actor)
);
"""

GRANTS = """
GRANT UPDATE (expires_at) ON api_keys TO {app};
GRANT SELECT, INSERT ON acts, limits TO {app};
GRANT UPDATE (operation, target, fingerprint, leased_until, attempts, status, media, answer,
              etag, ended_at) ON acts TO {app};
GRANT UPDATE (spent_until) ON limits TO {app};
"""

DROPS = """
DROP INDEX events_parked_idx;
DROP TABLE limits, acts;
DROP TRIGGER changed ON api_keys;
DROP FUNCTION keys_changed();
ALTER TABLE api_keys
  DROP COLUMN actor, DROP COLUMN scopes, DROP COLUMN live, DROP COLUMN version,
  DROP COLUMN expires_at;
"""


def upgrade() -> None:
    grants = GRANTS.format(app=context.config.attributes["app_role"])
    for statement in statements(TABLES, grants):
        op.execute(statement)


def downgrade() -> None:
    for statement in statements(DROPS):
        op.execute(statement)
