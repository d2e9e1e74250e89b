"""An example of every operation, in an order that works: one evening, from host to refund.

What is asked names things as people would (``spc_one``); a world knows what they are called in it.
A new operation of the API needs an ``Example`` in ``STORY``: its good request, and what has to have
happened before, unless an earlier example has seen to that.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from api import keys
from api.acts import HEADER
from takings.money import Money
from takings.spaces import hosts, spaces
from tests.acceptance.world import World
from tests.stories import CLUBHOUSE
from tipping import tabs, tips
from tipping.tips import Wish

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


async def bob(world: World) -> None:
    await hosts.register(world.runtime.database, "host_bob", "Bob", now=world.runtime.now())


async def paid(world: World) -> None:
    sent = await tips.get(world.runtime.database, world.names["tip_one"])
    world.box.pay(sent.payment.intent_id)
    await world.heard()


async def regretted(world: World) -> None:
    money, space = Money(300, "eur"), world.names["spc_one"]
    wish = Wish("tip_two", space, "lis_zoe", money, "intent", undoable=True)
    runtime = world.runtime
    await tips.send(runtime.database, runtime.stripe, wish, now=runtime.now())


async def authorised(world: World) -> None:
    tab = await tabs.get(world.runtime.database, world.names["tab_one"])
    world.box.pay(tab.payment.intent_id)
    await world.heard()


async def another_key(world: World) -> None:
    runtime = world.runtime
    key, _ = await keys.issue(runtime.database, "old backend", scopes=["tips"], now=runtime.now())
    world.names["key_old"] = key.id


async def another_space(world: World) -> None:
    told = {"host": world.names["host_ada"], "title": "Rained off", "policy": CLUBHOUSE}
    runtime = world.runtime
    await spaces.schedule(runtime.database, "spc_two", **told, shares=(), now=runtime.now())


HALVES: Final = [{"host": "host_ada", "weight": 5000}, {"host": "host_bob", "weight": 5000}]
SPLIT: Final = [{"host": "host_ada", "weight": 6000}, {"host": "host_bob", "weight": 4000}]
FROM_ZOE: Final = {"space": "spc_one", "listener": "lis_zoe", "currency": "eur"}
HELD: Final = {"account": "assets:stripe:pending", "currency": "eur"}
TABLED: Final = {"amount": 500, "currency": "eur", "message": "One more!"}

STORY: Final = (
    Example(
        "hosts.register", "/v1/hosts", {"id": "host_ada", "name": "Ada", "listener": "lis_ada"}
    ),
    Example("hosts.one", "/v1/hosts/host_ada"),
    Example(
        "spaces.schedule",
        "/v1/spaces",
        {"id": "spc_one", "host": "host_ada", "title": "Late talk", "shares": SPLIT},
        before=bob,
    ),
    Example("hosts.newest", "/v1/hosts", asked={"limit": 1}),
    Example("spaces.newest", "/v1/spaces", asked={"limit": 1, "expand[]": "data.host"}),
    Example("spaces.one", "/v1/spaces/spc_one"),
    Example("spaces.live", "/v1/spaces/spc_one/live"),
    Example("spaces.shares", "/v1/spaces/spc_one/shares"),
    Example("spaces.amend", "/v1/spaces/spc_one/shares", {"shares": HALVES}),
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
    Example("tips.one", "/v1/tips/tip_one", asked={"expand[]": "payment"}, before=paid),
    Example("tips.receipt", "/v1/tips/tip_one/receipt"),
    Example("feed.watch", "/v1/spaces/spc_one/tips/feed"),
    Example("tips.undo", "/v1/tips/tip_two/undo", before=regretted),
    Example(
        "tabs.open",
        "/v1/tabs",
        {"id": "tab_one", **FROM_ZOE, "cap": 2000, "surface": "intent"},
    ),
    Example("tabs.one", "/v1/tabs/tab_one"),
    Example("tabs.tip", "/v1/tabs/tab_one/tips", {"id": "tip_three", **TABLED}, before=authorised),
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
    Example("policies.every", "/v1/policies"),
    Example("policies.one", "/v1/policies/discord-2021"),
    Example("acts.newest", "/v1/acts", asked={"operation": "refunds.refund", "limit": 1}),
    Example("keys.revoke", "/v1/keys/key_old/revoke", before=another_key),
    Example("keys.every", "/v1/keys"),
    Example("spaces.end", "/v1/spaces/spc_one/end"),
    Example("spaces.cancel", "/v1/spaces/spc_two/cancel", before=another_space),
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
