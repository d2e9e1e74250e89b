"""What must hold between runs, what is left of them, their holds, purchases, tickets and lines."""

from takings.ledger.checks import Check

POOLS_EXIST = """
SELECT o.id AS guilty, CASE WHEN p.id IS NULL THEN 'has no pool'
                            ELSE 'a run without a size' END AS why
  FROM (SELECT id, true AS limited FROM runs
         UNION ALL SELECT id, false FROM tiers
         UNION ALL SELECT id, false FROM codes) o
  LEFT JOIN pools p ON p.id = o.id
 WHERE p.id IS NULL OR (o.limited AND p.quota IS NULL)
"""

# What is taken, counted anew from the rows: of the tier, the code, the run and the Space of each.
POOLS_AGREE = """
SELECT p.id AS guilty, format('says %s held and %s sold, the rows say %s and %s', p.held, p.sold,
                              coalesce(t.held, 0), coalesce(t.sold, 0)) AS why
  FROM pools p
  LEFT JOIN (
       SELECT pool, sum(m.held) AS held, sum(m.sold) AS sold
         FROM (SELECT h.run_id, h.tier_id, h.code_id, h.quantity AS held, 0 AS sold
                 FROM holds h WHERE h.state IN ('held', 'expiring')
                UNION ALL
               SELECT i.run_id, i.tier_id, h.code_id, 0, 1
                 FROM tickets i
                 JOIN purchases b ON b.id = i.purchase_id
                 JOIN holds h ON h.id = b.hold_id
                WHERE i.state = 'valid') m
         JOIN runs r ON r.id = m.run_id,
              LATERAL (VALUES (m.tier_id), (m.code_id), (r.id),
                              ('space:' || r.space_id)) AS taken (pool)
        GROUP BY pool) t ON t.pool = p.id
 WHERE p.held <> coalesce(t.held, 0) OR p.sold <> coalesce(t.sold, 0)
"""

NEVER_OVERSOLD = """
SELECT id AS guilty, format('%s held and %s sold of %s', held, sold, quota) AS why
  FROM pools WHERE held + sold > quota
"""

NUMBERS = """
SELECT r.id AS guilty, format('%s were issued, %s are numbered, from %s to %s', p.issued,
                              coalesce(t.many, 0), t.low, t.high) AS why
  FROM runs r
  JOIN pools p ON p.id = r.id
  LEFT JOIN (SELECT run_id, count(number) AS many, min(number) AS low, max(number) AS high
               FROM tickets GROUP BY run_id) t ON t.run_id = r.id
 WHERE p.issued <> coalesce(t.many, 0) OR t.low <> 1 OR t.high <> t.many
"""

# A hold is of its tier's run, and all that it sold has a number; what is returned of it is void.
HOLDS_AGREE = """
SELECT h.id AS guilty,
       format('%s of %s tickets of %s, %s returned; the tickets say %s of %s, %s void', h.state,
              h.quantity, h.run_id, h.returned, coalesce(n.many, 0), t.run_id, coalesce(n.void, 0))
       AS why
  FROM holds h
  JOIN tiers t ON t.id = h.tier_id
  LEFT JOIN (SELECT b.hold_id, count(*) AS many, count(*) FILTER (WHERE i.state = 'void') AS void,
                    min(i.run_id) AS run_id, min(i.tier_id) AS tier_id,
                    max(i.run_id) AS other_run, max(i.tier_id) AS other_tier
               FROM tickets i JOIN purchases b ON b.id = i.purchase_id
              WHERE i.number IS NOT NULL GROUP BY b.hold_id) n ON n.hold_id = h.id
 WHERE h.run_id <> t.run_id
    OR coalesce(n.many, 0) <> CASE h.state WHEN 'sold' THEN h.quantity ELSE 0 END
    OR h.returned <> coalesce(n.void, 0)
    OR n.run_id <> h.run_id OR n.other_run <> h.run_id
    OR n.tier_id <> h.tier_id OR n.other_tier <> h.tier_id
"""

# Settled: all are valid, or were and are void.  Unseated: all are void.  Else none is valid.
PURCHASES_AGREE = """
SELECT b.id AS guilty,
       format('%s, its payment %s, with %s tickets pending, %s valid and %s void',
              CASE WHEN b.settled_at IS NOT NULL THEN 'settled'
                   WHEN b.unseated_at IS NOT NULL THEN 'unseated'
                   WHEN b.cancelled_at IS NOT NULL THEN 'cancelled' ELSE 'open' END,
              coalesce(p.state, 'none'), t.pending, t.valid, t.void) AS why
  FROM purchases b
  LEFT JOIN payments p ON p.id = b.payment_id,
       LATERAL (SELECT count(*) FILTER (WHERE i.state = 'pending') AS pending,
                       count(*) FILTER (WHERE i.state = 'valid') AS valid,
                       count(*) FILTER (WHERE i.state = 'void') AS void
                  FROM tickets i WHERE i.purchase_id = b.id) AS t
 WHERE CASE WHEN b.settled_at IS NOT NULL THEN pending > 0 OR valid + void = 0
            WHEN b.unseated_at IS NOT NULL THEN pending + valid > 0
            ELSE valid > 0 END
    OR (p.state = 'paid') <> (num_nonnulls(b.settled_at, b.unseated_at) = 1)
"""

TICKETS_ARE_PAID = """
SELECT i.id AS guilty, format('costs %s and has %s paid lines of %s', i.minor, count(l.id),
                              coalesce(sum(l.minor), 0)) AS why
  FROM tickets i
  JOIN purchases b ON b.id = i.purchase_id
  LEFT JOIN (SELECT l.*, p.id AS paid FROM lines l
               JOIN payments p ON p.id = l.payment_id AND p.state = 'paid'
              WHERE l.kind = 'ticket') l ON l.subject = i.id AND l.paid = b.payment_id
 WHERE i.state = 'valid'
 GROUP BY i.id
HAVING count(l.id) <> CASE WHEN i.minor > 0 THEN 1 ELSE 0 END
    OR coalesce(sum(l.minor), 0) <> i.minor
 UNION ALL
SELECT l.id, format('paid for the ticket %s, which is %s', l.subject, coalesce(i.state, 'nowhere'))
  FROM lines l
  JOIN payments p ON p.id = l.payment_id AND p.state = 'paid'
  LEFT JOIN (tickets i JOIN purchases b ON b.id = i.purchase_id)
    ON i.id = l.subject AND b.payment_id = p.id AND i.state IN ('valid', 'void')
 WHERE l.kind = 'ticket' AND i.id IS NULL
"""

MONEY_IS_RETURNED = """
SELECT i.id AS guilty, CASE WHEN o.ticket_id IS NULL THEN 'void, and its money is not owed'
                            ELSE format('%s, and its money is owed', i.state) END AS why
  FROM tickets i
  JOIN purchases b ON b.id = i.purchase_id
  LEFT JOIN ticket_refunds o ON o.ticket_id = i.id
 WHERE (o.ticket_id IS NOT NULL)
    <> (i.state = 'void' AND i.minor > 0 AND num_nonnulls(b.settled_at, b.unseated_at) = 1)
"""

OFFERS_ARE_HELD = """
SELECT w.id AS guilty, format('%s, its hold %s', w.state, coalesce(h.state, 'none')) AS why
  FROM waiting w LEFT JOIN holds h ON h.id = w.hold_id
 WHERE CASE w.state
       WHEN 'offered' THEN h.state IS NULL OR h.state NOT IN ('held', 'expiring')
       WHEN 'taken' THEN h.state IS DISTINCT FROM 'sold'
       ELSE h.state IN ('held', 'expiring') END
"""

CHECKS = (
    Check("pools", "Every run, tier and code has its pool, and every run a size.", POOLS_EXIST),
    Check("taken", "What is taken of a pool is what is held and sold.", POOLS_AGREE),
    Check("never oversold", "Nothing is held or sold beyond its quota.", NEVER_OVERSOLD),
    Check("numbers", "The tickets of a run are numbered without a gap.", NUMBERS),
    Check("holds", "Every hold that is sold has its tickets, and no other.", HOLDS_AGREE),
    Check("purchases", "Whoever has paid has a ticket, or was not seated.", PURCHASES_AGREE),
    Check("tickets paid", "Every valid ticket is paid once, in full.", TICKETS_ARE_PAID),
    Check("tickets returned", "The money of every void ticket is owed.", MONEY_IS_RETURNED),
    Check("offers", "Whoever was offered tickets from the line holds them.", OFFERS_ARE_HELD),
)
