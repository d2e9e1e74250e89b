"""Bad input about tickets is told what is wrong, under a stable code, and nothing is lost by it.

The control: the same requests without their mistake are taken.
"""

import json
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from api.runtime import Runtime
from api.settings import Settings
from sandbox.control import Sandbox
from takings.database import Database
from takings.payments.stripe import Stripe
from takings.spaces import spaces
from tests import at_the_door, box_office, stories
from tests.acceptance.conftest import documented
from tests.acceptance.world import World, grown
from ticketing import admissions, codes, holds, purchases, waitlist
from ticketing.admissions import AdmissionWish
from ticketing.codes import CodeWish
from ticketing.purchases import PurchaseWish
from ticketing.waitlist import WaitWish
from ticketing.wishes import TierWish

Asked = tuple[str, Any]
Problem = tuple[int, str, str | None]

HUGE = 10**9
ZOE, EVE = {"listener": "lis_zoe"}, {"listener": "lis_eve"}
STEP = {"name": "Seat", "price": 1000}
RUN = {"space": "spc_one", "size": 10, "currency": "eur", "tiers": [STEP]}


def hold(**changed: Any) -> Asked:
    return "/v1/holds", {"run": "run_one", **EVE} | changed


def buy(name: str = "zoe", **changed: Any) -> Asked:
    told = {"hold": f"hold_{name}", "listener": f"lis_{name}", "surface": "intent"}
    return "/v1/purchases", told | changed


def comp(**changed: Any) -> Asked:
    return "/v1/runs/run_one/comps", {"tier": "tier_guest", **EVE} | changed


def wait(run: str = "run_full", **changed: Any) -> Asked:
    return f"/v1/runs/{run}/waiting", EVE | changed


def door(said: str, **changed: Any) -> Asked:
    return "/v1/admissions", {"pass": said, "space": "spc_one", "door": "north"} | changed


def run(**changed: Any) -> Asked:
    return "/v1/runs", RUN | changed


def edit(run: str = "run_one", **changed: Any) -> Asked:
    return f"PATCH /v1/runs/{run}", changed


def code(**changed: Any) -> Asked:
    return "/v1/runs/run_one/codes", {"code": "NEW", "rate_bps": 1000} | changed


def ticket(name: str, what: str, **told: Any) -> Asked:
    return f"/v1/tickets/tkt_{name}_1/{what}", {"listener": f"lis_{name}"} | told


def typed(param: str) -> Problem:
    return 422, "invalid_request", param


def many(param: str = "quantity") -> Problem:
    return 422, "quantity_out_of_range", param


NOWHERE: Problem = (404, "not_found", None)
OFF: Problem = (409, "not_on_sale", None)
OVER: Problem = (409, "hold_over", None)
NAMES: Problem = (422, "holders_do_not_match", "holders")
LOW: Problem = (422, "below_minimum", "amount")
FOREIGN: Problem = (403, "not_your_hold", "listener")

HELD: Mapping[str, tuple[Asked, Problem]] = {
    # what is wrong: (path, body), (status, code, param)
    "no tickets": (hold(quantity=0), many()),
    "less than none": (hold(quantity=-1), many()),
    "a thousand million": (hold(quantity=HUGE), many()),
    "more than an integer": (hold(quantity=2**63), many()),
    "one too many": (hold(quantity=101), many()),
    "text for a number": (hold(quantity="2"), typed("quantity")),
    "one and a half": (hold(quantity=1.5), typed("quantity")),
    "true": (hold(quantity=True), typed("quantity")),
    "nothing would do": (hold(least=0), (422, "least_out_of_range", "least")),
    "more than all would do": (hold(quantity=2, least=3), (422, "least_out_of_range", "least")),
    "an unknown run": (hold(run="run_none"), NOWHERE),
    "an unknown tier": (hold(tier="tier_none"), NOWHERE),
    "another run's tier": (hold(tier="tier_full"), NOWHERE),
    "an unknown code": (hold(code="NONE"), (403, "unknown_code", "code")),
    "another run's code": (hold(run="run_full", code="HALF"), (403, "unknown_code", "code")),
    "a code that has ended": (hold(code="ENDED"), (403, "code_used_up", "code")),
    "a run that opens tomorrow": (hold(run="run_soon"), OFF),
    "a run that closed": (hold(run="run_late"), OFF),
    "a tier that opens tomorrow": (hold(tier="tier_soon"), OFF),
    "a tier that closed": (hold(tier="tier_early"), OFF),
    "what only the house gives": (hold(tier="tier_guest"), OFF),
    "a cancelled Space": (hold(run="run_off"), OFF),
    "an ended Space": (hold(run="run_ended"), OFF),
    "sold out": (hold(run="run_full"), (409, "sold_out", None)),
    "more than there are": (hold(tier="tier_seat", quantity=99), (409, "sold_out", None)),
    "more than one may have": (hold(quantity=7), (403, "too_many_tickets", "quantity")),
    "one id, another quantity": (
        hold(id="hold_zoe", **ZOE, quantity=2),
        (409, "hold_differs", "id"),
    ),
    "one id, another listener": (hold(id="hold_zoe"), (409, "hold_differs", "id")),
    "one id, another run": (hold(id="hold_full"), (409, "hold_differs", "id")),
    "a bad id": (hold(id="hold:1"), (422, "bad_id", "id")),
    "an extra field": (hold(price=1), typed("price")),
    "extend another's": (("/v1/holds/hold_zoe/extend", EVE), FOREIGN),
    "release another's": (("/v1/holds/hold_zoe/release", EVE), FOREIGN),
    "extend none": (("/v1/holds/hold_none/extend", EVE), NOWHERE),
    "release none": (("/v1/holds/hold_none/release", EVE), NOWHERE),
    "extend one that expired": (("/v1/holds/hold_gone/extend", {"listener": "lis_gone"}), OVER),
    "extend one that is sold": (("/v1/holds/hold_used/extend", {"listener": "lis_used"}), OVER),
    "release one that is sold": (("/v1/holds/hold_used/release", {"listener": "lis_used"}), OVER),
}

BOUGHT: Mapping[str, tuple[Asked, Problem]] = {
    "another's hold": (buy(**EVE), FOREIGN),
    "no hold": (buy("none"), NOWHERE),
    "a hold that expired": (buy("gone"), OVER),
    "a hold that is sold": (buy("used"), (409, "purchase_open", "hold")),
    "a hold that is being paid": (buy("pays"), (409, "purchase_open", "hold")),
    "a hold of a cancelled Space": (buy("off"), (409, "sale_over", "hold")),
    "a hold of an ended Space": (buy("ended"), (409, "sale_over", "hold")),
    "one id, another hold": (buy(id="pur_pays"), (409, "purchase_differs", "id")),
    "one name for two": (buy("pair", holders=["Zoe"]), NAMES),
    "two names for one": (buy(holders=["Z", "Y"]), NAMES),
    "below the floor": (buy("gives", amount=499), LOW),
    "nothing for it": (buy("gives", amount=0), LOW),
    "less than nothing": (buy("gives", amount=-500), LOW),
    "above the most": (buy("gives", amount=100_001), (422, "above_maximum", "amount")),
    "another price": (buy(amount=999), (409, "price_differs", "amount")),
    "text for an amount": (buy("gives", amount="500"), typed("amount")),
    "a fraction of one": (buy("gives", amount=500.5), typed("amount")),
    "true for an amount": (buy("gives", amount=True), typed("amount")),
    "beyond a bigint": (buy("gives", amount=2**63), (422, "amount_too_large", "amount")),
    "a currency for it": (buy("gives", currency="usd"), typed("currency")),
    "one that does not settle": (buy("dollars"), (422, "currency_not_settled", "currency")),
    "no way to pay": (buy(surface="cash"), typed("surface")),
    "no way back": (buy(surface="checkout"), (422, "surface_needs", "surface")),
    "a gift of none": (comp(quantity=0), many()),
    "a gift of too many": (comp(quantity=HUGE), many()),
    "a gift of what is sold": (comp(tier="tier_seat"), (403, "not_a_comp", "tier")),
    "a gift of nothing": (comp(tier="tier_none"), NOWHERE),
    "a gift of no run": (("/v1/runs/run_none/comps", comp()[1]), NOWHERE),
    "a gift, half named": (comp(quantity=2, holders=["A"]), NAMES),
    "waiting for none": (wait(quantity=0), many()),
    "waiting for half": (wait(quantity=0.5), typed("quantity")),
    "waiting for no run": (wait("run_none"), NOWHERE),
    "waiting for no tier": (wait(tier="tier_none"), NOWHERE),
    "waiting for what there is": (wait("run_one"), (409, "still_on_sale", None)),
    "waiting for a cancelled Space": (wait("run_off"), OFF),
    "waiting for a gift": (wait("run_one", tier="tier_guest"), OFF),
    "waiting twice": (wait(listener="lis_waits"), (409, "already_waiting", "listener")),
    "another's place": (wait(id="wait_waits"), (409, "wait_differs", "id")),
    "leaving no place": (("/v1/waiting/wait_none/leave", None), NOWHERE),
}

SIZE: Problem = (409, "size_below_taken", "size")
WRONG: Problem = (422, "bad_run", "run")
HOUSE: Mapping[str, tuple[Asked, Problem]] = {
    "a size below what is taken": (edit(size=9), SIZE),
    "a size of none": (edit(size=0), WRONG),
    "a size below none": (edit(size=-1), WRONG),
    "a size of too many": (edit(size=HUGE), WRONG),
    "a size in words": (edit(size="9"), typed("size")),
    "a tier's size below": (edit("run_one/tiers/tier_seat", size=1), SIZE),
    "a tier of none": (edit("run_none/tiers/tier_seat", size=1), NOWHERE),
    "a tier that is none": (edit("run_one/tiers/tier_none", size=1), NOWHERE),
    "a price below the least": (edit("run_one/tiers/tier_seat", price=49), LOW),
    "a Space too small": (("PUT /v1/spaces/spc_one/capacity", {"capacity": 9}), SIZE),
    "a Space of none": (
        ("PUT /v1/spaces/spc_one/capacity", {"capacity": 0}),
        (422, "bad_capacity", "capacity"),
    ),
    "no run to edit": (edit("run_none", size=9), NOWHERE),
    "a window that closes first": (edit(opens_at=9_000_000_000, closes_at=1), WRONG),
    "a run in no currency": (run(currency="xxx"), (422, "unknown_currency", "currency")),
    "a run in a foreign one": (run(currency="isk"), (403, "currency_not_offered", "currency")),
    "a run for no Space": (run(space="spc_none"), NOWHERE),
    "a run for a cancelled Space": (run(space="spc_off"), (409, "space_is_over", "space")),
    "a run of none": (run(size=0), WRONG),
    "a run without a tier": (run(tiers=[]), typed("tiers")),
    "a run under a known id": (run(id="run_one"), (409, "run_differs", "id")),
    "a run below the least": (run(tiers=[STEP | {"price": 49}]), LOW),
    "a code of nothing": (code(rate_bps=0), (422, "bad_code", "code")),
    "a code of more than all": (code(rate_bps=10_001), (422, "bad_code", "code")),
    "a code of two kinds": (code(amount=1), (422, "bad_code", "code")),
    "a code that is known": (code(code="HALF"), (409, "code_taken", "code")),
    "a code that leaves too little": (
        code(rate_bps=9_990),
        (422, "code_leaves_too_little", "code"),
    ),
    "a code of no run": (("/v1/runs/run_none/codes", code()[1]), NOWHERE),
}

NOT_YOURS: Problem = (403, "not_your_ticket", "listener")
FORGED: Problem = (422, "bad_pass", "pass")
AT_THE_DOOR: Mapping[str, tuple[Asked, Problem]] = {
    "a used ticket": (door("PASS used"), (409, "already_admitted", None)),
    "a pass of before": (door("PASS passed"), (409, "pass_replaced", None)),
    "a void ticket": (door("PASS void"), (409, "ticket_void", None)),
    "another Space's": (door("PASS over"), (403, "wrong_space", None)),
    "a cancelled Space's": (door("PASS called", space="spc_off"), (409, "space_cancelled", None)),
    "a letter changed": (door("PASS forged"), FORGED),
    "no pass at all": (door("NOTHING"), FORGED),
    "an id that is another's": (
        door("PASS valid", id="adm_used"),
        (409, "admission_differs", "id"),
    ),
    "no such Space": (door("PASS valid", space="spc_none"), NOWHERE),
    "a pass of a void ticket": (("GET /v1/tickets/tkt_void_1/pass", None), (409, "no_pass", None)),
    "passing on another's": (ticket("valid", "transfer", **EVE, to="lis_eve"), NOT_YOURS),
    "passing on a used one": (ticket("used", "transfer", to="lis_eve"), (409, "ticket_used", None)),
    "passing on a void one": (ticket("void", "transfer", to="lis_eve"), (409, "ticket_void", None)),
    "passing on what was passed": (ticket("passed", "transfer", to="lis_ann"), NOT_YOURS),
    "passing on to nobody": (ticket("valid", "transfer", to="lis:1"), (422, "bad_id", "id")),
    "passing on none": (ticket("none", "transfer", to="lis_eve"), NOWHERE),
    "passing on an ended Space's": (
        ticket("over", "transfer", to="lis_eve"),
        (409, "too_late_to_transfer", None),
    ),
    "giving back another's": (ticket("valid", "refund", **EVE), NOT_YOURS),
    "giving back a used one": (ticket("used", "refund"), (409, "ticket_used", None)),
    "giving back a void one": (ticket("void", "refund"), (409, "ticket_void", None)),
    "giving back too late": (ticket("over", "refund"), (409, "refund_too_late", None)),
    "giving back by wish": (ticket("valid", "refund"), (403, "refund_not_offered", None)),
    "giving back none": (ticket("none", "refund"), NOWHERE),
}

SOON = (TierWish("Soon", "fixed", 900, "tier_soon"), TierWish("Early", "fixed", 800, "tier_early"))
TIERS = (
    TierWish("Seat", "fixed", 1000, "tier_seat", size=50),
    TierWish("As you like", "choice", 500, "tier_gives"),
    TierWish("Guests", "comp", 0, "tier_guest"),
    TierWish("Free", "free", 0, "tier_free"),
)


@pytest.fixture
async def runtime(settings: Settings, database: Database, box: Sandbox) -> AsyncIterator[Runtime]:
    """A process whose platform keeps euros as they are, and nothing else."""
    async with Stripe("sk_test_takings", base=box.url, settles=["eur"]) as found:
        yield Runtime(settings, database, found)


@pytest.fixture
async def house(world: World) -> World:
    """A box office in which all has happened that somebody could trip over."""
    runtime, database, now = world.runtime, world.runtime.database, world.runtime.now()
    yesterday, tomorrow = now - timedelta(days=1), now + timedelta(days=1)
    soon, early = SOON
    tiers = (*TIERS, replace(soon, opens_at=tomorrow), replace(early, closes_at=yesterday))
    await box_office.planned(runtime, starts_at=tomorrow, size=90, tiers=tiers, per_listener=6)
    await box_office.claim(database, "gone", now=yesterday)
    await holds.sweep(database, now=now)
    for name, quantity in {"zoe": 1, "pair": 2, "pays": 1, "lots": 6}.items():
        assert await box_office.claim(database, name, now=now, quantity=quantity) == "held"
    assert await box_office.claim(database, "gives", now=now, tier="tier_gives") == "held"
    wish = PurchaseWish("pur_pays", "hold_pays", "lis_pays", surface="intent")
    await purchases.open(database, runtime.stripe, wish, now=now)
    for text in ("HALF", "ENDED"):
        made = CodeWish(f"code_{text.lower()}", "run_one", text, rate_bps=5000)
        await codes.make(database, made, now=now)
    await codes.end(database, "code_ended", now=now)
    await other_runs(world, tomorrow, yesterday)
    for name, place in {
        "used": 1,
        "passed": 1,
        "void": 1,
        "valid": 1,
        "over": 2,
        "called": 3,
    }.items():
        await guest(world, name, ("run_one", "run_ended", "run_off")[place - 1])
    valid = world.names["PASS valid"]
    world.names["PASS forged"] = valid[:40] + ("A" if valid[40] != "A" else "B") + valid[41:]
    shown = AdmissionWish("adm_used", world.names["PASS used"], "spc_one", "north")
    await admissions.admit(database, shown, now=now)
    await at_the_door.passed_on(database, "passed")
    await at_the_door.given_back(database, "void", now)
    await spaces.move(database, "spc_ended", "ended", now=now)
    await spaces.move(database, "spc_off", "cancelled", now=now)
    return world


async def other_runs(world: World, tomorrow: datetime, yesterday: datetime) -> None:
    """Runs that are sold out, not open, over, in another currency, and of other Spaces."""
    database, now = world.runtime.database, world.runtime.now()
    dollars = {"currency": "usd", "policy": stories.CLUBHOUSE}
    runs: dict[str, dict[str, Any]] = {
        "full": {"size": 1},
        "soon": {"opens_at": tomorrow},
        "late": {"closes_at": yesterday},
        "dollars": dollars,
        "ended": {"space": "spc_ended"},
        "off": {"space": "spc_off"},
    }
    for name, told in runs.items():
        seat = TierWish(
            "Seat", "fixed", 1000, f"tier_{name}_seat" if name != "full" else "tier_full"
        )
        free = TierWish("Free", "free", 0, f"tier_{name}_free")
        await box_office.run(database, now, name=f"run_{name}", tiers=[seat, free], **told)
        if name not in ("soon", "late"):
            assert await box_office.claim(database, name, now=now, run=f"run_{name}") == "held"
    wish = WaitWish("wait_waits", "run_full", "lis_waits")
    await waitlist.join(database, wish, now=now)


async def guest(world: World, name: str, run: str) -> None:
    """Somebody has a free ticket, and its pass."""
    database, now = world.runtime.database, world.runtime.now()
    tier = "tier_free" if run == "run_one" else f"tier_{run[4:]}_free"
    assert await box_office.claim(database, name, now=now, run=run, tier=tier) == "held"
    await box_office.sold(database, [name], now, run=run)
    world.names[f"PASS {name}"] = await at_the_door.shows(database, name, now)


async def asked(world: World, asked: Asked) -> httpx.Response:
    """The answer, which the document tells of."""
    (method, path), body = asked[0].rpartition(" ")[::2], asked[1]
    headers = {"Idempotency-Key": secrets.token_hex(8), "Content-Type": "application/json"}
    content = None if body is None else json.dumps(world.here(body))
    answer = await world.client.request(method or "POST", path, content=content, headers=headers)
    await documented(world.app.openapi(), answer)
    return answer


PROBLEMS = {"holds": HELD, "purchases": BOUGHT, "the house": HOUSE, "the door": AT_THE_DOOR}


@pytest.mark.parametrize("about", PROBLEMS)
async def test_bad_input_about_tickets_is_a_clear_problem_and_nothing_is_lost(
    house: World, about: str
) -> None:
    """Of what is refused only the act itself is noted."""
    before, said = await house.rows(), len(house.box.requests)
    told = {}
    for what, (bad, _) in PROBLEMS[about].items():
        answer = await asked(house, bad)
        problem = answer.json()
        told[what] = (answer.status_code, problem.get("code"), problem.get("param"))
        assert answer.headers["content-type"] == "application/problem+json", what
    assert told == {what: problem for what, (_, problem) in PROBLEMS[about].items()}
    after = await house.rows()
    assert {name for name in after if after[name] != before[name]} == {"acts"}
    assert len(house.box.requests) == said


GOOD: tuple[Asked, ...] = (
    hold(),
    hold(code="HALF", tier="tier_seat"),
    ("/v1/holds/hold_zoe/extend", ZOE),
    buy(),
    buy("pair", holders=["Z", "Y"]),
    buy("gives", amount=500),
    comp(holders=["A"]),
    wait(),
    edit(size=95),
    edit("run_one/tiers/tier_seat", price=1100),
    ("PUT /v1/spaces/spc_one/capacity", {"capacity": 200}),
    run(),
    code(),
    ("GET /v1/tickets/tkt_valid_1/pass", None),
    ticket("valid", "transfer", to="lis_valid", holder="V"),
    ("/v1/waiting/wait_waits/leave", None),
)


async def test_the_same_requests_without_their_mistake_are_taken(house: World) -> None:
    before = await house.rows()
    for good in GOOD:
        answer = await asked(house, good)
        assert answer.is_success, answer.text
    assert (await asked(house, door("PASS valid"))).json()["code"] == "pass_replaced"
    expected = {"holds": 3, "purchases": 4, "waiting": 1, "runs": 1, "codes": 1}
    assert grown(before, await house.rows()).items() >= expected.items()
