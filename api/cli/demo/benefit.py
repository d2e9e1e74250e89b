"""The benefit: tips and tickets for two hosts and a charity that has no account yet."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from api.cli.demo import cards, days, scheduling
from api.cli.demo.buyers import CURRENCY, Buyer, Memory
from api.cli.demo.calls import get, post
from api.cli.demo.sale import Sale
from api.cli.demo.stage import Stage

HOSTS: Final = {"host_fay": "Fay", "host_gus": "Gus", "host_sea": "Sea Rescue"}
FAY, GUS, SEA = HOSTS
POLICY: Final = "benefit-2026"
SPACE, RUN, ENCORE = "spc_benefit", "run_benefit", "spc_encore"
SEATS, PRICE = 12, 40_00
TIPS: Final = {"zoe": 100_00, "yan": 20_00, "xia": 68_00, "wim": 12_00}
ENCORES: Final = {"uma": 10_00, "tom": 10_00, "sam": 10_00}
CLAIM: Final = {"days": 10, "unclaimed": "others"}
CARD: Final = "pm_card_visa"


@dataclass(frozen=True, slots=True)
class Paid:
    """A tip, as its listener remembers it."""

    payment: str
    intent: str
    minor: int


@dataclass(slots=True)
class Benefit:
    """What its listeners and their banks remember."""

    stage: Stage
    tips: dict[str, Paid] = field(default_factory=dict)  # by listener
    gone: int = 0  # went back to them, or was taken by their banks and for that

    def given(self) -> Counter[str]:
        """What is left of their tips with the hosts and the platform, by currency."""
        return Counter({CURRENCY: sum(tip.minor for tip in self.tips.values()) - self.gone})

    async def refund(self, listener: str, minor: int) -> None:
        """So much of a tip goes back."""
        asked = {"amount": minor, "currency": CURRENCY}
        await post(self.stage.api, f"/v1/payments/{self.tips[listener].payment}/refunds", asked)
        self.gone += minor

    async def tip(self, space: str, listener: str, minor: int) -> None:
        """A listener tips."""
        wish = {"space": space, "listener": listener, "amount": minor, "currency": CURRENCY}
        due = await post(self.stage.api, "/v1/tips", wish | {"surface": "intent"})
        intent = due["client_secret"].partition("_secret_")[0]
        self.tips[listener] = Paid(due["payment"], intent, minor)
        await cards.pay(self.stage, due, CARD)


async def play(stage: Stage, memory: Memory) -> Benefit:
    """The evening of the benefit, until its room has ended."""
    await _open(stage)
    benefit, sale = Benefit(stage), Sale(stage, RUN, memory)
    seats = (_buy(sale, n) for n in range(SEATS))
    await asyncio.gather(*seats, *(benefit.tip(SPACE, *tip) for tip in TIPS.items()))
    await days.pass_on(stage)
    await post(stage.api, f"/v1/spaces/{SPACE}/end", {})
    return benefit


async def _open(stage: Stage) -> None:
    """Two hosts, and a fifth for a charity that signs nothing and has ten days to come."""
    await _publish(stage)
    for host, name in HOSTS.items():
        await post(stage.api, "/v1/hosts", {"id": host, "name": name})
    shares: list[dict[str, Any]] = [
        {"host": FAY, "weight": 5000},
        {"host": GUS, "weight": 3000},
        {"host": SEA, "weight": 2000, "claim": CLAIM},
    ]
    starts_at = (stage.runtime.now() + timedelta(minutes=30)).isoformat()
    space = {"id": SPACE, "host": FAY, "title": "Songs for the sea", "policy": POLICY}
    await scheduling.schedule(stage, space | {"shares": shares, "starts_at": starts_at})
    tier = {"id": "tier_benefit", "name": "Seat", "price": PRICE}
    run = {"id": RUN, "space": SPACE, "size": SEATS, "currency": CURRENCY, "tiers": [tier]}
    await post(stage.api, "/v1/runs", run)
    await post(stage.api, f"/v1/spaces/{SPACE}/live", {})


async def _publish(stage: Stage) -> None:
    """A preset's rules but for one: what a chargeback costs is the hosts' to bear."""
    preset = await get(stage.api, "/v1/policies/discord-2021")
    source = "The demo's: 10 % for the platform; the hosts bear what a chargeback costs."
    rules = preset["rules"] | {"name": POLICY, "version": 1, "source": source}
    await post(stage.api, "/v1/policies", {"rules": rules | {"dispute_fee_bearer": "host"}})


async def _buy(sale: Sale, n: int) -> None:
    buyer = Buyer(f"fan_{n:05}", 1, "pays", patient=False, surface="intent", card=CARD)
    hold = await sale.claim(buyer)
    purchase = None if hold is None else await sale.open(hold, buyer)
    if purchase is not None:
        await sale.pay(purchase, CARD)


async def encore(stage: Stage, benefit: Benefit) -> None:
    """One of the hosts plays again, alone, and earns what repays a debt."""
    api = stage.api
    space = {"id": ENCORE, "host": GUS, "title": "Encore", "policy": POLICY}
    await post(api, "/v1/spaces", space)
    await post(api, f"/v1/spaces/{ENCORE}/live", {})
    await asyncio.gather(*(benefit.tip(ENCORE, *tip) for tip in ENCORES.items()))
    await days.pass_on(stage)
    await post(api, f"/v1/spaces/{ENCORE}/end", {})
