"""The lines of a checkout session: what is bought, and at which price."""

from sandbox.errors import StripeError
from sandbox.forms import array, currency, integer, metadata, shape, text
from sandbox.state import State
from sandbox.tables import Row


def item(state: State, line: Row, number: int) -> Row:
    """One line of an order, with a price made for it alone."""
    price = line["price_data"]
    quantity = line.get("quantity", 1)
    total = price["unit_amount"] * quantity
    if quantity < 1 or price["unit_amount"] < 0:
        raise StripeError("Invalid line item.", param=f"line_items[{number}]")
    return {
        "id": state.new_id("li_1"),
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": 0,
        "amount_subtotal": total,
        "amount_tax": 0,
        "amount_total": total,
        "currency": price["currency"],
        "description": price["product_data"]["name"],
        "metadata": line.get("metadata", {}),
        "price": _price(state, price),
        "quantity": quantity,
    }


def _price(state: State, price: Row) -> Row:
    return {
        "id": state.new_id("price_1"),
        "object": "price",
        "active": False,
        "billing_scheme": "per_unit",
        "created": state.clock.now(),
        "currency": price["currency"],
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": None,
        "metadata": {},
        "nickname": None,
        "product": state.new_id("prod_"),
        "recurring": None,
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "one_time",
        "unit_amount": price["unit_amount"],
        "unit_amount_decimal": str(price["unit_amount"]),
    }


PRICE = shape(
    "currency",
    "product_data",
    "unit_amount",
    currency=currency,
    product_data=shape("name", name=text, description=text, images=array(text), metadata=metadata),
    unit_amount=integer,
)
LINE = shape("price_data", price_data=PRICE, quantity=integer, metadata=metadata)
