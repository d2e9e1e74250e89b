"""The reckoning of the tickets: what the buyers remember against the books, and against Stripe."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from api.cli.demo.buyers import CURRENCY, PER_LISTENER, Memory
from api.cli.demo.calls import every
from api.cli.demo.sale import RUN, Sale
from api.cli.demo.stage import Stage
from takings.money import Money

VALID: Final = "SELECT id, listener_id FROM tickets WHERE state = 'valid'"

NUMBERS: Final = """
SELECT number FROM tickets WHERE run_id = $1 AND number IS NOT NULL ORDER BY number
"""

MOST: Final = """
SELECT listener_id AS id, sum(quantity - returned)::integer AS many FROM holds
 WHERE run_id = $1 AND state IN ('held', 'expiring', 'sold') GROUP BY 1
HAVING sum(quantity - returned) > $2
"""

Charges = Mapping[str, tuple[int, int]]


async def reckoning(sale: Sale, size: int) -> list[str]:
    """What is wrong with the tickets, in sentences; none if nothing is."""
    stage, memory = sale.stage, sale.memory
    fetch = stage.runtime.database.fetch
    valid = {row.id: row.listener_id for row in await fetch(VALID)}
    numbers = [row.number for row in await fetch(NUMBERS, RUN)]
    return [
        *memory.wrong,
        *miscounted(await sale.quota(), size),
        *misnumbered(numbers),
        *[f"{row.id} has {row.many} tickets." for row in await fetch(MOST, RUN, PER_LISTENER)],
        *misplaced(memory, valid),
        *mischarged(memory, await _charges(stage)),
    ]


def miscounted(quota: Mapping[str, Any], size: int) -> Iterator[str]:
    """Exactly so many tickets are sold or held, never one more."""
    taken = quota["sold"] + quota["held"]
    if taken != size:
        yield f"{taken} of {size} tickets are sold or held."


def misnumbered(numbers: list[int]) -> Iterator[str]:
    """They are numbered from 1 on, and none is left out."""
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"{len(numbers)} tickets were numbered, and not from 1 to {len(numbers)}."


def misplaced(memory: Memory, valid: Mapping[str, str]) -> Iterator[str]:
    """Whoever remembers a ticket has it, and nobody has another one."""
    remembered = {one: seat.listener for one, seat in memory.seats.items() if not seat.returned}
    for ticket in sorted({*remembered, *valid}):
        if remembered.get(ticket) != valid.get(ticket):
            yield (
                f"The ticket {ticket} is {valid.get(ticket, 'nobody')}'s, and should be "
                f"{remembered.get(ticket, 'nobody')}'s."
            )


def mischarged(memory: Memory, charges: Charges) -> Iterator[str]:
    """Stripe took what they remember to have paid, and paid back what they gave back."""
    back = memory.returned()
    for payment in sorted(memory.opened):
        took, returned = charges.get(payment, (0, 0))
        if (took, returned) != (memory.charged[payment], back[payment]):
            yield (
                f"For {payment} Stripe took {_shown(took)} and returned {_shown(returned)}; it "
                f"should be {_shown(memory.charged[payment])} and {_shown(back[payment])}."
            )


def _shown(minor: int) -> str:
    return str(Money(minor, CURRENCY))


async def _charges(stage: Stage) -> Charges:
    """What Stripe itself took and returned, by payment of ours."""
    took: Counter[str] = Counter()
    back: Counter[str] = Counter()
    for charge in await every(stage.stripe, "/v1/charges"):
        payment = charge["metadata"].get("takings_payment")
        if payment is not None and charge["paid"]:
            took[payment] += charge["amount_captured"]
            back[payment] += charge["amount_refunded"]
    return {payment: (took[payment], back[payment]) for payment in took}
