"""A hold is bought: with money, at the listener's choice of price, for nothing; once."""

from datetime import datetime
from typing import Any

import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.errors import TakingsError
from takings.payments.stripe import CardDeclined
from takings.policies.rules import BelowMinimum
from takings.spaces import spaces
from tests import box_office, stories
from ticketing import holds, purchases
from ticketing.purchases import Bought, PurchaseWish
from ticketing.wishes import TierWish

TIERS = (
    TierWish("Seat", "fixed", 1000, "tier_seat"),
    TierWish("As you like", "choice", 500, "tier_choice"),
    TierWish("Standing", "free", 0, "tier_free"),
)


async def held(runtime: Runtime, name: str = "zoe", **named: Any) -> str:
    """A hold of the run, which is opened unless it is there."""
    database, now = runtime.database, runtime.now()
    if not await database.fetch("SELECT FROM runs"):
        await box_office.run(database, now, tiers=TIERS)
    assert await box_office.claim(database, name, now=now, **named) == "held"
    return f"hold_{name}"


async def buy(
    runtime: Runtime, name: str = "zoe", *, now: datetime | None = None, **named: Any
) -> Bought:
    """Buy a hold, to pay with a PaymentIntent; unless told otherwise."""
    told = {"id": f"pur_{name}", "hold": f"hold_{name}", "listener": f"lis_{name}"}
    wish = PurchaseWish(**{"surface": "intent", **told, **named})
    at = now or runtime.now()
    return await purchases.open(runtime.database, runtime.stripe, wish, now=at)


async def refused(runtime: Runtime, **named: Any) -> str:
    """The code of what becomes of a purchase that is not possible; and nothing is written."""
    before = await runtime.database.fetch("SELECT count(*) AS n FROM purchases")
    with pytest.raises(TakingsError) as error:
        await buy(runtime, **named)
    assert await runtime.database.fetch("SELECT count(*) AS n FROM purchases") == before
    return error.value.code


async def test_a_paid_purchase_is_numbered_tickets_with_a_secret_each(
    runtime: Runtime, box: Sandbox
) -> None:
    await held(runtime, quantity=3)
    bought = await buy(runtime, holders=("Zoe", "Yan", "Xia"))
    assert bought.state == "open"
    assert {one.state for one in bought.tickets} == {"pending"}
    assert bought.payment is not None
    assert bought.payment.minor == 3 * 1000 + 120  # the listener covers the card fee
    assert await box_office.left(runtime.database) == (10, 3, 0)
    box.pay(bought.payment.intent_id)
    await stories.hear(runtime, box)
    bought = await purchases.get(runtime.database, "pur_zoe")
    assert (bought.state, bought.hold.state) == ("settled", "sold")
    told = [(one.number, one.holder, one.state, one.listener_id) for one in bought.tickets]
    assert told == [
        (n, name, "valid", "lis_zoe") for n, name in enumerate(("Zoe", "Yan", "Xia"), 1)
    ]
    assert len({one.secret for one in bought.tickets}) == 3
    assert await box_office.left(runtime.database) == (10, 0, 3)
    assert await stories.guilty(runtime.database) == {}


async def test_the_numbers_of_a_run_have_no_gap_whoever_pays_first(
    runtime: Runtime, box: Sandbox
) -> None:
    for name in ("ann", "bea", "cyd"):
        await held(runtime, name, quantity=2)
    bought = {name: await buy(runtime, name) for name in ("ann", "bea", "cyd")}
    for name in ("cyd", "ann"):
        box.pay(bought[name].payment.intent_id)  # type: ignore[union-attr]
        await stories.hear(runtime, box)
    rows = await runtime.database.fetch(
        "SELECT listener_id, number FROM tickets WHERE state = 'valid' ORDER BY number"
    )
    assert [row.listener_id for row in rows] == ["lis_cyd"] * 2 + ["lis_ann"] * 2
    assert [row.number for row in rows] == [1, 2, 3, 4]


async def test_what_costs_nothing_is_bought_at_once_and_stripe_is_not_asked(
    runtime: Runtime, box: Sandbox
) -> None:
    await held(runtime, tier="tier_free", quantity=2)
    bought = await buy(runtime, surface="checkout")
    assert (bought.state, bought.payment) == ("settled", None)
    assert [one.number for one in bought.tickets] == [1, 2]
    assert await buy(runtime, surface="checkout") == bought
    assert box.requests == []


async def test_the_listener_chooses_the_price_from_the_floor_on(
    runtime: Runtime, box: Sandbox
) -> None:
    await held(runtime, tier="tier_choice", quantity=2)
    with pytest.raises(BelowMinimum):
        await buy(runtime, amount=499)
    bought = await buy(runtime, amount=750)
    assert [one.minor for one in bought.tickets] == [750, 750]
    box.pay(bought.payment.intent_id)  # type: ignore[union-attr]
    await stories.hear(runtime, box)
    assert (await purchases.get(runtime.database, "pur_zoe")).state == "settled"


@pytest.mark.parametrize(
    ("named", "code"),
    [
        ({"hold": "hold_nobody"}, "not_found"),
        ({"listener": "lis_mallory"}, "not_your_hold"),
        ({"holders": ("Zoe",)}, "holders_do_not_match"),
        ({"amount": 999}, "price_differs"),
        ({"amount": 1001}, "price_differs"),
        ({"surface": "checkout"}, "surface_needs"),
        ({"id": "pur zoe"}, "bad_id"),
    ],
)
async def test_what_is_wrong_with_a_purchase_is_said_before_anything_is_written(
    runtime: Runtime, named: dict[str, Any], code: str
) -> None:
    await held(runtime, quantity=2)
    assert await refused(runtime, **named) == code
    assert await box_office.left(runtime.database) == (10, 2, 0)


async def test_a_hold_is_bought_once_at_a_time_and_a_repeated_purchase_is_the_same(
    runtime: Runtime, box: Sandbox
) -> None:
    await held(runtime)
    bought = await buy(runtime)
    assert await buy(runtime) == bought
    assert await refused(runtime, surface="saved") == "purchase_differs"
    assert await refused(runtime, holders=("Zoe",)) == "purchase_differs"
    await held(runtime, "ann")
    assert await refused(runtime, name="ann", id="pur_zoe") == "purchase_differs"
    assert await refused(runtime, id="pur_two") == "purchase_open"
    box.pay(bought.payment.intent_id)  # type: ignore[union-attr]
    await stories.hear(runtime, box)
    assert await refused(runtime, id="pur_two") == "purchase_open"
    assert len(box.calls("POST", "/v1/payment_intents")) == 1


async def test_what_is_over_is_not_bought(runtime: Runtime) -> None:
    hold = await held(runtime)
    await held(runtime, "ann")
    await holds.release(runtime.database, hold, "lis_zoe", now=runtime.now())
    assert await refused(runtime) == "hold_over"
    await spaces.move(runtime.database, "spc_one", "ended", now=runtime.now())
    assert await refused(runtime, name="ann") == "sale_over"


async def test_a_hold_whose_time_has_passed_can_be_bought_until_it_is_swept(
    runtime: Runtime,
) -> None:
    await held(runtime)
    await runtime.database.fetch("UPDATE holds SET expires_at = created_at - interval '1 s'")
    assert (await buy(runtime)).state == "open"
    assert await holds.sweep(runtime.database, now=runtime.now()) == 0


async def test_a_declined_card_leaves_the_hold_and_the_next_one_is_taken(
    runtime: Runtime, box: Sandbox
) -> None:
    await held(runtime, quantity=2)
    customer = box.state.add("customer", email=None, name=None, metadata={})["id"]
    saved = {"surface": "saved", "customer": customer}
    declined = "pm_card_chargeDeclinedInsufficientFunds"
    with pytest.raises(CardDeclined):
        await buy(runtime, payment_method=declined, **saved)
    assert (await purchases.get(runtime.database, "pur_zoe")).state == "cancelled"
    assert await box_office.left(runtime.database) == (10, 2, 0)
    bought = await buy(runtime, id="pur_two", payment_method="pm_card_visa", **saved)
    assert bought.state == "settled"
    assert [one.number for one in bought.tickets] == [1, 2]
    assert await box_office.left(runtime.database) == (10, 0, 2)
    assert await stories.guilty(runtime.database) == {}


PAGES = {"success_url": "https://example.com/done", "cancel_url": "https://example.com/back"}


async def test_the_hold_lasts_as_long_as_stripes_page_but_not_for_ever(
    runtime: Runtime, box: Sandbox
) -> None:
    await held(runtime)
    now = runtime.now()
    bought = await buy(runtime, surface="checkout", **PAGES)
    assert bought.payment is not None
    session = box.state.get("checkout.session", bought.payment.session_id or "")
    assert session["url"] == bought.payment.url
    assert 30 * 60 <= session["expires_at"] - int(now.timestamp()) <= 36 * 60
    assert bought.hold.expires_at >= now + purchases.PAGE_OPEN
    await held(runtime, "ann")  # whose buyer comes much later, before any sweep
    late = await buy(runtime, "ann", surface="checkout", now=stories.later(minutes=100), **PAGES)
    assert late.hold.expires_at == late.hold.created_at + purchases.LONGEST
