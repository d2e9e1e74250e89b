"""An example of every operation, in an order that works: one evening, from host to refund.

What is asked names things as people would (``spc_one``); a world knows what they are called in it.
A new operation of the API needs an ``Example`` in ``STORY``: its good request, and what has to have
happened before, unless an earlier example has seen to that.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from api.acts import HEADER
from takings.policies.presets import PRESETS
from tests.acceptance import scenes
from tests.acceptance.world import World

Before = Callable[[World], Awaitable[None]]


@dataclass(frozen=True)
class Example:
    """A good request to an operation.

    ``before`` sees to what it needs, ``keeps`` says under which name a field of the answer is known
    later; the answer's id is known under the id that the body asks for.
    """

    operation: str
    path: str
    body: Any = None
    asked: Mapping[str, Any] = field(default_factory=dict)
    before: Before | None = None
    keeps: Mapping[str, str] = field(default_factory=dict)

    def method(self, world: World) -> str:
        """How it is asked."""
        return world.operations()[self.operation][0]

    async def ready(self, world: World) -> None:
        """All that it needs is there."""
        if self.before is not None:
            await self.before(world)

    def request(self, world: World, **changed: Any) -> httpx.Request:
        """The request, in this world; ``named`` keeps the id that the body asks for."""
        named, headers = changed.pop("named", False), changed.pop("headers", {})
        body = changed.pop("body", self.body)
        if isinstance(body, dict) and not named:
            body = {name: value for name, value in body.items() if name != "id"}
        return world.client.build_request(
            self.method(world),
            world.here(self.path),
            params=world.here(dict(self.asked)),
            headers=headers,
            **({} if body is None else {"json": world.here(body)}),
        )

    def learn(self, world: World, answer: Any) -> None:
        """Remember what things are called in this world."""
        if isinstance(self.body, dict) and "id" in self.body:
            world.names[self.body["id"]] = answer["id"]
        for name, where in self.keeps.items():
            found = answer
            for step in where.split("."):
                found = found[int(step)] if step.isdecimal() else found[step]
            world.names[name] = found


OFFLINE: Final = {"run": "run_door", "number": 2, "serial": 1, "at": scenes.SCANNED}

HALVES: Final = [{"host": "host_ada", "weight": 5000}, {"host": "host_bob", "weight": 5000}]
SPLIT: Final = [{"host": "host_ada", "weight": 6000}, {"host": "host_bob", "weight": 4000}]
STEPS: Final = [
    {"name": "Early bird", "price": 500, "size": 50},
    {"name": "Seat", "price": 1000},
    {"name": "Press", "kind": "comp", "size": 5},
]
PAPERS: Final = {
    "country": "de",
    "email": "ada@example.com",
    "refresh_url": "https://example.com/again",
    "return_url": "https://example.com/done",
}
MONTHLY: Final = {"schedule": "monthly", "anchor": 15, "minimums": {"eur": 1000}}
FACTS: Final = {"followers": 1200, "age": 31, "spaces": 4, "spaces_within_days": 30}
FROM_ZOE: Final = {"space": "spc_one", "listener": "lis_zoe", "currency": "eur"}
HELD: Final = {"account": "assets:stripe:pending", "currency": "eur"}
HOUSE: Final = PRESETS["discord-2021"].to_dict() | {"name": "house", "source": "Ours."}
OFFERED: Final = {"kind": "ticket", "price": 1000, "currency": "eur", "space": "spc_one"}
TABLED: Final = {"amount": 500, "currency": "eur", "message": "One more!"}

STORY: Final = (
    Example(
        "hosts.register", "/v1/hosts", {"id": "host_ada", "name": "Ada", "listener": "lis_ada"}
    ),
    Example("hosts.one", "/v1/hosts/host_ada"),
    Example("hosts.state", "/v1/hosts/host_ada/standing", FACTS),
    Example("hosts.onboard", "/v1/hosts/host_ada/onboarding", PAPERS),
    Example("hosts.account", "/v1/hosts/host_ada/account"),
    Example("hosts.standing", "/v1/hosts/host_ada/standing"),
    Example(
        "spaces.schedule",
        "/v1/spaces",
        {"id": "spc_one", "host": "host_ada", "title": "Late talk", "shares": SPLIT},
        before=scenes.bob,
    ),
    Example("hosts.newest", "/v1/hosts", asked={"limit": 1}),
    Example("spaces.newest", "/v1/spaces", asked={"limit": 1, "expand[]": "data.host"}),
    Example("spaces.one", "/v1/spaces/spc_one"),
    Example("spaces.live", "/v1/spaces/spc_one/live"),
    Example("spaces.shares", "/v1/spaces/spc_one/shares"),
    Example("agreements.sign", "/v1/spaces/spc_one/agreements/1/sign", {"host": "host_bob"}),
    Example("spaces.amend", "/v1/spaces/spc_one/shares", {"shares": HALVES, "tips": "stage"}),
    Example("agreements.every", "/v1/spaces/spc_one/agreements"),
    Example(
        "stages.join",
        "/v1/spaces/spc_one/stage/join",
        {"host": "host_ada"},
        before=scenes.all_agree,
    ),
    Example("stages.leave", "/v1/spaces/spc_one/stage/leave", {"host": "host_ada"}),
    Example("stages.one", "/v1/spaces/spc_one/stage"),
    Example("presets.set", "/v1/hosts/host_ada/presets/eur", {"amounts": [300, 500, 1000]}),
    Example("presets.one", "/v1/hosts/host_ada/presets/eur"),
    Example("presets.suggested", "/v1/spaces/spc_one/suggestions", asked={"currency": "eur"}),
    Example(
        "tips.send",
        "/v1/tips",
        {"id": "tip_one", **FROM_ZOE, "amount": 500, "message": "Bravo!", "surface": "intent"},
        keeps={"pay_one": "payment"},
    ),
    Example("tips.newest", "/v1/tips", asked={"space": "spc_one", "limit": 1}),
    Example("tips.one", "/v1/tips/tip_one", asked={"expand[]": "payment"}, before=scenes.paid),
    Example("tips.receipt", "/v1/tips/tip_one/receipt"),
    Example("feed.watch", "/v1/spaces/spc_one/tips/feed"),
    Example(
        "runs.open",
        "/v1/runs",
        {"id": "run_one", "space": "spc_one", "size": 200, "currency": "eur", "tiers": STEPS},
        keeps={"tier_one": "tiers.0.id"},
    ),
    Example("runs.newest", "/v1/runs", asked={"space": "spc_one", "limit": 1}),
    Example("runs.one", "/v1/runs/run_one"),
    Example("runs.edit", "/v1/runs/run_one", {"size": 250, "per_listener": 4}),
    Example("runs.add", "/v1/runs/run_one/tiers", {"name": "Last minute", "price": 1500}),
    Example("runs.step", "/v1/runs/run_one/tiers/tier_one", {"price": 600}),
    Example("runs.cap", "/v1/spaces/spc_one/capacity", {"capacity": 300}),
    Example("runs.capacity", "/v1/spaces/spc_one/capacity"),
    Example(
        "codes.make",
        "/v1/runs/run_one/codes",
        {"id": "code_one", "code": "FRIENDS", "rate_bps": 2500, "size": 20},
    ),
    Example("codes.newest", "/v1/runs/run_one/codes", asked={"limit": 1}),
    Example("codes.one", "/v1/codes/code_one"),
    Example("codes.end", "/v1/codes/code_one/end"),
    Example("quotas.one", "/v1/runs/run_counted/quota", before=scenes.counted),
    Example("quotas.watch", "/v1/runs/run_counted/quota/feed"),
    Example(
        "holds.claim",
        "/v1/holds",
        {"id": "hold_one", "run": "run_counted", "listener": "lis_yan", "quantity": 2},
    ),
    Example("holds.one", "/v1/holds/hold_one"),
    Example("holds.extend", "/v1/holds/hold_one/extend", {"listener": "lis_yan"}),
    Example("holds.release", "/v1/holds/hold_one/release", {"listener": "lis_yan"}),
    Example(
        "purchases.open",
        "/v1/purchases",
        {
            "id": "pur_one",
            "hold": "hold_sold",
            "listener": "lis_zoe",
            "holders": ["Zoe", "Yan"],
            "surface": "intent",
        },
        before=scenes.bookable,
    ),
    Example("purchases.newest", "/v1/purchases", asked={"run": "run_sold", "limit": 1}),
    Example(
        "purchases.one",
        "/v1/purchases/pur_one",
        asked={"expand[]": "payment"},
        before=scenes.bought,
    ),
    Example(
        "purchases.give",
        "/v1/runs/run_sold/comps",
        {"id": "pur_two", "tier": "tier_guest", "listener": "lis_ann", "quantity": 2},
    ),
    Example(
        "waiting.join",
        "/v1/runs/run_full/waiting",
        {"id": "wait_one", "listener": "lis_zoe", "quantity": 4, "least": 2},
        before=scenes.full,
    ),
    Example("waiting.newest", "/v1/runs/run_full/waiting", asked={"state": "waiting"}),
    Example("waiting.one", "/v1/waiting/wait_one", before=scenes.released),
    Example("waiting.leave", "/v1/waiting/wait_one/leave"),
    Example("tips.undo", "/v1/tips/tip_two/undo", before=scenes.regretted),
    Example(
        "tabs.open",
        "/v1/tabs",
        {"id": "tab_one", **FROM_ZOE, "cap": 2000, "surface": "intent"},
    ),
    Example("tabs.one", "/v1/tabs/tab_one"),
    Example(
        "tabs.tip", "/v1/tabs/tab_one/tips", {"id": "tip_three", **TABLED}, before=scenes.authorised
    ),
    Example("tabs.close", "/v1/tabs/tab_one/close"),
    Example("payments.newest", "/v1/payments", asked={"listener": "lis_zoe", "limit": 1}),
    Example("payments.one", "/v1/payments/pay_one"),
    Example(
        "refunds.refund",
        "/v1/payments/pay_one/refunds",
        {"id": "ref_one", "amount": 200, "currency": "eur", "reason": "the sound broke off"},
    ),
    Example("refunds.one", "/v1/refunds/ref_one"),
    Example("payments.receipt", "/v1/payments/pay_one/receipt"),
    Example("hosts.balance", "/v1/hosts/host_ada/balance"),
    Example(
        "hosts.bank_payouts",
        "/v1/hosts/host_ada/bank_payouts",
        asked={"limit": 1},
        before=scenes.banked,
    ),
    Example(
        "platform_payouts.pay_out",
        "/v1/platform_payouts",
        {"id": "bp_one", "amount": 500, "currency": "usd"},
        before=scenes.commissioned,
    ),
    Example("platform_payouts.newest", "/v1/platform_payouts", asked={"limit": 1}),
    Example(
        "payouts.request",
        "/v1/payouts",
        {"id": "po_one", "host": "host_pia", "currency": "eur"},
        before=scenes.payable,
    ),
    Example("payouts.newest", "/v1/payouts", asked={"host": "host_pia", "limit": 1}),
    Example("payouts.one", "/v1/payouts/po_one", asked={"expand[]": "host"}),
    Example("payouts.lines", "/v1/payouts/po_one/lines", asked={"limit": 1}),
    Example("payouts.approve", "/v1/payouts/po_two/approve", before=scenes.waiting),
    Example(
        "payouts.refuse",
        "/v1/payouts/po_three/refuse",
        {"why": "ask again on Monday"},
        before=scenes.waiting_too,
    ),
    Example("payout_plans.pause", "/v1/hosts/host_pia/payout_plan/pause", {"why": "a review"}),
    Example("payout_plans.resume", "/v1/hosts/host_pia/payout_plan/resume"),
    Example("payout_plans.edit", "/v1/hosts/host_pia/payout_plan", MONTHLY),
    Example("payout_plans.one", "/v1/hosts/host_pia/payout_plan"),
    Example("payout_plans.coming", "/v1/hosts/host_pia/upcoming_payouts"),
    Example("payout_batches.begin", "/v1/payout_batches", {"id": "pob_one"}),
    Example("payout_batches.newest", "/v1/payout_batches", asked={"limit": 1}),
    Example("payout_batches.one", "/v1/payout_batches/pob_one", before=World.heard),
    Example("balances.balance", "/v1/balances", asked=HELD),
    Example("balances.trial", "/v1/trial-balance"),
    Example(
        "entries.newest",
        "/v1/entries",
        asked={"subject": "pay_one", "kind": "earned"},
        keeps={"je_one": "data.0.id"},
    ),
    Example("entries.one", "/v1/entries/je_one"),
    Example("seals.head", "/v1/seals/head"),
    Example(
        "events.newest",
        "/v1/events",
        asked={"type": "payment_intent.succeeded", "limit": 1},
        keeps={"evt_one": "data.0.id"},
    ),
    Example("events.one", "/v1/events/evt_one"),
    Example("events.replay", "/v1/events/evt_one/replay"),
    Example("policies.publish", "/v1/policies", {"rules": HOUSE}),
    Example("policies.every", "/v1/policies"),
    Example("policies.one", "/v1/policies/house"),
    Example("previews.ask", "/v1/previews", OFFERED),
    Example("acts.newest", "/v1/acts", asked={"operation": "refunds.refund", "limit": 1}),
    Example("keys.revoke", "/v1/keys/key_old/revoke", before=scenes.another_key),
    Example("keys.every", "/v1/keys"),
    Example("passes.keys", "/v1/door_keys", before=scenes.guests),
    Example("passes.one", "/v1/tickets/tkt_zed_1/pass"),
    Example("calendars.ticket", "/v1/tickets/tkt_zed_1/calendar"),
    Example("calendars.space", "/v1/spaces/spc_one/calendar"),
    Example(
        "admissions.admit",
        "/v1/admissions",
        {"id": "adm_one", "pass": scenes.PASS, "space": "spc_one", "door": "north-2"},
    ),
    Example("admissions.newest", "/v1/admissions", asked={"space": "spc_one", "limit": 1}),
    Example("doors.one", "/v1/spaces/spc_one/door"),
    Example(
        "doors.tell",
        "/v1/spaces/spc_one/door",
        {"door": "south-1", "scans": [{"pass": scenes.PASS, "at": scenes.SCANNED}, OFFLINE]},
    ),
    Example("doors.conflicts", "/v1/spaces/spc_one/door/conflicts"),
    Example("tickets.one", "/v1/tickets/tkt_gift", before=scenes.given_away),
    Example("tickets.newest", "/v1/tickets", asked={"run": "run_gift", "limit": 1}),
    Example(
        "tickets.transfer",
        "/v1/tickets/tkt_gift/transfer",
        {"listener": "lis_max", "to": "lis_zoe", "holder": "Zoe Z."},
    ),
    Example(
        "spaces.reschedule",
        "/v1/spaces/spc_three/reschedule",
        {"starts_at": "2099-05-01T20:00:00Z"},
    ),
    Example("tickets.refund", "/v1/tickets/tkt_gift/refund", {"listener": "lis_zoe"}),
    Example("spaces.end", "/v1/spaces/spc_one/end"),
    Example("spaces.cancel", "/v1/spaces/spc_two/cancel", before=scenes.another_space),
    Example("spaces.cancellation", "/v1/spaces/spc_two/cancellation"),
    Example("disputes.newest", "/v1/disputes", asked={"open": "true"}, before=scenes.disputed),
    Example("disputes.one", "/v1/disputes/dp_one"),
    Example("disputes.evidence", "/v1/disputes/dp_one/evidence"),
    Example("metrics.scrape", "/metrics"),
)


def missing(world: World) -> set[str]:
    """The operations that nobody has given an example of."""
    return set(world.operations()) - {example.operation for example in STORY}


TO_ADD: Final = "give {} an Example in STORY of tests/acceptance/examples.py"


def streams(world: World, operation: str) -> bool:
    """Whether the answer never ends."""
    *_, said = world.operations()[operation]
    return "text/event-stream" in said["responses"]["200"]["content"]


async def told(world: World) -> None:
    """The whole story: afterwards there is something at every address."""
    unknown = missing(world)
    assert not unknown, TO_ADD.format(unknown)
    for example in STORY:
        await example.ready(world)
        if streams(world, example.operation):
            continue
        headers = {HEADER: f"told {example.operation}"}
        answer = await world.client.send(example.request(world, headers=headers))
        assert answer.is_success, answer.text
        if answer.headers["content-type"] == "application/json":
            example.learn(world, answer.json())
