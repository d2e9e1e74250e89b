"""One payment for many tips, each under a version of its own of who shares what."""

from collections.abc import Sequence

from api.runtime import Runtime
from api.settlement import SETTLEMENT
from sandbox.control import Sandbox
from takings.money import Money
from takings.payments import orders, payments
from takings.payments.orders import Item, Order
from takings.policies import policies
from takings.records import new_id
from takings.spaces import spaces
from tests import stories

THREE_VERSIONS = (
    (("host_ada", 6000), ("host_bob", 4000)),
    (("host_ada", 5000), ("host_cleo", 5000)),
    (("host_ada", 3333), ("host_bob", 3333), ("host_cleo", 3334)),
)


async def room(runtime: Runtime, *, policy: str = stories.CLUBHOUSE) -> None:
    """A live Space whose shares were agreed three times."""
    database, now = runtime.database, runtime.now()
    everybody = [("host_ada", 3000), ("host_bob", 3000), ("host_cleo", 4000)]
    await stories.room(database, now, shares=everybody, policy=policy, space="spc_zero")
    first, *later = THREE_VERSIONS
    await stories.room(database, now, shares=first, policy=policy)
    for shares in later:
        await stories.agreed(database, now, dict(shares))


async def paid(
    runtime: Runtime, box: Sandbox, minors: Sequence[int], *, currency: str = "eur"
) -> tuple[str, list[str]]:
    """A payment for as many tips, shared by the versions in turn, paid and cashed; and its lines.

    The lines are in the order of the tips.
    """
    database = runtime.database
    space = await database.run(spaces.get, "spc_one")
    policy = await database.run(policies.get, space.policy, space.policy_version)
    order = Order(
        id=new_id("pay"),
        listener="lis_zoe",
        space=space.id,
        surface="intent",
        policy=policy,
        items=tuple(
            Item("tip", f"tip_{n}", n % 3 + 1, Money(minor, currency), "Tip")
            for n, minor in enumerate(minors)
        ),
    )
    ask = await database.run(orders.open, order, runtime.now())
    await orders.ask(database, runtime.stripe, ask, SETTLEMENT, now=runtime.now())
    payment = await database.run(payments.get, order.id)
    box.pay(payment.intent_id)
    await stories.hear(runtime, box)
    rows = await database.fetch(LINES, order.id)
    return order.id, [row.id for row in rows]


LINES = "SELECT id FROM lines WHERE payment_id = $1 ORDER BY length(subject), subject"
