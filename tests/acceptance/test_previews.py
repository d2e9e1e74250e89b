"""Previews say what is then posted: for every bearer of the card fee, and for whatever chance asks.

The comparison is with the journal alone: what each account got of the sales that were previewed.
"""

import random
from dataclasses import replace
from typing import Any

import httpx
import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings import money
from takings.commission import FeeSchedule, Tier
from takings.database import Database
from takings.money import Money
from takings.payments import previews
from takings.payments.previews import Offer, Preview, Question
from takings.policies import policies
from takings.policies.presets import PRESETS
from takings.policies.rules import Bearer, Policy, Terms
from takings.spaces import agreements, hosts, spaces, stages
from takings.spaces.agreements import Claim, Share
from tests import box_office, stories
from tests.conftest import PROVE
from ticketing.wishes import TierWish

CLUBHOUSE = PRESETS[stories.CLUBHOUSE]
TIERED = (Tier(up_to=15_00, rate_bps=300), Tier(up_to=None, rate_bps=2_000))
TERMS = replace(CLUBHOUSE.terms["eur"], tiers=TIERED)

POSTED = """
SELECT a.name, sum(p.minor)::bigint AS minor
  FROM entries e
  JOIN postings p ON p.entry_id = e.id AND p.posted_at = e.posted_at
  JOIN accounts a ON a.id = p.account_id
  JOIN payments y ON y.id = e.subject
 WHERE y.space_id = $1 GROUP BY a.name HAVING sum(p.minor) <> 0
"""


async def posted(database: Database, space: str) -> dict[str, int]:
    """What every account got of the sales of a Space: in their credit."""
    rows = await database.fetch(POSTED, space)
    drawers = ("held", "available", "parked")
    found: dict[str, int] = {}
    for row in rows:
        parts = row.name.split(":")
        host = parts[2] if parts[-1] in drawers or parts[1] == "parked" else None
        found[host or row.name] = found.get(host or row.name, 0) - row.minor
    found.pop("assets:stripe:pending", None)  # the cash's own side
    return {name: minor for name, minor in found.items() if minor}


def expected(found: Preview) -> dict[str, int]:
    """The same, by the preview; Stripe's fee is in nobody's credit."""
    total, kind = found.total, found.offer.kind
    where = "income:commission:tips" if kind == "tip" else "liabilities:deferred:tickets"
    hosts_bear = found.policy.fee_bearer == "host"
    told = {payee.host: payee.total.net.minor for payee in found.payees}
    told |= {where: total.commission.minor, "income:fees_covered": total.fees_covered.minor}
    told["expenses:stripe_fees"] = 0 if hosts_bear else -total.card_fee.minor
    return {name: minor for name, minor in told.items() if minor}


async def sold(runtime: Runtime, box: Sandbox, offer: Offer, space: str) -> None:
    """What was offered in the Space is sold, each by itself, and Stripe's events are heard."""
    named: dict[str, Any] = {"space": space, "currency": offer.price.currency}
    if offer.kind == "ticket":
        seat = (TierWish("Seat", "fixed", offer.price.minor, f"tier_{space}"),)
        run = f"run_{space}"
        told = {"name": run, "tiers": seat, "size": offer.size}
        await box_office.run(runtime.database, runtime.now(), **told, **named)
    for number in range(offer.size):
        if offer.kind == "ticket":
            made = await box_office.ordered(runtime, f"{space}_{number}", run=f"run_{space}")
            assert made.payment is not None
            box.pay(made.payment.intent_id)
        else:
            sent = await stories.tip(runtime, offer.price.minor, **named)
            box.pay(sent.payment.intent_id)
        await stories.hear(runtime, box)


async def preview(database: Database, offer: Offer, **named: Any) -> Preview:
    return await database.run(previews.ask, Question(offer, **named))


@pytest.mark.parametrize(
    ("bearer", "journal"),
    [
        (
            "listener",
            """\
  clearing:charges +1061 eur
  liabilities:host:host_ada:held -582 eur
  liabilities:host:host_bob:held -388 eur
  income:commission:tips -30 eur
  income:fees_covered -61 eur
""",
        ),
        (
            "platform",
            """\
  clearing:charges +1000 eur
  liabilities:host:host_ada:held -582 eur
  liabilities:host:host_bob:held -388 eur
  income:commission:tips -30 eur
""",
        ),
        (
            "host",
            """\
  clearing:charges +1000 eur
  liabilities:host:host_ada:held -582 eur
  liabilities:host:host_bob:held -388 eur
  income:commission:tips -30 eur
payment:PAY:fee_passed
  liabilities:host:host_ada:held +35 eur
  liabilities:host:host_bob:held +24 eur
  expenses:stripe_fees -59 eur
""",
        ),
    ],
)
async def test_what_was_previewed_is_what_is_posted_whoever_bears_the_fee(
    runtime: Runtime, box: Sandbox, bearer: Bearer, journal: str
) -> None:
    database, now = runtime.database, runtime.now()
    terms = {"eur": replace(TERMS, minimum=1_00)}
    policy = replace(CLUBHOUSE, name="tiered", fee_bearer=bearer, terms=terms)
    await policies.publish(database, policy, now=now)
    await stories.room(database, now, policy="tiered")
    offer = Offer("tip", Money(10_00, "eur"))
    once = await preview(database, offer, space="spc_one")
    sent = await stories.paid_tip(runtime, box, 10_00)
    told = await stories.told(database)
    assert told.startswith(
        f"payment:{sent.payment.id}:earned\n" + journal.replace("PAY", sent.payment.id)
    )
    assert await posted(database, "spc_one") == expected(once)
    assert sent.payment.minor == once.first.charged.minor

    offer = replace(offer, size=3)  # Ada has 6.00 so far and crosses 15.00, Bob comes to 16.00
    more = await preview(database, offer, space="spc_one")
    ada, bob = more.payees
    assert [(c.sale, c.below.minor) for c in ada.crossings] == [(2, 300)]
    assert [(c.sale, c.below.minor) for c in bob.crossings] == [(3, 300)]
    await sold(runtime, box, offer, "spc_one")
    both = {n: expected(once).get(n, 0) + expected(more).get(n, 0) for n in expected(more)}
    assert await posted(database, "spc_one") == both
    assert await stories.guilty(database) == {}


PRICES = {"eur": 1, "jpy": 1, "kwd": 10, "isk": 100}
HOSTS = [f"host_{name}" for name in ("ada", "bob", "cyd", "dot")]


def drawn(chance: random.Random, name: str, currency: str) -> Policy:
    """A policy that chance made: any bearer, any tiers, sometimes a minimum."""
    step = PRICES[currency]
    ends = [*sorted(chance.sample(range(1, 40_000 * step), chance.randint(0, 3))), None]
    terms = Terms(
        fee=FeeSchedule(chance.randint(0, 900), chance.randint(0, 60) * step),
        minimum=step,
        maximum=money.LIMIT,
        tiers=tuple(Tier(end, chance.choice([0, 300, 1_234, 5_000, 9_999])) for end in ends),
        commission_minimum=chance.choice([0, 0, 17, 2_000]) * step,
    )
    bearer: Bearer = chance.choice(["listener", "host", "platform"])
    return Policy(name, 1, "chance", {currency: terms}, bearer)


@pytest.mark.parametrize("seed", range(200 if PROVE else 20))
async def test_whatever_is_sold_each_gets_what_the_preview_said(
    runtime: Runtime, box: Sandbox, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - it should be the same again
    database, now = runtime.database, runtime.now()
    for number in range(2):  # the second finds the counters as the first has left them
        space, currency = f"spc_{number}", chance.choice(sorted(PRICES))
        policy = drawn(chance, f"drawn-{number}", currency)
        await policies.publish(database, policy, now=now)
        box.fee(
            currency,
            basis_points=policy.terms[currency].fee.rate_bps,
            fixed=policy.terms[currency].fee.fixed,
        )
        payees = chance.sample(HOSTS, chance.randint(1, 4))
        cuts = sorted(chance.sample(range(1, 10_000), len(payees) - 1))
        weights = [high - low for low, high in zip([0, *cuts], [*cuts, 10_000], strict=True)]
        pairs = list(zip(payees, weights, strict=True))
        await stories.room(database, now, shares=pairs, policy=policy.name, space=space)
        price = Money(chance.randint(300, 9_999) * PRICES[currency], currency)
        offer = Offer(chance.choice(["tip", "ticket"]), price, chance.randint(1, 3))
        found = await preview(database, offer, space=space)
        await sold(runtime, box, offer, space)
        assert await posted(database, space) == expected(found), (seed, found)


async def test_the_preview_of_a_space_takes_the_agreement_in_force_or_the_shares_given(
    runtime: Runtime,
) -> None:
    database, now = runtime.database, runtime.now()
    for host in ("host_ada", "host_bob"):
        await hosts.register(database, host, host, now=now)
    halves = [Share("host_ada", 5000), Share("host_bob", 5000)]
    told = {"host": "host_ada", "title": "Talk", "policy": stories.CLUBHOUSE}
    await spaces.schedule(database, "spc_one", **told, shares=halves, now=now)
    offer = Offer("tip", Money(10_00, "eur"))

    async def gets(**named: Any) -> tuple[int | None, dict[str, int]]:
        found = await preview(database, offer, space="spc_one", **named)
        nets = {payee.host: payee.first.net.minor for payee in found.payees}
        return found.agreement_version, nets

    assert await gets() == (1, {"host_ada": 500, "host_bob": 500})  # Bob can look, then sign
    await stories.signed(database, "spc_one", now)
    most = [Share("host_ada", 9000), Share("host_bob", 1000)]
    await agreements.amend(database, "spc_one", most, now=now)
    assert await gets() == (1, {"host_ada": 500, "host_bob": 500})
    assert await gets(shares=tuple(most)) == (None, {"host_ada": 900, "host_bob": 100})
    await stories.signed(database, "spc_one", now)
    assert await gets() == (2, {"host_ada": 900, "host_bob": 100})


async def test_where_tips_follow_the_stage_the_preview_is_of_who_is_on_it(
    runtime: Runtime, box: Sandbox
) -> None:
    database, now = runtime.database, runtime.now()
    await stories.room(database, now)
    same = [Share("host_ada", 6000), Share("host_bob", 4000)]
    await agreements.amend(database, "spc_one", same, tips="stage", now=now)
    await stories.signed(database, "spc_one", now)
    offer = Offer("tip", Money(10_00, "eur"))

    async def gets(offer: Offer) -> dict[str, int]:
        found = await preview(database, offer, space="spc_one")
        return {payee.host: payee.first.net.minor for payee in found.payees}

    assert await gets(offer) == {"host_ada": 600, "host_bob": 400}  # nobody is on it
    await stages.join(database, "spc_one", "host_ada", now=now)
    await stages.join(database, "spc_one", "host_bob", now=now)
    await stages.leave(database, "spc_one", "host_ada", now=now)
    assert await gets(offer) == {"host_bob": 1000}
    assert await gets(replace(offer, kind="ticket")) == {"host_ada": 600, "host_bob": 400}
    found = await preview(database, offer, space="spc_one")
    await sold(runtime, box, offer, "spc_one")
    assert await posted(database, "spc_one") == expected(found)


async def test_a_share_that_is_parked_is_previewed_all_the_same(
    runtime: Runtime, box: Sandbox
) -> None:
    database, now = runtime.database, runtime.now()
    await stories.room(database, now)
    parts = [Share("host_ada", 6000), Share("host_bob", 4000, Claim(30, "others"))]
    await agreements.amend(database, "spc_one", parts, now=now)
    await stories.signed(database, "spc_one", now)
    offer = Offer("tip", Money(10_00, "eur"))
    found = await preview(database, offer, space="spc_one")
    await sold(runtime, box, offer, "spc_one")
    assert "liabilities:parked:host_bob -400 eur" in await stories.told(database)
    assert await posted(database, "spc_one") == expected(found)


PLAIN = {
    "kind": "ticket",
    "price": 1000,
    "currency": "usd",
    "policy": "twitter-ticketed-spaces-2021",
    "shares": [{"host": "ada", "weight": 10_000}],
}


async def test_a_preview_needs_neither_a_space_nor_hosts(client: httpx.AsyncClient) -> None:
    asked = PLAIN | {"channel": "ios", "size": 100}
    found = (await client.post("/v1/previews", json=asked)).json()
    assert found["first"] == {
        "charged": 1000,
        "store_fee": 300,
        "card_fee": 0,
        "fees_covered": 0,
        "commission": 21,
        "platform": 21,
    }
    (ada,) = found["payees"]
    assert ada["first"] == {"gross": 700, "commission": 21, "card_fee": 0, "net": 679}
    assert ada["total"]["net"] == 67_900
    asked["shares"] = [{"host": "ada", "weight": 10_000, "counter": 50_000_00}]
    (ada,) = (await client.post("/v1/previews", json=asked)).json()["payees"]
    assert (ada["counter"], ada["first"]["net"]) == (50_000_00, 560)


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"price": 99}, 422, "below_minimum"),
        ({"price": 100_000}, 422, "above_maximum"),
        ({"price": 10.0}, 422, "invalid_request"),
        ({"currency": "eur"}, 403, "currency_not_offered"),
        ({"currency": "xxx"}, 422, "unknown_currency"),
        ({"size": 0}, 422, "bad_size"),
        ({"size": 100_001}, 422, "bad_size"),
        ({"channel": "fax"}, 422, "invalid_request"),
        ({"card_region": "mars"}, 403, "region_not_priced"),
        ({"policy": "nobodys"}, 404, "not_found"),
        ({"policy": None}, 422, "nobody_to_divide_among"),
        ({"shares": []}, 422, "nobody_to_divide_among"),
        ({"shares": [{"host": "ada", "weight": 9_999}]}, 422, "shares_do_not_sum"),
        ({"shares": [{"host": "ada", "weight": 10_000, "counter": -1}]}, 422, "invalid_request"),
        ({"space": "spc_none"}, 404, "not_found"),
        ({"surprise": 1}, 422, "invalid_request"),
    ],
)
async def test_what_cannot_be_previewed_is_refused_by_name(
    client: httpx.AsyncClient, changed: dict[str, Any], status: int, code: str
) -> None:
    answer = await client.post("/v1/previews", json=PLAIN | changed)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
