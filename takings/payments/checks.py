"""What must hold between payments, their lines, Stripe's cash and the journal."""

from takings.ledger.checks import Check

EQUATION = """
SELECT currency AS guilty, format('what we owe and earned differs from what we have by %s',
                                  sum(minor)) AS why
  FROM (SELECT a.currency, sum(b.minor) AS minor
          FROM accounts a JOIN balances b ON b.account_id = a.id GROUP BY a.currency) s
 GROUP BY currency HAVING sum(minor) <> 0
"""

PAID_ARE_EARNED = """
SELECT coalesce(p.id, k.key) AS guilty,
       CASE WHEN k.key IS NULL THEN 'paid, but nothing was earned'
            ELSE 'earned, but not paid' END AS why
  FROM (SELECT * FROM payments WHERE state = 'paid') p
  FULL JOIN (SELECT * FROM entry_keys WHERE key LIKE 'payment:%:earned') k
    ON k.key = 'payment:' || p.id || ':earned'
 WHERE p.id IS NULL OR k.key IS NULL
"""

LINES_ARE_CREDITED = """
SELECT l.id AS guilty, format('costs %s, credited %s', l.minor + l.fees_covered,
                              coalesce(sum(a.credited), 0)) AS why
  FROM lines l JOIN payments p ON p.id = l.payment_id AND p.state = 'paid'
  LEFT JOIN allotments a ON a.line_id = l.id
 GROUP BY l.id HAVING l.minor + l.fees_covered <> coalesce(sum(a.credited), 0)
"""

LINES_ARE_RETURNED = """
SELECT l.id AS guilty,
       format('returned %s, disputed %s, taken %s from its shares, refunds say %s', l.returned,
              l.disputed, t.taken, coalesce(r.minor, 0)) AS why
  FROM lines l
  JOIN (SELECT line_id, sum(taken) AS taken FROM allotments GROUP BY line_id) t ON t.line_id = l.id
  LEFT JOIN (SELECT rl.line_id, sum(rl.minor) AS minor
               FROM refund_lines rl JOIN refunds r ON r.id = rl.refund_id AND r.state = 'booked'
              GROUP BY rl.line_id) r ON r.line_id = l.id
 WHERE l.returned + l.disputed <> t.taken OR l.returned <> coalesce(r.minor, 0)
"""

DISPUTES_ARE_DIVIDED = """
SELECT d.payment_id AS guilty,
       format('the bank took %s: the lines say %s, and %s lost; it may take %s, the lines say %s',
              d.taken, l.disputed, p.lost, d.frozen, l.frozen) AS why
  FROM (SELECT payment_id, sum(taken) AS taken, sum(frozen) AS frozen
          FROM disputes GROUP BY payment_id) d
  JOIN payments p ON p.id = d.payment_id
  JOIN (SELECT payment_id, sum(disputed) AS disputed, sum(frozen) AS frozen,
               sum(minor + fees_covered - returned) AS left_over
          FROM lines GROUP BY payment_id) l ON l.payment_id = d.payment_id
 WHERE l.disputed + p.lost <> d.taken
    OR l.frozen <> least(d.frozen, l.left_over - l.disputed)
"""

LINES_ARE_POSTED = """
SELECT coalesce(a.line_id, p.line) AS guilty,
       format('payee %s: the rows say %s left, %s held, %s reserved, %s rolling, %s parked; '
              'the journal %s, %s, %s, %s, %s', coalesce(a.host_id, p.host_id),
              a.left_over, a.held, a.reserved, a.rolling, a.parked,
              p.left_over, p.held, p.reserved, p.rolling, p.parked) AS why
  FROM (SELECT line_id, host_id, sum(credited - taken - fee + fee_back - dispute_fee) AS left_over,
               sum(held) AS held, sum(reserved) AS reserved, sum(rolling) AS rolling,
               sum(credited - taken) FILTER (WHERE account LIKE 'liabilities:parked:%') AS parked
          FROM allotments WHERE host_id IS NOT NULL GROUP BY line_id, host_id) a
  FULL JOIN (
       SELECT p.line, split_part(acc.name, ':', 3) AS host_id, -sum(p.minor) AS left_over,
              -sum(p.minor) FILTER (WHERE acc.name LIKE '%:held') AS held,
              -sum(p.minor) FILTER (WHERE acc.name LIKE '%:reserved') AS reserved,
              -sum(p.minor) FILTER (WHERE acc.name LIKE '%:rolling') AS rolling,
              -sum(p.minor) FILTER (WHERE acc.name LIKE 'liabilities:parked:%') AS parked
         FROM postings p
         JOIN accounts acc ON acc.id = p.account_id
          AND (acc.name LIKE 'liabilities:host:%' OR acc.name LIKE 'liabilities:parked:%')
         JOIN entries e ON e.id = p.entry_id AND e.posted_at = p.posted_at
        WHERE p.line IS NOT NULL GROUP BY 1, 2) p
    ON p.line = a.line_id AND p.host_id = a.host_id
 WHERE (coalesce(a.left_over, 0), coalesce(a.held, 0), coalesce(a.reserved, 0),
        coalesce(a.rolling, 0), coalesce(a.parked, 0))
    <> (coalesce(p.left_over, 0), coalesce(p.held, 0), coalesce(p.reserved, 0),
        coalesce(p.rolling, 0), coalesce(p.parked, 0))
"""

DEFERRED_IS_HELD = """
SELECT coalesce(a.line_id, p.line) AS guilty,
       format('commission to come: %s not yet taken, the row says %s held, the journal %s', a.due,
              a.held, p.held) AS why
  FROM (SELECT a.line_id, a.held,
               CASE WHEN y.released_at IS NULL THEN a.credited - a.taken ELSE 0 END AS due
          FROM allotments a
          JOIN lines l ON l.id = a.line_id
          JOIN payments y ON y.id = l.payment_id
         WHERE a.account LIKE 'liabilities:deferred:%') a
  FULL JOIN (
       SELECT p.line, -sum(p.minor) AS held
         FROM postings p
         JOIN accounts acc ON acc.id = p.account_id AND acc.name LIKE 'liabilities:deferred:%'
        GROUP BY p.line) p ON p.line = a.line_id
 WHERE coalesce(a.due, 0) <> coalesce(p.held, 0) OR coalesce(a.held, 0) <> coalesce(p.held, 0)
"""

RESERVATIONS = """
SELECT l.id AS guilty, format('%s is being refunded, the refunds asked for say %s', l.refunding,
                              coalesce(r.minor, 0)) AS why
  FROM lines l
  LEFT JOIN (SELECT rl.line_id, sum(rl.minor) AS minor
               FROM refund_lines rl JOIN refunds r ON r.id = rl.refund_id AND r.state = 'asked'
              GROUP BY rl.line_id) r ON r.line_id = l.id
 WHERE l.refunding <> coalesce(r.minor, 0)
"""

CASH_IS_POSTED = """
SELECT coalesce(c.id, k.key) AS guilty,
       CASE WHEN k.key IS NULL THEN 'a balance transaction without its entry'
            ELSE 'an entry without its balance transaction' END AS why
  FROM (SELECT * FROM cash WHERE minor <> 0 OR fee <> 0) c
  FULL JOIN (SELECT * FROM entry_keys
              WHERE key LIKE 'txn:%' AND key NOT LIKE 'txn:%:%') k ON k.key = 'txn:' || c.id
 WHERE c.id IS NULL OR k.key IS NULL
"""

CLEARING = """
SELECT format('%s %s', a.name, e.subject) AS guilty,
       format('%s %s open since %s', sum(p.minor), a.currency, min(e.happened_at)) AS why
  FROM accounts a
  JOIN postings p ON p.account_id = a.id
  JOIN entries e ON e.id = p.entry_id AND e.posted_at = p.posted_at
 WHERE a.name LIKE 'clearing:%'
 GROUP BY a.name, a.currency, e.subject
HAVING sum(p.minor) <> 0
   AND min(e.happened_at) < now() - CASE a.name WHEN 'clearing:disputes' THEN interval '3 days'
                                                WHEN 'clearing:payouts' THEN interval '7 days'
                                                ELSE interval '24 hours' END
"""

SUSPENSE = """
SELECT e.subject AS guilty, format('%s %s that nobody understands yet', sum(p.minor), a.currency)
                            AS why
  FROM accounts a
  JOIN postings p ON p.account_id = a.id
  JOIN entries e ON e.id = p.entry_id AND e.posted_at = p.posted_at
 WHERE a.name = 'suspense' GROUP BY e.subject, a.currency HAVING sum(p.minor) <> 0
"""

COVERED = """
SELECT currency AS guilty, format('Stripe holds %s for us, we owe hosts %s', assets, owed) AS why
  FROM (SELECT a.currency,
               coalesce(sum(b.minor) FILTER (WHERE a.name LIKE 'assets:stripe:%'
                                                OR a.name LIKE 'clearing:%'), 0) AS assets,
               coalesce(-sum(b.minor) FILTER (WHERE a.name LIKE 'liabilities:host:%'
                                                 OR a.name LIKE 'liabilities:parked:%'), 0) AS owed
          FROM accounts a JOIN balances b ON b.account_id = a.id GROUP BY a.currency) s
 WHERE assets < owed
"""

SOLD_AS_SIGNED = """
SELECT l.id AS guilty, format('version %s of the agreement of %s was never signed by all',
                              l.agreement_version, l.space_id) AS why
  FROM lines l
  JOIN agreements a ON a.space_id = l.space_id AND a.version = l.agreement_version
 WHERE a.signed_at IS NULL
"""

CHECKS = (
    Check("equation", "What we have is what we owe and have earned.", EQUATION),
    Check("paid", "Every paid payment is earned, and no other.", PAID_ARE_EARNED),
    Check("lines credited", "Every paid line is credited in full.", LINES_ARE_CREDITED),
    Check("lines returned", "What was returned was taken from the shares.", LINES_ARE_RETURNED),
    Check("disputes divided", "What the bank took lies on lines or is lost.", DISPUTES_ARE_DIVIDED),
    Check("lines posted", "Every host's share of a line is as the journal says.", LINES_ARE_POSTED),
    Check("deferred", "Commission is deferred until its payment is released.", DEFERRED_IS_HELD),
    Check("reservations", "What is being refunded is what was asked for.", RESERVATIONS),
    Check("cash", "Every balance transaction is posted, and no other.", CASH_IS_POSTED),
    Check("clearing", "Whatever two sources must agree on has cleared in time.", CLEARING),
    Check("suspense", "No line of Stripe's is waiting to be understood.", SUSPENSE),
    Check("covered", "Stripe holds what we owe to hosts.", COVERED),
    Check("signed", "Nothing is sold but as every payee has signed it.", SOLD_AS_SIGNED),
)
