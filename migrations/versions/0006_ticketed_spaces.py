"""Ticketed Spaces: runs and what is left of them, holds, purchases, tickets, the waiting list.

Revision ID: 0006
Revises: 0005
"""

from alembic import context, op

from migrations import statements

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# A pool is how many there are of something, and how many of them are taken: of a run, of each of
# its tiers and codes, of a whole Space.  Whoever changes what a run has left holds the run's pool
# locked, then its Space's, if that has one; the others are only changed under the run's lock.  A
# Space's is called space:<id>, which is nobody's id.
TABLES = """
CREATE TABLE pools (
  id varchar NOT NULL,
  quota integer,
  held integer NOT NULL DEFAULT 0,
  sold integer NOT NULL DEFAULT 0,
  issued integer NOT NULL DEFAULT 0,
  CONSTRAINT pools_pk PRIMARY KEY (id),
  CONSTRAINT pools_not_negative CHECK (held >= 0 AND sold >= 0 AND quota >= 0),
  CONSTRAINT pools_never_oversold CHECK (held + sold <= quota)
) WITH (fillfactor = 50);

CREATE TABLE runs (
  id varchar NOT NULL,
  space_id varchar NOT NULL,
  policy varchar NOT NULL,
  policy_version smallint NOT NULL,
  currency char(3) NOT NULL,
  opens_at timestamptz,
  closes_at timestamptz,
  per_listener integer,
  per_address integer,
  hold_s integer NOT NULL,
  offer_s integer NOT NULL,
  draw_s integer,
  refund_until_h integer,
  version integer NOT NULL,
  created_at timestamptz NOT NULL,
  cancelled_at timestamptz,
  CONSTRAINT runs_pk PRIMARY KEY (id),
  CONSTRAINT runs_id_well_formed CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9_.-]*$' AND length(id) <= 64),
  CONSTRAINT runs_in_order CHECK (opens_at < closes_at),
  CONSTRAINT runs_positive
    CHECK (per_listener > 0 AND per_address > 0 AND hold_s > 0 AND offer_s > 0 AND draw_s > 0
           AND refund_until_h >= 0),
  CONSTRAINT runs_draw_has_a_start CHECK (draw_s IS NULL OR opens_at IS NOT NULL),
  CONSTRAINT runs_space_id_fk FOREIGN KEY(space_id) REFERENCES spaces (id),
  CONSTRAINT runs_policy_policy_version_fk
    FOREIGN KEY(policy, policy_version) REFERENCES policies (name, version)
);
CREATE INDEX runs_created_at_id_idx ON runs (created_at, id);
CREATE INDEX runs_space_id_idx ON runs (space_id);

CREATE TABLE tiers (
  id varchar NOT NULL,
  run_id varchar NOT NULL,
  position smallint NOT NULL,
  name varchar NOT NULL,
  kind varchar NOT NULL,
  minor bigint NOT NULL,
  opens_at timestamptz,
  closes_at timestamptz,
  CONSTRAINT tiers_pk PRIMARY KEY (id),
  CONSTRAINT tiers_id_well_formed CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9_.-]*$' AND length(id) <= 64),
  CONSTRAINT tiers_kind_known CHECK (kind IN ('fixed', 'choice', 'free', 'comp')),
  CONSTRAINT tiers_priced CHECK ((minor > 0) = (kind IN ('fixed', 'choice'))),
  CONSTRAINT tiers_in_order CHECK (opens_at < closes_at),
  CONSTRAINT tiers_run_id_position_key UNIQUE (run_id, position) DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT tiers_run_id_fk FOREIGN KEY(run_id) REFERENCES runs (id)
);

CREATE TABLE codes (
  id varchar NOT NULL,
  run_id varchar NOT NULL,
  tier_id varchar,
  code varchar NOT NULL,
  rate_bps integer,
  minor bigint,
  closes_at timestamptz,
  created_at timestamptz NOT NULL,
  CONSTRAINT codes_pk PRIMARY KEY (id),
  CONSTRAINT codes_id_well_formed CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9_.-]*$' AND length(id) <= 64),
  CONSTRAINT codes_rate_or_minor CHECK ((rate_bps IS NULL) <> (minor IS NULL)),
  CONSTRAINT codes_in_range CHECK (rate_bps BETWEEN 1 AND 10000 AND minor > 0),
  CONSTRAINT codes_run_id_code_key UNIQUE (run_id, code),
  CONSTRAINT codes_run_id_fk FOREIGN KEY(run_id) REFERENCES runs (id),
  CONSTRAINT codes_tier_id_fk FOREIGN KEY(tier_id) REFERENCES tiers (id)
);
CREATE INDEX codes_created_at_id_idx ON codes (created_at, id);

CREATE TABLE holds (
  id varchar NOT NULL,
  run_id varchar NOT NULL,
  tier_id varchar NOT NULL,
  code_id varchar,
  listener_id varchar NOT NULL,
  origin bytea,
  quantity integer NOT NULL,
  returned integer NOT NULL DEFAULT 0,
  minor bigint NOT NULL,
  remaining integer NOT NULL,
  state varchar NOT NULL,
  paying boolean NOT NULL DEFAULT false,
  expires_at timestamptz NOT NULL,
  created_at timestamptz NOT NULL,
  ended_at timestamptz,
  CONSTRAINT holds_pk PRIMARY KEY (id),
  CONSTRAINT holds_id_well_formed CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9_.-]*$' AND length(id) <= 64),
  CONSTRAINT holds_listener_id_well_formed
    CHECK (listener_id ~ '^[A-Za-z0-9][A-Za-z0-9_.-]*$' AND length(listener_id) <= 64),
  CONSTRAINT holds_positive CHECK (quantity > 0 AND minor >= 0),
  CONSTRAINT holds_returned_no_more CHECK (returned BETWEEN 0 AND quantity),
  CONSTRAINT holds_state_known
    CHECK (state IN ('held', 'expiring', 'sold', 'released', 'expired')),
  CONSTRAINT holds_ended_at_a_time
    CHECK ((state IN ('held', 'expiring')) = (ended_at IS NULL)),
  CONSTRAINT holds_tier_id_fk FOREIGN KEY(tier_id) REFERENCES tiers (id),
  CONSTRAINT holds_code_id_fk FOREIGN KEY(code_id) REFERENCES codes (id)
);
CREATE INDEX holds_due_idx ON holds (run_id, expires_at) WHERE state = 'held';
CREATE INDEX holds_expiring_idx ON holds (expires_at) WHERE state = 'expiring';
CREATE INDEX holds_listener_idx ON holds (run_id, listener_id)
  WHERE state IN ('held', 'expiring', 'sold');
CREATE INDEX holds_origin_idx ON holds (run_id, origin)
  WHERE state IN ('held', 'expiring', 'sold') AND origin IS NOT NULL;

CREATE TABLE purchases (
  id varchar NOT NULL,
  hold_id varchar NOT NULL,
  run_id varchar NOT NULL,
  listener_id varchar NOT NULL,
  payment_id varchar,
  created_at timestamptz NOT NULL,
  settled_at timestamptz,
  unseated_at timestamptz,
  cancelled_at timestamptz,
  CONSTRAINT purchases_pk PRIMARY KEY (id),
  CONSTRAINT purchases_id_well_formed
    CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9_.-]*$' AND length(id) <= 64),
  CONSTRAINT purchases_one_end CHECK (num_nonnulls(settled_at, unseated_at, cancelled_at) <= 1),
  CONSTRAINT purchases_payment_id_key UNIQUE (payment_id),
  CONSTRAINT purchases_hold_id_fk FOREIGN KEY(hold_id) REFERENCES holds (id),
  CONSTRAINT purchases_run_id_fk FOREIGN KEY(run_id) REFERENCES runs (id),
  CONSTRAINT purchases_payment_id_fk FOREIGN KEY(payment_id) REFERENCES payments (id)
    DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX purchases_created_at_id_idx ON purchases (created_at, id);
CREATE INDEX purchases_run_id_created_at_id_idx ON purchases (run_id, created_at, id);
CREATE INDEX purchases_listener_id_created_at_id_idx ON purchases (listener_id, created_at, id);
CREATE UNIQUE INDEX purchases_one_at_a_time_idx ON purchases (hold_id)
  WHERE cancelled_at IS NULL AND unseated_at IS NULL;
CREATE INDEX purchases_hold_id_idx ON purchases (hold_id);

CREATE TABLE tickets (
  id varchar NOT NULL,
  run_id varchar NOT NULL,
  tier_id varchar NOT NULL,
  purchase_id varchar NOT NULL,
  listener_id varchar NOT NULL,
  holder varchar,
  minor bigint NOT NULL,
  state varchar NOT NULL,
  number integer,
  secret bytea NOT NULL,
  serial integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL,
  issued_at timestamptz,
  voided_at timestamptz,
  CONSTRAINT tickets_pk PRIMARY KEY (id),
  CONSTRAINT tickets_listener_id_well_formed
    CHECK (listener_id ~ '^[A-Za-z0-9][A-Za-z0-9_.-]*$' AND length(listener_id) <= 64),
  CONSTRAINT tickets_not_negative CHECK (minor >= 0),
  CONSTRAINT tickets_state_known CHECK (state IN ('pending', 'valid', 'void')),
  CONSTRAINT tickets_numbered CHECK (number IS NOT NULL OR state <> 'valid'),
  CONSTRAINT tickets_secret_of_128_bits CHECK (octet_length(secret) = 16),
  CONSTRAINT tickets_run_id_number_key UNIQUE (run_id, number),
  CONSTRAINT tickets_run_id_fk FOREIGN KEY(run_id) REFERENCES runs (id),
  CONSTRAINT tickets_tier_id_fk FOREIGN KEY(tier_id) REFERENCES tiers (id),
  CONSTRAINT tickets_purchase_id_fk FOREIGN KEY(purchase_id) REFERENCES purchases (id)
);
CREATE INDEX tickets_created_at_id_idx ON tickets (created_at, id);
CREATE INDEX tickets_listener_id_idx ON tickets (listener_id);
CREATE INDEX tickets_purchase_id_idx ON tickets (purchase_id);

CREATE TABLE ticket_refunds (
  ticket_id varchar NOT NULL,
  cause varchar NOT NULL,
  refund_id varchar,
  attempts integer NOT NULL DEFAULT 0,
  next_at timestamptz NOT NULL,
  error varchar,
  created_at timestamptz NOT NULL,
  done_at timestamptz,
  CONSTRAINT ticket_refunds_pk PRIMARY KEY (ticket_id),
  CONSTRAINT ticket_refunds_cause_known
    CHECK (cause IN ('asked', 'cancelled', 'rescheduled', 'no_show', 'no_seat')),
  CONSTRAINT ticket_refunds_ticket_id_fk FOREIGN KEY(ticket_id) REFERENCES tickets (id),
  CONSTRAINT ticket_refunds_refund_id_fk FOREIGN KEY(refund_id) REFERENCES refunds (id)
);
CREATE INDEX ticket_refunds_due_idx ON ticket_refunds (next_at, ticket_id) WHERE done_at IS NULL;

CREATE TABLE waiting (
  id varchar NOT NULL,
  run_id varchar NOT NULL,
  tier_id varchar,
  listener_id varchar NOT NULL,
  origin bytea,
  quantity integer NOT NULL,
  least integer NOT NULL,
  rank bigint NOT NULL,
  state varchar NOT NULL,
  hold_id varchar,
  created_at timestamptz NOT NULL,
  ended_at timestamptz,
  CONSTRAINT waiting_pk PRIMARY KEY (id),
  CONSTRAINT waiting_id_well_formed
    CHECK (id ~ '^[A-Za-z0-9][A-Za-z0-9_.-]*$' AND length(id) <= 64),
  CONSTRAINT waiting_listener_id_well_formed
    CHECK (listener_id ~ '^[A-Za-z0-9][A-Za-z0-9_.-]*$' AND length(listener_id) <= 64),
  CONSTRAINT waiting_quantities CHECK (0 < least AND least <= quantity),
  CONSTRAINT waiting_state_known
    CHECK (state IN ('waiting', 'offered', 'taken', 'lapsed', 'left')),
  CONSTRAINT waiting_run_id_fk FOREIGN KEY(run_id) REFERENCES runs (id),
  CONSTRAINT waiting_tier_id_fk FOREIGN KEY(tier_id) REFERENCES tiers (id),
  CONSTRAINT waiting_hold_id_fk FOREIGN KEY(hold_id) REFERENCES holds (id)
);
CREATE INDEX waiting_run_id_created_at_id_idx ON waiting (run_id, created_at, id);
CREATE INDEX waiting_hold_id_idx ON waiting (hold_id) WHERE hold_id IS NOT NULL;
CREATE INDEX waiting_turn_idx ON waiting (run_id, tier_id, rank, id) WHERE state = 'waiting';
CREATE UNIQUE INDEX waiting_once_idx ON waiting (run_id, listener_id)
  WHERE state IN ('waiting', 'offered');
"""

# Tickets are paid for weeks ahead, so what is to be released is looked for Space by Space: each
# payment says which is its own, and how many days after that its policy keeps it.
SPACES = """
ALTER TABLE payments ADD COLUMN space_id varchar;
ALTER TABLE payments ADD COLUMN release_days smallint;
UPDATE payments p
   SET space_id = o.space_id,
       release_days = greatest((r.rules ->> 'release_days')::int,
                               (r.rules ->> 'refund_window_days')::int)
  FROM (SELECT payment_id, space_id, policy, policy_version FROM lines
         UNION
        SELECT t.payment_id, s.id, s.policy, s.policy_version
          FROM tabs t JOIN spaces s ON s.id = t.space_id) AS o
  JOIN policies r ON r.name = o.policy AND r.version = o.policy_version
 WHERE o.payment_id = p.id;
-- squawk-ignore adding-not-nullable-field -- every row was just written anew
ALTER TABLE payments ALTER COLUMN space_id SET NOT NULL;
-- squawk-ignore adding-not-nullable-field -- as above
ALTER TABLE payments ALTER COLUMN release_days SET NOT NULL;
ALTER TABLE payments ADD CONSTRAINT payments_not_negative CHECK (release_days >= 0);
ALTER TABLE payments ADD CONSTRAINT payments_space_id_fk
  FOREIGN KEY(space_id) REFERENCES spaces (id);
DROP INDEX payments_release_idx;
CREATE INDEX payments_release_idx ON payments (space_id, release_days, id)
  WHERE state = 'paid' AND released_at IS NULL;
"""

# The functions keep their plans, which look rows up by their keys: one that was made while a table
# was empty does no harm (docs/decisions/posting.md).
# What is taken of a run's pools: of the tier and the code that each row names, of the run, of its
# Space.  Only what was never sold before counts as issued.
COUNT = """
CREATE FUNCTION count_tickets(
  wanted text, tiers text[], codes text[], helds integer[], solds integer[]
) RETURNS void LANGUAGE sql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
  WITH moved AS (
    SELECT * FROM unnest(tiers, codes, helds, solds) AS m (tier, code, held, sold)
  ), taken AS (
    SELECT tier AS pool, sum(held) AS held, sum(sold) AS sold FROM moved GROUP BY tier
    UNION ALL
    SELECT code, sum(held), sum(sold) FROM moved WHERE code IS NOT NULL GROUP BY code
    UNION ALL
    SELECT whole.id, sum(m.held), sum(m.sold)
      FROM moved m, runs r, LATERAL (VALUES (r.id), ('space:' || r.space_id)) AS whole (id)
     WHERE r.id = wanted GROUP BY whole.id
  )
  UPDATE pools p
     SET held = p.held + t.held, sold = p.sold + t.sold, issued = p.issued + greatest(t.sold, 0)
    FROM taken t WHERE p.id = t.pool
$$;

CREATE FUNCTION lock_run(wanted text) RETURNS integer LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  room   integer;
  whole  integer;
BEGIN
  SELECT p.quota - p.held - p.sold INTO room FROM pools p WHERE p.id = wanted
     FOR NO KEY UPDATE;
  SELECT p.quota - p.held - p.sold INTO whole
    FROM runs r JOIN pools p ON p.id = 'space:' || r.space_id WHERE r.id = wanted
     FOR NO KEY UPDATE OF p;
  RETURN least(room, whole);
END $$;
"""

# One call claims for many, first come first served.  ``who`` is a buyer, the waiting list or the
# house: the list has been in line already, and the house gives what is not on sale.
CLAIM = """
CREATE FUNCTION run_tiers(wanted text, who text, moment timestamptz)
RETURNS TABLE (id text, nth smallint, minor bigint, seats integer, sells boolean)
LANGUAGE sql STABLE AS $$
  SELECT t.id, t.position, t.minor, coalesce(p.quota - p.held - p.sold, 2147483647),
         r.cancelled_at IS NULL AND s.state IN ('scheduled', 'live')
           AND (who = 'house' OR (t.kind <> 'comp'
                AND coalesce(r.opens_at <= moment, true) AND coalesce(moment < r.closes_at, true)
                AND coalesce(t.opens_at <= moment, true) AND coalesce(moment < t.closes_at, true)))
    FROM runs r JOIN spaces s ON s.id = r.space_id
    JOIN tiers t ON t.run_id = r.id JOIN pools p ON p.id = t.id
   WHERE r.id = wanted
$$;

-- Where a hold of another run has taken one of the ids a moment ago, the statement is tried again.
CREATE FUNCTION write_holds(
  wanted text, moment timestamptz, lasts_until timestamptz, ids text[], tiers text[], codes text[],
  listeners text[], origins bytea[], givens integer[], prices bigint[], rooms integer[]
) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  written integer;
BEGIN
  INSERT INTO holds (id, run_id, tier_id, code_id, listener_id, origin, quantity, minor, remaining,
                     state, expires_at, created_at)
  SELECT n.id, wanted, n.tier, n.code, n.listener, n.origin, n.given, n.price, n.room, 'held',
         lasts_until, moment
    FROM unnest(ids, tiers, codes, listeners, origins, givens, prices, rooms)
      AS n (id, tier, code, listener, origin, given, price, room)
  ON CONFLICT (id) DO NOTHING;
  GET DIAGNOSTICS written = ROW_COUNT;
  IF written < cardinality(ids) THEN
    RAISE EXCEPTION 'a hold of another run has just taken one of these ids'
      USING ERRCODE = 'serialization_failure';
  END IF;
END $$;

CREATE FUNCTION claim_tickets(
  wanted text, who text, moment timestamptz, ids text[], tiers text[], listeners text[],
  origins bytea[], codes text[], quantities integer[], leasts integer[]
) RETURNS TABLE (
  hold text, outcome text, tier text, given integer, price bigint, pays_in text, now_is text,
  lasts_until timestamptz, made timestamptz, most integer, left_over integer, again boolean
) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  room      integer := lock_run(wanted);
  r         record;
  c         record;
  known     record;
  code      record;
  lots      text[];     -- the run's tiers, in their order
  prices    bigint[];
  rooms     integer[];
  sells     boolean[];
  takes     integer[];
  place     integer;
  allowed   integer;
  on_sale   boolean;
  repeated  boolean;
  coded     boolean;
  alone     boolean;    -- each hold is written before the next claim is looked at
  lasts     timestamptz;
  new_ids text[] := '{}'; new_tiers text[] := '{}'; new_codes text[] := '{}';
  new_listeners text[] := '{}'; new_origins bytea[] := '{}'; new_givens integer[] := '{}';
  new_prices bigint[] := '{}'; new_rooms integer[] := '{}';
  due       boolean;
  listed    boolean;
  next_at   timestamptz;
BEGIN
  SELECT u.*, coalesce(moment < u.opens_at + u.draw_s * interval '1 s', false) AS drawing INTO r
    FROM runs u WHERE u.id = wanted;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  pays_in := r.currency;
  IF who = 'buyer' THEN
    due := EXISTS (SELECT FROM holds h WHERE h.run_id = wanted AND h.state = 'held'
                                          AND h.expires_at <= moment);
    IF due THEN
      PERFORM sweep_holds(wanted, moment);
    END IF;
    listed := EXISTS (SELECT FROM waiting w WHERE w.run_id = wanted AND w.state = 'waiting');
    IF listed THEN  -- whoever waits comes first
      PERFORM offer_tickets(wanted, moment);
    END IF;
    IF due OR listed THEN
      room := lock_run(wanted);
    END IF;
  END IF;
  SELECT array_agg(t.id ORDER BY t.nth), array_agg(t.minor ORDER BY t.nth),
         array_agg(t.seats ORDER BY t.nth), array_agg(t.sells ORDER BY t.nth), array_agg(0)
    INTO lots, prices, rooms, sells, takes FROM run_tiers(wanted, who, moment) AS t;

  -- Most come once, and without a code.
  repeated := EXISTS (SELECT FROM holds h WHERE h.id = ANY (ids))
              OR cardinality(ids) > (SELECT count(DISTINCT i) FROM unnest(ids) AS i);
  coded := num_nonnulls(VARIADIC codes) > 0;
  alone := repeated  -- or one claim counts for another's limit
           OR cardinality(ids) > (SELECT count(DISTINCT l) FROM unnest(listeners) AS l)
           OR num_nonnulls(VARIADIC origins) > (SELECT count(DISTINCT o) FROM unnest(origins) AS o);
  SELECT NULL::varchar AS id, NULL::varchar AS tier_id, NULL::integer AS rate_bps,
         NULL::bigint AS minor, NULL::integer AS room, NULL::boolean AS runs INTO code;
  FOR c IN
    SELECT * FROM unnest(ids, tiers, listeners, origins, codes, quantities, leasts)
             WITH ORDINALITY AS a (id, tier, listener, origin, code, quantity, least, n)
     ORDER BY n
  LOOP
    hold := c.id; outcome := NULL; tier := NULL; given := 0; price := NULL; now_is := NULL;
    lasts_until := NULL; made := NULL; most := NULL;
    again := false;
    IF repeated THEN
      SELECT h.* INTO known FROM holds h WHERE h.id = c.id;
      again := FOUND;
    END IF;
    IF again THEN  -- asked again: answered as it is
      outcome := CASE WHEN (known.run_id, known.listener_id) = (wanted, c.listener)
                       AND known.quantity BETWEEN c.least AND c.quantity
                       AND known.tier_id = coalesce(c.tier, known.tier_id)
                      THEN 'held' ELSE 'differs' END;
      tier := known.tier_id; given := known.quantity; price := known.minor;
      now_is := known.state; lasts_until := known.expires_at; made := known.created_at;
      left_over := known.remaining;
      RETURN NEXT;
      CONTINUE;
    END IF;

    IF coded THEN
      SELECT o.id, o.tier_id, o.rate_bps, o.minor,
             coalesce(p.quota - p.held - p.sold, 2147483647) AS room,
             coalesce(moment < o.closes_at, true) AS runs
        INTO code FROM codes o JOIN pools p ON p.id = o.id
       WHERE o.run_id = wanted AND o.code = c.code;
    END IF;
    IF c.code IS NOT NULL AND code.id IS NULL THEN
      outcome := 'no_code';
    ELSIF c.code IS NOT NULL AND NOT (code.runs AND code.room >= c.least) THEN
      outcome := 'code_over';
    ELSIF r.drawing AND who <> 'house' THEN
      outcome := 'drawing';
    END IF;

    place := NULL; on_sale := false;
    FOR i IN 1 .. coalesce(cardinality(lots), 0) LOOP
      CONTINUE WHEN lots[i] <> coalesce(c.tier, lots[i])
                 OR lots[i] <> coalesce(code.tier_id, lots[i]);
      on_sale := on_sale OR sells[i];
      IF sells[i] AND least(room, rooms[i]) >= c.least THEN
        place := i;
        EXIT;
      END IF;
    END LOOP;
    IF outcome IS NULL AND place IS NULL THEN
      outcome := CASE WHEN c.tier <> ALL (lots) THEN 'no_tier'
                      WHEN NOT on_sale THEN 'not_on_sale' ELSE 'sold_out' END;
    END IF;

    IF outcome IS NULL THEN
      given := least(c.quantity, room, rooms[place], code.room);
      IF who <> 'house' AND r.per_listener IS NOT NULL THEN
        SELECT r.per_listener - coalesce(sum(h.quantity - h.returned), 0) INTO allowed
          FROM holds h WHERE h.run_id = wanted AND h.listener_id = c.listener
                         AND h.state IN ('held', 'expiring', 'sold');
        most := greatest(allowed, 0);
      END IF;
      IF who <> 'house' AND r.per_address IS NOT NULL AND c.origin IS NOT NULL THEN
        SELECT r.per_address - coalesce(sum(h.quantity - h.returned), 0) INTO allowed
          FROM holds h WHERE h.run_id = wanted AND h.origin = c.origin
                         AND h.state IN ('held', 'expiring', 'sold');
        most := least(most, greatest(allowed, 0));
      END IF;
      given := least(given, most);
      IF given < c.least THEN
        outcome := 'limit'; given := 0;
      END IF;
    END IF;
    IF outcome = 'sold_out' THEN  -- until something may become free
      next_at := coalesce(next_at, (SELECT min(h.expires_at) FROM holds h
                                     WHERE h.run_id = wanted AND h.state = 'held'));
      lasts_until := next_at;
    ELSIF outcome = 'drawing' THEN
      lasts_until := r.opens_at + r.draw_s * interval '1 s';
    END IF;

    IF outcome IS NULL THEN
      tier := lots[place]; now_is := 'held'; made := moment;
      lasts_until := moment + interval '1 s' * CASE who WHEN 'waiting' THEN r.offer_s
                                                        ELSE r.hold_s END;
      price := greatest(0, prices[place] - coalesce(
                 code.minor, prices[place] * code.rate_bps / 10000, 0));
      outcome := 'held';
      room := room - given;
      rooms[place] := rooms[place] - given;
      takes[place] := takes[place] + given;
      IF code.id IS NOT NULL THEN
        UPDATE pools p SET held = p.held + given WHERE p.id = code.id;
      END IF;
      IF alone THEN
        PERFORM write_holds(wanted, moment, lasts_until, ARRAY[c.id], ARRAY[tier],
                            ARRAY[code.id::text], ARRAY[c.listener], ARRAY[c.origin],
                            ARRAY[given], ARRAY[price], ARRAY[room]);
      ELSE
        new_ids := array_append(new_ids, c.id); new_tiers := array_append(new_tiers, tier);
        new_codes := array_append(new_codes, code.id::text);
        new_listeners := array_append(new_listeners, c.listener);
        new_origins := array_append(new_origins, c.origin);
        new_givens := array_append(new_givens, given);
        new_prices := array_append(new_prices, price); new_rooms := array_append(new_rooms, room);
        lasts := lasts_until;
      END IF;
    END IF;
    left_over := room;
    RETURN NEXT;
  END LOOP;

  IF cardinality(new_ids) > 0 THEN
    PERFORM write_holds(wanted, moment, lasts, new_ids, new_tiers, new_codes, new_listeners,
                        new_origins, new_givens, new_prices, new_rooms);
  END IF;
  IF 0 < ANY (takes) THEN
    PERFORM count_tickets(wanted, lots, NULL, takes, array_fill(0, ARRAY[cardinality(takes)]));
  END IF;
END $$;
"""

# The same for acts of the API: those that are known are left alone, and each hold that is made is
# noted as what its act came to.  Where another act was noted under one of the keys a moment ago,
# nothing is done (acts_actor_key_key): the next try knows it.
ACTS = """
CREATE FUNCTION claim_by_acts(
  wanted text, moment timestamptz, names text[], actors text[], keys text[], operations text[],
  targets text[], fingerprints bytea[], ids text[], tiers text[], listeners text[],
  origins bytea[], codes text[], quantities integer[], leasts integer[]
) RETURNS TABLE (
  known boolean, hold text, outcome text, tier text, given integer, price bigint, pays_in text,
  now_is text, lasts_until timestamptz, made timestamptz, most integer, left_over integer
) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  WITH asked AS (
    SELECT * FROM unnest(names, actors, keys, operations, targets, fingerprints,
                         ids, tiers, listeners, origins, codes, quantities, leasts)
      WITH ORDINALITY AS q (name, actor, key, operation, target, fingerprint,
                            id, tier, listener, origin, code, quantity, least, n)
  ), fresh AS (
    SELECT q.*, row_number() OVER (ORDER BY q.n) AS nth FROM asked q
     WHERE NOT EXISTS (SELECT FROM acts a WHERE a.actor = q.actor AND a.key = q.key)
  ), claimed AS MATERIALIZED (
    SELECT c.*
      FROM (SELECT array_agg(id ORDER BY n) AS ids, array_agg(tier ORDER BY n) AS tiers,
                   array_agg(listener ORDER BY n) AS listeners,
                   array_agg(origin ORDER BY n) AS origins, array_agg(code ORDER BY n) AS codes,
                   array_agg(quantity ORDER BY n) AS quantities,
                   array_agg(least ORDER BY n) AS leasts FROM fresh) AS f,
           claim_tickets(wanted, 'buyer', moment, f.ids, f.tiers, f.listeners, f.origins,
                         f.codes, f.quantities, f.leasts) WITH ORDINALITY AS c
  ), noted AS (
    INSERT INTO acts (id, actor, key, operation, target, fingerprint, begun_at, leased_until,
                      attempts, status, ended_at)
    SELECT f.name, f.actor, f.key, f.operation, f.target, f.fingerprint, moment, moment, 1, 200,
           moment
      FROM fresh f JOIN claimed c ON c.ordinality = f.nth
     WHERE c.outcome = 'held' AND NOT c.again
     ORDER BY f.actor, f.key
  )
  SELECT f.n IS NULL OR c.outcome = 'held' AND c.again, c.hold, c.outcome, c.tier, c.given,
         c.price, c.pays_in, c.now_is, c.lasts_until, c.made, c.most, c.left_over
    FROM asked q LEFT JOIN fresh f ON f.n = q.n LEFT JOIN claimed c ON c.ordinality = f.nth
   ORDER BY q.n;
END $$;
"""

# What is freed goes to the waiting list in the same transaction, before anybody else can see it.
# Whoever wants to free a hold whose payment was opened a moment ago finds it paying: it stays.
# Whoever can be given as few as they would take is next; who cannot is passed over, and stays.
FREE = """
CREATE FUNCTION offer_tickets(wanted text, moment timestamptz) RETURNS integer LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  room   integer;
  passed text[] := '{}';
  offers integer := 0;
  w      record;
  tried  record;
BEGIN
  LOOP
    room := lock_run(wanted);
    EXIT WHEN room <= 0 OR EXISTS (
      SELECT FROM runs r WHERE r.id = wanted AND moment < r.opens_at + r.draw_s * interval '1 s');
    WITH lots AS (
      SELECT t.id, least(t.seats, room) AS free FROM run_tiers(wanted, 'waiting', moment) AS t
       WHERE t.sells AND t.seats > 0
    ), anything AS (
      SELECT q.* FROM waiting q
       WHERE q.run_id = wanted AND q.tier_id IS NULL AND q.state = 'waiting'
         AND q.least <= (SELECT max(l.free) FROM lots l) AND q.id <> ALL (passed)
       ORDER BY q.rank, q.id LIMIT least(room, 100)
    ), these AS (
      SELECT q.* FROM lots l, LATERAL (
        SELECT q.* FROM waiting q
         WHERE q.run_id = wanted AND q.tier_id = l.id AND q.state = 'waiting'
           AND q.least <= l.free AND q.id <> ALL (passed)
         ORDER BY q.rank, q.id LIMIT least(room, 100)) AS q
    ), turn AS (
      SELECT q.*, 'hold_' || replace(gen_random_uuid()::text, '-', '') AS hold
        FROM (SELECT * FROM anything UNION ALL SELECT * FROM these) AS q
       ORDER BY q.rank, q.id LIMIT least(room, 100)
    )
    SELECT array_agg(q.id) AS ids, array_agg(q.hold) AS holds, array_agg(q.tier_id) AS tiers,
           array_agg(q.listener_id) AS listeners, array_agg(q.origin) AS origins,
           array_agg(NULL::text) AS codes, array_agg(q.quantity) AS quantities,
           array_agg(q.least) AS leasts
      INTO w FROM turn q;
    EXIT WHEN w.ids IS NULL;
    WITH answers AS (
      SELECT n.id, c.hold, c.outcome
        FROM claim_tickets(wanted, 'waiting', moment, w.holds, w.tiers, w.listeners, w.origins,
                           w.codes, w.quantities, w.leasts) AS c
        JOIN unnest(w.ids, w.holds) AS n (id, hold) ON n.hold = c.hold
    ), offered AS (
      UPDATE waiting q SET state = 'offered', hold_id = a.hold
        FROM answers a WHERE q.id = a.id AND a.outcome = 'held'
    )
    SELECT count(*) FILTER (WHERE a.outcome = 'held') AS offers,
           coalesce(array_agg(a.id) FILTER (WHERE a.outcome <> 'held'), '{}') AS passed
      INTO tried FROM answers a;
    offers := offers + tried.offers;
    passed := passed || tried.passed::text[];
  END LOOP;
  RETURN offers;
END $$;

CREATE FUNCTION free_holds(wanted text, ids text[], becomes text, moment timestamptz)
RETURNS integer LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  gone record;
BEGIN
  PERFORM lock_run(wanted);
  WITH freed AS (
    UPDATE holds h SET state = becomes, ended_at = moment, paying = false
     WHERE h.id = ANY (ids) AND h.run_id = wanted
       AND (h.state = 'expiring' OR h.state = 'held' AND NOT h.paying)
    RETURNING h.id, h.tier_id, h.code_id, h.quantity
  ), lapsed AS (
    UPDATE waiting w
       SET state = CASE becomes WHEN 'released' THEN 'left' ELSE 'lapsed' END, ended_at = moment
      FROM freed f WHERE w.hold_id = f.id AND w.state = 'offered'
  )
  SELECT count(*) AS many, array_agg(f.tier_id) AS tiers, array_agg(f.code_id) AS codes,
         array_agg(-f.quantity) AS helds, array_agg(0) AS solds INTO gone FROM freed f;
  IF gone.many > 0 THEN
    PERFORM count_tickets(wanted, gone.tiers, gone.codes, gone.helds, gone.solds);
    PERFORM offer_tickets(wanted, moment);
  END IF;
  RETURN gone.many;
END $$;

-- A hold whose payment is open at Stripe ends there first: it is marked, and keeps its place.
CREATE FUNCTION sweep_holds(wanted text, moment timestamptz) RETURNS integer LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  due text[];
BEGIN
  PERFORM lock_run(wanted);
  UPDATE holds h SET state = 'expiring'
   WHERE h.run_id = wanted AND h.state = 'held' AND h.expires_at <= moment AND h.paying;
  SELECT array_agg(d.id) INTO due FROM (  -- locked: one may be extended or paid for right now
    SELECT h.id FROM holds h
     WHERE h.run_id = wanted AND h.state = 'held' AND h.expires_at <= moment AND NOT h.paying
       FOR NO KEY UPDATE) AS d;
  RETURN CASE WHEN due IS NULL THEN 0 ELSE free_holds(wanted, due, 'expired', moment) END;
END $$;
"""

# Onto the list, unless tickets are simply to be had.  Until lots are drawn the rank is a lot: one
# that comes before every microsecond since 1970, which is the rank of who joins later.
JOIN = """
CREATE FUNCTION join_waiting(
  wanted text, name text, who text, address bytea, lot text, most integer, fewest integer,
  drawn bigint, moment timestamptz
) RETURNS TABLE (outcome text, known text, allowed integer) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  room integer := lock_run(wanted);
  r    record;
BEGIN
  SELECT u.*, s.state AS space_state,
         coalesce(moment < u.opens_at + u.draw_s * interval '1 s', false) AS drawing INTO r
    FROM runs u JOIN spaces s ON s.id = u.space_id WHERE u.id = wanted;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  SELECT CASE WHEN (w.run_id, w.listener_id, w.quantity, w.least) = (wanted, who, most, fewest)
               AND w.tier_id IS NOT DISTINCT FROM lot THEN 'joined' ELSE 'differs' END
    INTO outcome FROM waiting w WHERE w.id = name;
  IF FOUND THEN
    RETURN NEXT;
    RETURN;
  END IF;
  SELECT w.id INTO known FROM waiting w
   WHERE w.run_id = wanted AND w.listener_id = who AND w.state IN ('waiting', 'offered');
  SELECT least(
           r.per_listener - (SELECT coalesce(sum(h.quantity - h.returned), 0) FROM holds h
                              WHERE h.run_id = wanted AND h.listener_id = who
                                AND h.state IN ('held', 'expiring', 'sold')),
           CASE WHEN address IS NOT NULL AND r.per_address IS NOT NULL THEN
             r.per_address - (SELECT coalesce(sum(h.quantity - h.returned), 0) FROM holds h
                               WHERE h.run_id = wanted AND h.origin = address
                                 AND h.state IN ('held', 'expiring', 'sold'))
                           - (SELECT coalesce(sum(w.least), 0) FROM waiting w
                               WHERE w.run_id = wanted AND w.origin = address
                                 AND w.state = 'waiting')
           END) INTO allowed;
  IF lot <> ALL (ARRAY(SELECT t.id FROM tiers t WHERE t.run_id = wanted)) THEN
    outcome := 'no_tier';
  ELSIF r.cancelled_at IS NOT NULL OR r.space_state NOT IN ('scheduled', 'live')
        OR r.closes_at <= moment OR (moment < r.opens_at AND NOT r.drawing) OR NOT EXISTS (
          SELECT FROM tiers t WHERE t.run_id = wanted AND t.id = coalesce(lot, t.id)
                                AND t.kind <> 'comp' AND coalesce(moment < t.closes_at, true)) THEN
    outcome := 'not_on_sale';
  ELSIF known IS NOT NULL THEN
    outcome := 'waits';
  ELSIF allowed < fewest THEN
    outcome := 'limit'; allowed := greatest(allowed, 0);
  ELSIF NOT r.drawing THEN
    PERFORM sweep_holds(wanted, moment);
    room := lock_run(wanted);
    IF NOT EXISTS (SELECT FROM waiting w WHERE w.run_id = wanted AND w.state = 'waiting')
       AND EXISTS (SELECT FROM run_tiers(wanted, 'waiting', moment) AS t
                    WHERE t.id = coalesce(lot, t.id) AND t.sells
                      AND least(t.seats, room) >= fewest) THEN
      outcome := 'on_sale';
    END IF;
  END IF;
  IF outcome IS NULL THEN
    INSERT INTO waiting (id, run_id, tier_id, listener_id, origin, quantity, least, rank, state,
                         created_at)
    VALUES (name, wanted, lot, who, address, most, fewest,
            CASE WHEN r.drawing THEN drawn ELSE extract(epoch FROM moment) * 1000000 END,
            'waiting', moment)
    ON CONFLICT (id) DO NOTHING;
    outcome := CASE WHEN FOUND THEN 'joined' ELSE 'differs' END;  -- another run's, a moment ago
    PERFORM offer_tickets(wanted, moment);
  END IF;
  RETURN NEXT;
END $$;
"""

# Paid (or free) purchases become tickets: from their hold, or, where that is over, from what the
# run has left; answers with those for which nothing is.
SELL = """
CREATE FUNCTION sell_tickets(wanted text, bought text[], moment timestamptz)
RETURNS SETOF text LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  number_before integer;
  over_by_now   boolean;  -- a ticket of a Space that has been is worth nothing
  seated        text[] := '{}';
  unseated      text[] := '{}';
  moved         record;
  p             record;
  room          integer;
BEGIN
  PERFORM lock_run(wanted);
  SELECT issued INTO number_before FROM pools WHERE id = wanted;
  SELECT r.cancelled_at IS NOT NULL OR s.state NOT IN ('scheduled', 'live') INTO over_by_now
    FROM runs r JOIN spaces s ON s.id = r.space_id WHERE r.id = wanted;
  WITH sold AS (
    UPDATE holds h SET state = 'sold', ended_at = moment, paying = false
      FROM purchases b
     WHERE b.id = ANY (bought) AND b.settled_at IS NULL AND b.unseated_at IS NULL
       AND h.id = b.hold_id AND h.state IN ('held', 'expiring') AND NOT over_by_now
       AND NOT EXISTS (  -- paid after it was cancelled, while another one of the hold is open
           SELECT FROM purchases o WHERE o.hold_id = h.id AND o.id <> b.id
              AND o.cancelled_at IS NULL AND o.unseated_at IS NULL)
    RETURNING b.id AS purchase, h.id, h.tier_id, h.code_id, h.quantity
  ), taken AS (
    UPDATE waiting w SET state = 'taken', ended_at = moment
      FROM sold s WHERE w.hold_id = s.id AND w.state = 'offered'
  )
  SELECT array_agg(s.purchase) AS purchases, array_agg(s.tier_id) AS tiers,
         array_agg(s.code_id) AS codes, array_agg(-s.quantity) AS helds,
         array_agg(s.quantity) AS solds INTO moved FROM sold s;
  IF moved.purchases IS NOT NULL THEN
    PERFORM count_tickets(wanted, moved.tiers, moved.codes, moved.helds, moved.solds);
    seated := moved.purchases;
  END IF;

  FOR p IN  -- their holds are over: lapsed, or sold to another purchase of the same
    SELECT b.id, h.id AS hold, h.tier_id, h.code_id, h.quantity, h.state
      FROM purchases b JOIN holds h ON h.id = b.hold_id
     WHERE b.id = ANY (bought) AND b.settled_at IS NULL AND b.unseated_at IS NULL
       AND b.id <> ALL (seated)
     ORDER BY b.id
  LOOP
    SELECT min(q.quota - q.held - q.sold) INTO room FROM pools q JOIN runs r ON r.id = wanted
     WHERE q.id IN (p.tier_id, p.code_id, r.id, 'space:' || r.space_id);
    UPDATE holds h SET state = 'sold', ended_at = moment
     WHERE h.id = p.hold AND h.state IN ('released', 'expired')
       AND NOT over_by_now AND room >= p.quantity;
    IF FOUND THEN
      PERFORM count_tickets(wanted, ARRAY[p.tier_id], ARRAY[p.code_id], ARRAY[0],
                            ARRAY[p.quantity]);
      seated := seated || p.id::text;
    ELSE
      unseated := unseated || p.id::text;
    END IF;
  END LOOP;

  UPDATE tickets t SET state = 'valid', issued_at = moment, number = number_before + n.nth
    FROM (SELECT i.id, row_number() OVER (ORDER BY i.purchase_id, i.id) AS nth
            FROM tickets i WHERE i.purchase_id = ANY (seated)) AS n
   WHERE t.id = n.id;
  UPDATE purchases SET settled_at = moment, cancelled_at = NULL WHERE id = ANY (seated);
  UPDATE purchases SET unseated_at = moment, cancelled_at = NULL WHERE id = ANY (unseated);
  UPDATE tickets SET state = 'void', voided_at = moment WHERE purchase_id = ANY (unseated);
  INSERT INTO ticket_refunds (ticket_id, cause, next_at, created_at)
  SELECT t.id, 'no_seat', moment, moment FROM tickets t
   WHERE t.purchase_id = ANY (unseated) AND t.minor > 0;
  RETURN QUERY SELECT unnest(unseated);
END $$;

-- Valid tickets end: their places go to the waiting list, their money back to who paid.
CREATE FUNCTION void_tickets(wanted text, ids text[], why text, moment timestamptz)
RETURNS integer LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
DECLARE
  gone record;
BEGIN
  PERFORM lock_run(wanted);
  WITH voided AS (
    UPDATE tickets t SET state = 'void', voided_at = moment
      FROM purchases b JOIN holds h ON h.id = b.hold_id
     WHERE t.id = ANY (ids) AND t.run_id = wanted AND t.state = 'valid' AND b.id = t.purchase_id
    RETURNING t.id, t.tier_id, t.minor, h.id AS hold, h.code_id
  ), owed AS (
    INSERT INTO ticket_refunds (ticket_id, cause, next_at, created_at)
    SELECT v.id, why, moment, moment FROM voided v WHERE v.minor > 0
  ), less AS (
    UPDATE holds h SET returned = h.returned + v.many
      FROM (SELECT hold, count(*)::integer AS many FROM voided GROUP BY hold) AS v
     WHERE h.id = v.hold
  )
  SELECT count(*) AS many, array_agg(v.tier_id) AS tiers, array_agg(v.code_id) AS codes,
         array_agg(0) AS helds, array_agg(-1) AS solds INTO gone FROM voided v;
  IF gone.many > 0 THEN
    PERFORM count_tickets(wanted, gone.tiers, gone.codes, gone.helds, gone.solds);
    PERFORM offer_tickets(wanted, moment);
  END IF;
  RETURN gone.many;
END $$;
"""

GRANTS = """
GRANT SELECT, INSERT ON pools, runs, tiers, codes, holds, purchases, tickets, ticket_refunds,
  waiting TO {app};
GRANT UPDATE (quota, held, sold, issued) ON pools TO {app};
GRANT UPDATE (opens_at, closes_at, per_listener, per_address, hold_s, offer_s, refund_until_h,
              version, cancelled_at) ON runs TO {app};
GRANT UPDATE (name, minor, opens_at, closes_at) ON tiers TO {app};
GRANT UPDATE (closes_at) ON codes TO {app};
GRANT UPDATE (returned, state, paying, expires_at, ended_at) ON holds TO {app};
GRANT UPDATE (settled_at, unseated_at, cancelled_at) ON purchases TO {app};
GRANT UPDATE (listener_id, holder, state, number, secret, serial, issued_at, voided_at)
   ON tickets TO {app};
GRANT UPDATE (refund_id, attempts, next_at, error, done_at) ON ticket_refunds TO {app};
GRANT UPDATE (state, hold_id, ended_at) ON waiting TO {app};
"""

DROPS = """
DROP FUNCTION void_tickets(text, text[], text, timestamptz);
DROP FUNCTION sell_tickets(text, text[], timestamptz);
DROP FUNCTION join_waiting;
DROP FUNCTION sweep_holds(text, timestamptz);
DROP FUNCTION free_holds(text, text[], text, timestamptz);
DROP FUNCTION offer_tickets(text, timestamptz);
DROP FUNCTION claim_by_acts;
DROP FUNCTION claim_tickets;
DROP FUNCTION write_holds;
DROP FUNCTION run_tiers(text, text, timestamptz);
DROP FUNCTION lock_run(text);
DROP FUNCTION count_tickets(text, text[], text[], integer[], integer[]);
DROP TABLE waiting, ticket_refunds, tickets, purchases, holds, codes, tiers, runs, pools;
DROP INDEX payments_release_idx;
CREATE INDEX payments_release_idx ON payments (id) WHERE state = 'paid' AND released_at IS NULL;
ALTER TABLE payments DROP COLUMN space_id, DROP COLUMN release_days;
"""


def upgrade() -> None:
    grants = GRANTS.format(app=context.config.attributes["app_role"])
    for statement in statements(TABLES, SPACES, COUNT, CLAIM, ACTS, FREE, JOIN, SELL, grants):
        op.execute(statement)


def downgrade() -> None:
    for statement in statements(DROPS):
        op.execute(statement)
