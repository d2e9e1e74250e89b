"""The books: accounts, entries, postings, balances, and the law that keeps them.

Revision ID: 0001
"""

from alembic import context, op

from migrations import statements

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE books (
  id smallint CONSTRAINT books_pk PRIMARY KEY CONSTRAINT books_only_one CHECK (id = 1),
  zone varchar NOT NULL
);
INSERT INTO books VALUES (1, 'UTC');

CREATE TABLE accounts (
  id        bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT accounts_pk PRIMARY KEY,
  name      varchar  NOT NULL,
  currency  char(3)  NOT NULL,
  slots     smallint NOT NULL CONSTRAINT accounts_slots_in_range CHECK (slots BETWEEN 1 AND 64),
  owes_only boolean  NOT NULL,
  CONSTRAINT accounts_name_currency_key UNIQUE (name, currency),
  -- A host may owe us in the available money alone, and one row says what the rest is.
  CONSTRAINT accounts_hosts_are_owed CHECK (
    owes_only = (name LIKE 'liabilities:host:%' AND name NOT LIKE '%:available')
    AND (NOT owes_only OR slots = 1))
);

CREATE TABLE entry_keys (
  key      varchar CONSTRAINT entry_keys_pk PRIMARY KEY,
  entry_id varchar NOT NULL
);

CREATE TABLE entries (
  id          varchar     NOT NULL,
  posted_at   timestamptz NOT NULL,
  key         varchar     NOT NULL,
  kind        varchar     NOT NULL,
  happened_at timestamptz NOT NULL,
  period      date        NOT NULL,
  subject     varchar     NOT NULL,
  source      varchar,
  narration   varchar     NOT NULL,
  metadata    jsonb       NOT NULL,
  CONSTRAINT entries_pk PRIMARY KEY (id, posted_at)
) PARTITION BY RANGE (posted_at);
CREATE INDEX entries_subject_idx ON entries (subject);

CREATE TABLE postings (
  entry_id    varchar     NOT NULL,
  posted_at   timestamptz NOT NULL,
  n           smallint    NOT NULL,
  account_id  bigint      NOT NULL,
  slot        smallint    NOT NULL,
  seq         bigint      NOT NULL,
  happened_at timestamptz NOT NULL,
  minor       bigint      NOT NULL CONSTRAINT postings_not_zero CHECK (minor <> 0),
  balance     bigint      NOT NULL,
  currency    char(3)     NOT NULL,
  line        varchar,
  CONSTRAINT postings_pk PRIMARY KEY (entry_id, posted_at, n),
  CONSTRAINT postings_order_key UNIQUE (account_id, slot, posted_at, seq)
) PARTITION BY RANGE (posted_at);
CREATE INDEX postings_account_id_happened_at_idx ON postings (account_id, happened_at);

CREATE TABLE entries_default PARTITION OF entries DEFAULT;
CREATE TABLE postings_default PARTITION OF postings DEFAULT;

CREATE TABLE balances (
  account_id bigint   NOT NULL CONSTRAINT balances_account_id_fk REFERENCES accounts,
  slot       smallint NOT NULL,
  minor      bigint   NOT NULL,
  seq        bigint   NOT NULL,
  CONSTRAINT balances_pk PRIMARY KEY (account_id, slot)
) WITH (fillfactor = 70);

CREATE TABLE day_balances (
  account_id bigint   NOT NULL CONSTRAINT day_balances_account_id_fk REFERENCES accounts,
  day        date     NOT NULL,
  slot       smallint NOT NULL,
  minor      bigint   NOT NULL,
  CONSTRAINT day_balances_pk PRIMARY KEY (account_id, day, slot)
) WITH (fillfactor = 70);

CREATE VIEW journal AS  -- for people: debit and credit instead of signs
SELECT e.posted_at, e.happened_at, e.period, e.id AS entry, e.key, e.kind, e.subject, p.n,
       a.name AS account, p.currency, greatest(p.minor, 0) AS debit,
       greatest(-p.minor, 0) AS credit, p.line, e.narration
  FROM entries e
  JOIN postings p ON p.entry_id = e.id AND p.posted_at = e.posted_at
  JOIN accounts a ON a.id = p.account_id;
"""

# Both run once per statement, over all the rows that it wrote.  They may only look things up by
# index: their plans are kept for the session, and may have been made while the tables were empty.
WHOLE = """
CREATE FUNCTION postings_are_whole() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
  suspect record;
  guilty  record;
BEGIN
  -- One pass that every good batch survives; the exact reason is looked for only when it does not.
  -- Numbered 1, 2, … within one statement: a later statement meets postings_pk at 1.
  SELECT w.* INTO suspect
    FROM (SELECT entry_id, posted_at, min(n) AS low, max(n) AS high, count(*) AS legs,
                 sum(minor) AS left_over, min(currency) <> max(currency) AS many
            FROM written GROUP BY entry_id, posted_at) w
    LEFT JOIN entries e ON e.id = w.entry_id AND e.posted_at = w.posted_at
   WHERE e.id IS NULL OR low <> 1 OR high <> legs OR legs < 2 OR left_over <> 0 OR many LIMIT 1;
  IF FOUND THEN
    SELECT entry_id, currency, sum(minor) AS left_over INTO guilty
      FROM written GROUP BY entry_id, currency HAVING sum(minor) <> 0 LIMIT 1;
    IF FOUND THEN
      RAISE EXCEPTION 'entry % leaves % %', guilty.entry_id, guilty.left_over, guilty.currency
        USING ERRCODE = 'check_violation', CONSTRAINT = 'postings_balance', TABLE = 'postings';
    END IF;
    SELECT w.entry_id INTO guilty
      FROM (SELECT entry_id, posted_at, min(n) AS low, max(n) AS high, count(*) AS legs
              FROM written GROUP BY entry_id, posted_at) w
      LEFT JOIN entries e ON e.id = w.entry_id AND e.posted_at = w.posted_at
     WHERE e.id IS NULL OR low <> 1 OR high <> legs OR legs < 2 LIMIT 1;
    IF FOUND THEN
      RAISE EXCEPTION 'entry % is not written whole, with its postings', guilty.entry_id
        USING ERRCODE = 'check_violation', CONSTRAINT = 'postings_whole', TABLE = 'postings';
    END IF;
  END IF;

  -- The last posting of each account stands for the account: its currency, and what it is now.
  -- (A CHECK on balances would look at the movement, before ON CONFLICT adds it to what was there.)
  SELECT w.entry_id, a.id IS NULL AS unknown, a.name INTO guilty
    FROM (SELECT DISTINCT ON (account_id, currency, slot) entry_id, account_id, currency, balance
            FROM written ORDER BY account_id, currency, slot, seq DESC) w
    LEFT JOIN accounts a ON a.id = w.account_id AND a.currency = w.currency
   WHERE a.id IS NULL OR a.owes_only AND w.balance > 0 LIMIT 1;
  IF FOUND AND guilty.unknown THEN
    RAISE EXCEPTION 'entry % is posted on an account that is not in its currency', guilty.entry_id
      USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'postings_account', TABLE = 'postings';
  ELSIF FOUND THEN
    RAISE EXCEPTION 'entry % makes % a debit', guilty.entry_id, guilty.name
      USING ERRCODE = 'check_violation', CONSTRAINT = 'postings_overdraw', TABLE = 'postings';
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION entries_are_whole() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE guilty record;
BEGIN
  SELECT w.id INTO guilty FROM written w
   WHERE NOT EXISTS (SELECT FROM postings p WHERE p.entry_id = w.id AND p.posted_at = w.posted_at)
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'entry % has no postings', guilty.id
      USING ERRCODE = 'check_violation', CONSTRAINT = 'entries_have_postings', TABLE = 'entries';
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION make_whole(relation regclass, parent text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('CREATE TRIGGER whole AFTER INSERT ON %s REFERENCING NEW TABLE AS written
                  FOR EACH STATEMENT EXECUTE FUNCTION %I()', relation, parent || '_are_whole');
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER whole', relation);
END $$;

-- A statement wakes the triggers of the table that it names alone: so every partition has its own.
SELECT make_whole('entries', 'entries'), make_whole('entries_default', 'entries');
SELECT make_whole('postings', 'postings'), make_whole('postings_default', 'postings');
"""

# ENABLE ALWAYS: an ordinary trigger sleeps under session_replication_role = replica.
FINAL = """
CREATE FUNCTION journal_is_final() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'accounts' AND NEW IS NOT DISTINCT FROM OLD THEN
    RETURN NEW;  -- how the journal reads an account that someone else opened a moment ago
  END IF;
  RAISE EXCEPTION '% on % is refused: the journal is only ever appended to', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation', CONSTRAINT = 'journal_is_final', TABLE = TG_TABLE_NAME;
END $$;

CREATE FUNCTION make_final(relation regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = relation AND tgname = 'final') THEN
    EXECUTE format('CREATE TRIGGER final BEFORE UPDATE OR DELETE ON %s
                    FOR EACH ROW EXECUTE FUNCTION journal_is_final()', relation);
  END IF;
  EXECUTE format('CREATE TRIGGER final_truncate BEFORE TRUNCATE ON %s
                  FOR EACH STATEMENT EXECUTE FUNCTION journal_is_final()', relation);
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER final', relation);
  EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER final_truncate', relation);
END $$;

SELECT make_final('entries'), make_final('postings');
SELECT make_final('entries_default'), make_final('postings_default');
SELECT make_final('entry_keys'), make_final('accounts');
"""

# The service owns nothing; it may only ask for the months to come.  A month whose rows already
# fell into the default partition stays there: correct, only slower.
MONTHS = """
CREATE FUNCTION open_month(month date) RETURNS boolean LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
  low  timestamptz := date_trunc('month', month)::timestamp AT TIME ZONE 'UTC';
  high timestamptz := (date_trunc('month', month) + interval '1 month')::timestamp
                      AT TIME ZONE 'UTC';
  parent text;
  child  text;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('open_month'));  -- workers that start together take turns
  IF to_regclass(format('entries_%s', to_char(low AT TIME ZONE 'UTC', 'YYYY_MM'))) IS NOT NULL
     OR EXISTS (SELECT FROM entries_default WHERE posted_at >= low AND posted_at < high) THEN
    RETURN false;
  END IF;
  FOREACH parent IN ARRAY ARRAY['entries', 'postings'] LOOP
    child := format('%s_%s', parent, to_char(low AT TIME ZONE 'UTC', 'YYYY_MM'));
    EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                   child, parent, low, high);
    PERFORM make_final(child::regclass), make_whole(child::regclass, parent);
  END LOOP;
  RETURN true;
END $$;
REVOKE ALL ON FUNCTION open_month(date) FROM public;
SELECT open_month((date_trunc('month', now()) + n * interval '1 month')::date)
  FROM generate_series(0, 2) AS n;
"""

# The one statement of ``journal.post``, here to keep its plan: docs/decisions/posting.md.
# A plan from when tables were empty does no harm: it looks into none but ``accounts``, by its key.
# The arrays are columns: the entries, then the accounts that they need, then their legs.
POST = """
CREATE FUNCTION post(
  entry_ids text[], keys text[], kinds text[], subjects text[], moments timestamptz[],
  sources text[], narrations text[], facts text[],
  names text[], currencies char(3)[], slot_counts smallint[], owing boolean[],
  leg_entries text[], leg_numbers smallint[], leg_places bigint[], leg_minors bigint[],
  leg_lines text[],
  instant timestamptz
) RETURNS SETOF varchar LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
BEGIN
  RETURN QUERY
  WITH
  given AS (
    SELECT *
      FROM unnest(entry_ids, keys, kinds, subjects, moments, sources, narrations, facts)
        AS g (id, key, kind, subject, happened_at, source, narration, metadata)
  ),
  claimed AS (
    INSERT INTO entry_keys (key, entry_id)
    SELECT key, id FROM given ORDER BY key
    ON CONFLICT (key) DO NOTHING
    RETURNING key, entry_id
  ),
  needed AS (
    SELECT u.*,
           (SELECT a.id FROM accounts a WHERE a.name = u.name AND a.currency = u.currency) AS id
      FROM unnest(names, currencies, slot_counts, owing)
           WITH ORDINALITY AS u (name, currency, slots, owes_only, place)
  ),
  opened AS (  -- DO UPDATE, so that one opened by someone else a moment ago is returned as well;
               -- of no key's column, or its lock would meet the foreign keys' and deadlock
    INSERT INTO accounts AS a (name, currency, slots, owes_only)
    SELECT name, currency, slots, owes_only FROM needed WHERE id IS NULL ORDER BY name, currency
    ON CONFLICT (name, currency) DO UPDATE SET slots = a.slots
    RETURNING id, name, currency
  ),
  account AS (
    SELECT n.place, coalesce(n.id, o.id) AS id, n.currency,
           (pg_backend_pid() % n.slots)::smallint AS slot
      FROM needed n LEFT JOIN opened o USING (name, currency)
  ),
  leg AS (
    SELECT p.entry_id, p.n, p.minor, p.line, p.place, g.happened_at,
           a.id AS account_id, a.slot, a.currency
      FROM unnest(leg_entries, leg_numbers, leg_places, leg_minors, leg_lines)
           WITH ORDINALITY AS p (entry_id, n, account, minor, line, place)
      JOIN claimed c ON c.entry_id = p.entry_id
      JOIN given g ON g.id = p.entry_id
      JOIN account a ON a.place = p.account
  ),
  moved AS (
    INSERT INTO balances AS b (account_id, slot, minor, seq)
    SELECT account_id, slot, sum(minor), count(*)
      FROM leg GROUP BY account_id, slot ORDER BY account_id, slot
    ON CONFLICT (account_id, slot)
    DO UPDATE SET minor = b.minor + excluded.minor, seq = b.seq + excluded.seq
    RETURNING account_id, slot, minor, seq
  ),
  stamp AS MATERIALIZED (  -- read only when every slot above is locked
    SELECT coalesce(instant, clock_timestamp()) AS posted_at, b.zone
      FROM (SELECT count(*) FROM moved) AS locked, books b
  ),
  day AS (
    INSERT INTO day_balances AS d (account_id, day, slot, minor)
    SELECT l.account_id, (l.happened_at AT TIME ZONE 'UTC')::date, l.slot, sum(l.minor)
      FROM leg l, stamp GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (account_id, day, slot) DO UPDATE SET minor = d.minor + excluded.minor
  ),
  entry AS (
    INSERT INTO entries
      (id, posted_at, key, kind, happened_at, period, subject, source, narration, metadata)
    SELECT g.id, s.posted_at, g.key, g.kind, g.happened_at,
           date_trunc('month', g.happened_at AT TIME ZONE s.zone)::date,
           g.subject, g.source, g.narration, g.metadata::jsonb
      FROM given g JOIN claimed c ON c.entry_id = g.id, stamp s
  ),
  posting AS (
    INSERT INTO postings
      (entry_id, posted_at, n, account_id, slot, seq, happened_at, minor, balance, currency, line)
    SELECT l.entry_id, s.posted_at, l.n, l.account_id, l.slot,
           m.seq - count(*) OVER later, l.happened_at, l.minor,
           m.minor - coalesce(sum(l.minor) OVER later, 0), l.currency, l.line
      FROM leg l JOIN moved m USING (account_id, slot), stamp s
    WINDOW later AS (PARTITION BY l.account_id, l.slot ORDER BY l.place
                     ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)
  )
  SELECT claimed.key FROM claimed;
END $$;
"""

GRANTS = """
-- Who serves reads the books, and writes them by one function alone.
GRANT SELECT ON books, journal, accounts, entry_keys, entries, postings, balances, day_balances
   TO {app};
REVOKE ALL ON FUNCTION post FROM public;
GRANT EXECUTE ON FUNCTION post TO {app};
GRANT EXECUTE ON FUNCTION open_month(date) TO {app};
"""


DROPS = """
DROP VIEW journal;
DROP FUNCTION post;
DROP TABLE day_balances, balances, postings, entries, entry_keys, accounts, books;
DROP FUNCTION open_month(date);
DROP FUNCTION make_final(regclass);
DROP FUNCTION journal_is_final();
DROP FUNCTION make_whole(regclass, text);
DROP FUNCTION entries_are_whole();
DROP FUNCTION postings_are_whole();
"""


def upgrade() -> None:
    grants = GRANTS.format(app=context.config.attributes["app_role"])
    for statement in statements(TABLES, WHOLE, FINAL, MONTHS, POST, grants):
        op.execute(statement)


def downgrade() -> None:
    for statement in statements(DROPS):
        op.execute(statement)
