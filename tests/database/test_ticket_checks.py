"""Tickets check themselves: no check cries where all is well, and each names who breaks its law."""

from dataclasses import dataclass
from typing import Any

import pytest

from api.checks import CHECKS as GATHERED
from takings.database import Database
from takings.ledger import checks
from tests import books, stories
from tests.conftest import Fresh
from ticketing import pools, runs
from ticketing.checks import CHECKS
from ticketing.wishes import RunWish, TierWish

TIERS = (
    TierWish("Early", minor=500, id="tier_early", size=3),
    TierWish("Guest", "free", id="tier_guest"),
    TierWish("Last", minor=900, id="tier_last", size=1),
)

CODE = """
WITH pool AS (INSERT INTO pools (id, quota) VALUES ('code_one', 9))
INSERT INTO codes (id, run_id, code, rate_bps, created_at)
VALUES ('code_one', 'run_one', 'FRIENDS', 1000, now())
"""

CLAIM = """
SELECT outcome FROM claim_tickets('run_one', 'buyer', now(), ARRAY[$1::text], ARRAY[$2::text],
                                  ARRAY['lis_zoe'], ARRAY[NULL::bytea], ARRAY[$4::text],
                                  ARRAY[$3::integer], ARRAY[$3::integer])
"""

# What a purchase writes: its payment and lines where it costs something, its tickets pending.
BUY = """
WITH hold AS (
  UPDATE holds SET paying = minor > 0 WHERE id = 'hold_' || $1::text RETURNING *
), payment AS (
  INSERT INTO payments (id, listener_id, space_id, release_days, surface, state, minor, currency,
                        fees_covered, created_at)
  SELECT 'pay_' || $1, listener_id, 'spc_one', 0, 'intent', 'open', minor * quantity, 'eur', 0,
         now()
    FROM hold WHERE minor > 0 RETURNING id
), purchase AS (
  INSERT INTO purchases (id, hold_id, run_id, listener_id, payment_id, created_at)
  SELECT 'pur_' || $1, h.id, h.run_id, h.listener_id, p.id, now()
    FROM hold h LEFT JOIN payment p ON true RETURNING id
), ticket AS (
  INSERT INTO tickets (id, run_id, tier_id, purchase_id, listener_id, minor, state, secret,
                       created_at)
  SELECT 'tkt_' || $1 || '_' || n, run_id, tier_id, 'pur_' || $1, listener_id, minor, 'pending',
         '0123456789abcdef', now()
    FROM hold, generate_series(1, quantity) AS n RETURNING id, minor
)
INSERT INTO lines (id, payment_id, kind, subject, space_id, agreement_version, policy,
                   policy_version, currency, minor, fees_covered, refunding, returned)
SELECT 'line_' || t.id, p.id, 'ticket', t.id, s.id, s.agreement_version, s.policy,
       s.policy_version, 'eur', t.minor, 0, 0, 0
  FROM ticket t, payment p, spaces s WHERE s.id = 'spc_one'
"""

PAY = "UPDATE payments SET state = 'paid', paid_at = now() WHERE id = 'pay_' || $1::text"
SELL = "SELECT sell_tickets('run_one', ARRAY['pur_' || $1::text], now()) AS unseated"
FREE = "SELECT free_holds('run_one', ARRAY['hold_' || $1::text], 'expired', now())"
EXPIRING = "UPDATE holds SET state = 'expiring' WHERE id = 'hold_' || $1::text"
VOID = "SELECT void_tickets('run_one', ARRAY[$1::text], 'asked', now())"

WAIT = """
INSERT INTO waiting (id, run_id, listener_id, quantity, least, rank, state, created_at)
VALUES ('wait_' || $1::text, 'run_one', 'lis_' || $1, $2, $2, 1, 'waiting', now())
"""
OFFER = "SELECT offer_tickets('run_one', now())"


async def told(database: Database, *statements: tuple[Any, ...]) -> None:
    for sql, *given in statements:
        await database.fetch(sql, *given)


@pytest.fixture
async def house(database: Database) -> Database:
    """A run of seven as busy as runs are: bought, free, held, paid too late, given back, offered.

    Of the code's two tickets one is void; whoever paid too late found the last one taken.
    """
    now = stories.later()
    await stories.room(database, now)
    await runs.open(database, RunWish("run_one", "spc_one", 7, TIERS, "eur"), now=now)
    await pools.cap_space(database, "spc_one", 50, now=now)
    await told(
        database,
        (CODE,),
        *((CLAIM, "hold_a", "tier_early", 2, "FRIENDS"), (BUY, "a"), (PAY, "a"), (SELL, "a")),
        *((CLAIM, "hold_b", "tier_guest", 1, None), (BUY, "b"), (SELL, "b")),
        *((CLAIM, "hold_c", "tier_last", 1, None), (BUY, "c"), (EXPIRING, "c"), (FREE, "c")),
        (CLAIM, "hold_d", "tier_last", 1, None),
        *((PAY, "c"), (SELL, "c"), (VOID, "tkt_a_1")),
        *((CLAIM, "hold_e", "tier_early", 1, None), (BUY, "e")),
        *((WAIT, "ann", 1), (OFFER,), (WAIT, "bea", 5)),
    )
    return database


async def found(database: Database) -> dict[str, Any]:
    async with database.transaction() as session:
        return {
            finding.check.name: finding.guilty
            async for finding in checks.run(session, CHECKS)
            if not finding.holds
        }


HOUSE = """
SELECT (SELECT string_agg(concat_ws(' ', id, state), ', ' ORDER BY id) FROM holds
         WHERE id LIKE 'hold\\__') AS holds,
       (SELECT string_agg(concat_ws(' ', id, state, number), ', ' ORDER BY id) FROM tickets)
         AS tickets,
       (SELECT string_agg(concat_ws(' ', id, state), ', ' ORDER BY id) FROM waiting) AS waiting,
       (SELECT string_agg(concat_ws(' ', id, held, sold, quota), ', ' ORDER BY id) FROM pools)
         AS pools
"""


async def test_every_check_holds_in_a_busy_house(house: Database) -> None:
    assert await found(house) == {}
    (row,) = await house.fetch(HOUSE)
    assert row.holds == "hold_a sold, hold_b sold, hold_c expired, hold_d held, hold_e held"
    assert row.tickets == (
        "tkt_a_1 void 1, tkt_a_2 valid 2, tkt_b_1 valid 3, tkt_c_1 void, tkt_e_1 pending"
    )
    assert row.waiting == "wait_ann offered, wait_bea waiting"
    assert row.pools == (
        "code_one 0 1 9, run_one 3 2 7, space:spc_one 3 2 50, tier_early 2 1 3, "
        "tier_guest 0 1, tier_last 1 0 1"
    )


async def test_every_check_holds_where_there_are_no_tickets(database: Database) -> None:
    assert await found(database) == {}


def test_the_service_runs_them_with_all_others() -> None:
    assert set(CHECKS) <= set(GATHERED)
    names = [check.name for check in GATHERED]
    assert len(set(names)) == len(names)


@dataclass(frozen=True, slots=True)
class Damage:
    """What went wrong, and whom the check must name."""

    check: str
    name: str
    sql: str
    guilty: tuple[str, ...]


UNBOUND = "SET LOCAL session_replication_role = replica;"  # foreign keys sleep
OVER = "ALTER TABLE pools DROP CONSTRAINT pools_never_oversold;"
PLANTED = (
    Damage("pools", "a pool is gone", "DELETE FROM pools WHERE id = 'code_one'", ("code_one",)),
    Damage("pools", "no size", "UPDATE pools SET quota = NULL WHERE id = 'run_one'", ("run_one",)),
    Damage(
        "taken", "a pool forgot a hold",
        "UPDATE pools SET held = held - 1 WHERE id = 'tier_early'", ("tier_early",),
    ),
    Damage(
        "taken", "a hold ended without a count",
        "UPDATE holds SET state = 'released', ended_at = now() WHERE id = 'hold_d'",
        ("run_one", "space:spc_one", "tier_last"),
    ),
    Damage(
        "taken", "a ticket of a code ended without a count",
        "UPDATE tickets SET state = 'void' WHERE id = 'tkt_a_2'",
        ("code_one", "run_one", "space:spc_one", "tier_early"),
    ),
    Damage(
        "taken", "a Space forgot what its runs sold",
        "UPDATE pools SET sold = 0 WHERE id = 'space:spc_one'", ("space:spc_one",),
    ),
    Damage(
        "never oversold", "a run was made smaller than what is taken",
        f"{OVER} UPDATE pools SET quota = 4 WHERE id = 'run_one'", ("run_one",),
    ),
    Damage(
        "numbers", "a number is missing",
        f"{UNBOUND} DELETE FROM tickets WHERE id = 'tkt_a_2'", ("run_one",),
    ),
    Damage(
        "numbers", "a number is skipped",
        "UPDATE tickets SET number = 9 WHERE id = 'tkt_a_2'", ("run_one",),
    ),
    Damage(
        "numbers", "one more was counted than was issued",
        "UPDATE pools SET issued = issued + 1 WHERE id = 'run_one'", ("run_one",),
    ),
    Damage(
        "holds", "sold without tickets",
        "UPDATE holds SET state = 'sold', ended_at = now() WHERE id = 'hold_d'", ("hold_d",),
    ),
    Damage(
        "holds", "sold and let go",
        "UPDATE holds SET state = 'expired' WHERE id = 'hold_a'", ("hold_a",),
    ),
    Damage(
        "holds", "returned without a ticket that is void",
        "UPDATE holds SET returned = 2 WHERE id = 'hold_a'", ("hold_a",),
    ),
    Damage(
        "holds", "another run's", "UPDATE holds SET run_id = 'run_two' WHERE id = 'hold_d'",
        ("hold_d",),
    ),
    Damage(
        "holds", "tickets of another tier",
        "UPDATE tickets SET tier_id = 'tier_last' WHERE id = 'tkt_a_2'", ("hold_a",),
    ),
    Damage(
        "purchases", "paid and nothing came of it", PAY.replace("$1", "'e'"), ("pur_e",)
    ),
    Damage(
        "purchases", "settled and not paid",
        "UPDATE payments SET state = 'open', paid_at = NULL WHERE id = 'pay_a'", ("pur_a",),
    ),
    Damage(
        "purchases", "settled with a ticket that is pending",
        "UPDATE tickets SET state = 'pending' WHERE id = 'tkt_b_1'", ("pur_b",),
    ),
    Damage(
        "purchases", "a ticket for nothing",
        "UPDATE tickets SET state = 'valid', number = 4 WHERE id = 'tkt_e_1'", ("pur_e",),
    ),
    Damage(
        "purchases", "not seated, and yet a valid ticket",
        "UPDATE tickets SET state = 'valid', number = 4 WHERE id = 'tkt_c_1'", ("pur_c",),
    ),
    Damage(
        "tickets paid", "its line is gone",
        f"{UNBOUND} DELETE FROM lines WHERE subject = 'tkt_a_2'", ("tkt_a_2",),
    ),
    Damage(
        "tickets paid", "another price",
        "UPDATE lines SET minor = minor + 1 WHERE subject = 'tkt_a_2'", ("tkt_a_2",),
    ),
    Damage(
        "tickets paid", "one that cost nothing is paid",
        "UPDATE tickets SET minor = 0 WHERE id = 'tkt_a_2'", ("tkt_a_2",),
    ),
    Damage(
        "tickets paid", "paid for what is not there",
        "UPDATE lines SET subject = 'tkt_none' WHERE subject = 'tkt_a_1'", ("line_tkt_a_1",),
    ),
    Damage(
        "tickets returned", "void, and nobody is owed",
        "DELETE FROM ticket_refunds WHERE ticket_id = 'tkt_a_1'", ("tkt_a_1",),
    ),
    Damage(
        "tickets returned", "not seated, and nobody is owed",
        "DELETE FROM ticket_refunds WHERE ticket_id = 'tkt_c_1'", ("tkt_c_1",),
    ),
    Damage(
        "tickets returned", "valid, and money is owed",
        """INSERT INTO ticket_refunds (ticket_id, cause, next_at, created_at)
           VALUES ('tkt_a_2', 'asked', now(), now())""", ("tkt_a_2",),
    ),
    Damage(
        "offers", "offered, and not held",
        "UPDATE waiting SET hold_id = 'hold_c' WHERE id = 'wait_ann'", ("wait_ann",),
    ),
    Damage(
        "offers", "taken, and not sold",
        "UPDATE waiting SET state = 'taken' WHERE id = 'wait_ann'", ("wait_ann",),
    ),
    Damage(
        "offers", "lapsed, and still held",
        "UPDATE waiting SET state = 'lapsed' WHERE id = 'wait_ann'", ("wait_ann",),
    ),
)  # fmt: skip


def test_every_check_has_a_damage_that_it_must_find() -> None:
    assert {planted.check for planted in PLANTED} == {check.name for check in CHECKS}


async def test_each_check_names_whom_it_was_planted_on(house: Database, fresh: Fresh) -> None:
    async with books.connected(fresh.admin) as admin:
        for planted in PLANTED:
            check = next(check for check in CHECKS if check.name == planted.check)
            async with books.undone(admin):
                assert not (await admin.execute(planted.sql)).endswith(" 0"), planted.name
                rows = await admin.fetch(check.sql)
                assert tuple(sorted(row["guilty"] for row in rows)) == planted.guilty, planted.name
                assert all(row["why"] for row in rows), planted.name
    assert await found(house) == {}, "what was planted is gone"
