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
DROP TRIGGER final ON agreements;
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
SELECT make_final('signatures');
"""

# Of an agreement one thing changes, once: it is in force when the last who has to sign has signed.
SIGNED = """
CREATE FUNCTION agreement_is_signed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND (OLD.signed_at IS NOT NULL
     OR (OLD.space_id, OLD.version, OLD.tips, OLD.created_at)
        IS DISTINCT FROM (NEW.space_id, NEW.version, NEW.tips, NEW.created_at)) THEN
    RAISE EXCEPTION 'the agreement of % version % is final', OLD.space_id, OLD.version
      USING ERRCODE = 'check_violation', CONSTRAINT = 'journal_is_final', TABLE = 'agreements';
  END IF;
  IF TG_OP = 'INSERT' OR EXISTS (
       SELECT FROM shares s
         LEFT JOIN signatures g USING (space_id, version, host_id)
        WHERE s.space_id = NEW.space_id AND s.version = NEW.version
          AND s.claim_days IS NULL AND g.host_id IS NULL) THEN
    RAISE EXCEPTION 'the agreement of % version % is not signed', NEW.space_id, NEW.version
      USING ERRCODE = 'check_violation', CONSTRAINT = 'agreements_signed_by_all',
            TABLE = 'agreements';
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER final BEFORE DELETE ON agreements
  FOR EACH ROW EXECUTE FUNCTION journal_is_final();
CREATE TRIGGER signed BEFORE UPDATE ON agreements
  FOR EACH ROW EXECUTE FUNCTION agreement_is_signed();
CREATE TRIGGER unsigned BEFORE INSERT ON agreements
  FOR EACH ROW WHEN (NEW.signed_at IS NOT NULL) EXECUTE FUNCTION agreement_is_signed();
ALTER TABLE agreements ENABLE ALWAYS TRIGGER final, ENABLE ALWAYS TRIGGER signed,
  ENABLE ALWAYS TRIGGER unsigned;

CREATE FUNCTION space_has_signed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM agreements
                  WHERE space_id = NEW.id AND version = NEW.agreement_version
                    AND signed_at IS NOT NULL) THEN
    RAISE EXCEPTION 'the agreement of % version % is not signed', NEW.id, NEW.agreement_version
      USING ERRCODE = 'check_violation', CONSTRAINT = 'spaces_sell_as_signed', TABLE = 'spaces';
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER signed BEFORE INSERT OR UPDATE OF agreement_version ON spaces
  FOR EACH ROW WHEN (NEW.agreement_version IS NOT NULL) EXECUTE FUNCTION space_has_signed();
ALTER TABLE spaces ENABLE ALWAYS TRIGGER signed;
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

-- The positions of those payees who were there; NULL: none of them, or that is not the rule.
CREATE FUNCTION on_stage(room text, agreed smallint, moment timestamptz) RETURNS smallint[]
LANGUAGE plpgsql STABLE STRICT
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
  RETURN (
    SELECT array_agg(DISTINCT s.position ORDER BY s.position)
      FROM agreements a
      JOIN shares s USING (space_id, version)
      JOIN speakers w USING (space_id, host_id)
     WHERE a.space_id = room AND a.version = agreed AND a.tips = 'stage'
       AND w.joined_at <= moment AND (w.left_at > moment OR w.left_at IS NULL));
END $$;
"""

GRANTS = """
GRANT SELECT, INSERT ON signatures, speakers TO {app};
GRANT UPDATE (signed_at) ON agreements TO {app};
GRANT UPDATE (left_at) ON speakers TO {app};
"""

DROPS = """
ALTER TABLE lines DROP COLUMN on_stage;
DROP FUNCTION on_stage(text, smallint, timestamptz);
DROP TABLE speakers, signatures;
ALTER TABLE shares DROP COLUMN claim_days, DROP COLUMN unclaimed;
DROP TRIGGER signed ON spaces;
DROP FUNCTION space_has_signed();
UPDATE spaces SET agreement_version = 1 WHERE agreement_version IS NULL;
ALTER TABLE spaces ALTER COLUMN agreement_version SET NOT NULL;
REVOKE UPDATE (signed_at) ON agreements FROM {app};
DROP TRIGGER final ON agreements;
DROP TRIGGER signed ON agreements;
DROP TRIGGER unsigned ON agreements;
DROP FUNCTION agreement_is_signed();
ALTER TABLE agreements DROP COLUMN signed_at, DROP COLUMN tips;
CREATE TRIGGER final BEFORE UPDATE OR DELETE ON agreements
  FOR EACH ROW EXECUTE FUNCTION journal_is_final();
ALTER TABLE agreements ENABLE ALWAYS TRIGGER final;
"""


def upgrade() -> None:
    grants = GRANTS.format(app=context.config.attributes["app_role"])
    for statement in statements(AGREEMENTS, SIGNED, STAGE, grants):
        op.execute(statement)


def downgrade() -> None:
    for statement in statements(DROPS.format(app=context.config.attributes["app_role"])):
        op.execute(statement)
