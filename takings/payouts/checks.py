"""What must hold between payouts, their transfers and reversals, and the journal."""

from takings.ledger.checks import Check

# Each payout that went out or is under way reads its own postings, so all of them once.
LINES = """
SELECT p.id AS guilty,
       format('pays %s, its lines sum to %s', p.minor, p.brought + s.minor - p.carried) AS why
  FROM payouts p, LATERAL (
       SELECT coalesce(-sum(minor), 0)::bigint AS minor FROM postings
        WHERE account_id = p.account_id AND slot = 0
          AND posted_at >= coalesce(p.after_at, '-infinity') AND posted_at <= p.upto_at
          AND seq > p.after_seq AND seq <= p.upto_seq) AS s
 WHERE p.state <> 'refused' AND p.brought + s.minor - p.carried <> p.minor
"""

IN_A_ROW = """
SELECT id AS guilty,
       format('begins after %s with %s, the one before it ends at %s and leaves %s',
              after_seq, brought, was_seq - 1, was_carried) AS why
  FROM (SELECT *, lag(upto_seq, 1, -1::bigint) OVER mine + 1 AS was_seq,
               lag(carried, 1, 0::bigint) OVER mine AS was_carried
          FROM payouts WHERE state <> 'refused'
        WINDOW mine AS (PARTITION BY account_id ORDER BY upto_seq)) AS p
 WHERE (after_seq, brought) <> (was_seq, was_carried)
"""

IN_TRANSIT = """
SELECT coalesce(p.host_id, a.host_id) AS guilty,
       format('payouts under way say %s %s, the journal %s', coalesce(p.minor, 0),
              coalesce(p.currency, a.currency), coalesce(a.minor, 0)) AS why
  FROM (SELECT host_id, currency, sum(minor)::bigint AS minor FROM payouts
         WHERE state IN ('waiting', 'sending') GROUP BY host_id, currency) p
  FULL JOIN (SELECT split_part(a.name, ':', 3) AS host_id, a.currency, -sum(b.minor) AS minor
               FROM accounts a JOIN balances b ON b.account_id = a.id
              WHERE a.name LIKE 'liabilities:host:%:in_transit' GROUP BY a.name, a.currency) a
    ON a.host_id = p.host_id AND a.currency = p.currency
 WHERE coalesce(p.minor, 0) <> coalesce(a.minor, 0)
"""

TRANSFERS = """
SELECT coalesce(p.id, t.payout_id) AS guilty,
       format('is %s and pays %s, its transfers sum to %s', p.state, p.minor, t.minor) AS why
  FROM (SELECT * FROM payouts WHERE state IN ('sending', 'sent')) p
  FULL JOIN (SELECT payout_id, sum(minor) AS minor, bool_and(state = 'sent') AS sent
               FROM transfers WHERE state IN ('asked', 'sent') GROUP BY payout_id) t
    ON t.payout_id = p.id
 WHERE p.minor IS DISTINCT FROM t.minor OR (p.state = 'sent') IS DISTINCT FROM t.sent
 UNION ALL
SELECT coalesce(t.id, k.key), CASE WHEN k.key IS NULL THEN 'sent, but not posted'
                                   ELSE 'posted, but not sent' END
  FROM (SELECT * FROM transfers WHERE state = 'sent') t
  FULL JOIN (SELECT * FROM entry_keys WHERE key LIKE 'transfer:%:sent') k
    ON k.key = 'transfer:' || t.id || ':sent'
 WHERE t.id IS NULL OR k.key IS NULL
"""

REVERSALS = """
SELECT t.id AS guilty, format('%s reversed and %s to be, the reversals say %s and %s', t.reversed,
                              t.reversing, coalesce(r.booked, 0), coalesce(r.asked, 0)) AS why
  FROM transfers t
  LEFT JOIN (SELECT transfer_id, sum(minor) FILTER (WHERE state = 'booked') AS booked,
                    sum(minor) FILTER (WHERE state = 'asked') AS asked
               FROM reversals GROUP BY transfer_id) r ON r.transfer_id = t.id
 WHERE t.reversed <> coalesce(r.booked, 0) OR t.reversing <> coalesce(r.asked, 0)
 UNION ALL
SELECT coalesce(r.id, k.key), CASE WHEN k.key IS NULL THEN 'booked, but not posted'
                                   ELSE 'posted, but not booked' END
  FROM (SELECT * FROM reversals WHERE state = 'booked') r
  FULL JOIN (SELECT * FROM entry_keys WHERE key LIKE 'reversal:%:booked') k
    ON k.key = 'reversal:' || r.stripe_id || ':booked'
 WHERE r.id IS NULL OR k.key IS NULL
"""

CHECKS = (
    Check("payout lines", "Every payout's lines sum to it.", LINES),
    Check("payouts in a row", "Every payout begins where the one before it ended.", IN_A_ROW),
    Check("in transit", "What is in transit is what payouts under way pay.", IN_TRANSIT),
    Check("transfers", "Every payout's transfers sum to it, and are posted.", TRANSFERS),
    Check("reversals", "What came back of a transfer is what its reversals say.", REVERSALS),
)
