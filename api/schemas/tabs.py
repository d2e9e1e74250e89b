"""Tabs, as the API hears and shows them."""

from typing import Literal, Self

from api.schemas.common import Currency, Input, Minor, Output, OwnId, Prose, Seconds, Text
from api.schemas.tips import Anonymous, Back, Card, Customer, How, Listener, Through
from takings.money import Money
from tipping import tabs


class TabInput(Input):
    """A tab that a listener wants to open, and how they pay it; ``cap`` is the most it charges."""

    id: OwnId | None = None
    space: Text
    listener: Listener
    cap: Minor
    currency: Currency
    channel: Through = "web"
    surface: How = "checkout"
    success_url: Back | None = None
    cancel_url: Back | None = None
    customer: Customer | None = None
    payment_method: Card | None = None

    def wish(self, tab_id: str) -> tabs.TabWish:
        """The tab as the books know it; raises UnknownCurrency or AmountTooLarge."""
        plain = self.model_dump(exclude={"id", "cap", "currency"})
        return tabs.TabWish(id=tab_id, cap=Money(self.cap, self.currency), **plain)


class TabTipInput(Input):
    """A tip that is given on a tab; it can be undone for ten seconds."""

    id: OwnId | None = None
    amount: Minor
    currency: Currency
    message: Prose | None = None
    anonymous: Anonymous = False

    def given(self, tip_id: str, tab_id: str) -> tabs.TabTip:
        """The tip as the books know it; raises UnknownCurrency or AmountTooLarge."""
        money = Money(self.amount, self.currency)
        return tabs.TabTip(tip_id, tab_id, money, self.message, self.anonymous)


class Tab(Output):
    """A listener's tips of one room, to be charged together when the tab is closed.

    Until it is open, go to ``url`` or pay with ``client_secret``.  ``given`` is the sum of its
    ``tips``, ``charged`` what is or was taken in the end, with the card fee where the listener
    bears it: null until it is closed.
    """

    id: str
    object: Literal["tab"] = "tab"
    created: Seconds
    space: str
    listener: str
    cap: int
    currency: str
    state: Literal["opening", "open", "closing", "settled", "cancelled"]
    given: int
    tips: int
    charged: int | None
    payment: str
    url: str | None
    client_secret: str | None
    closed_at: Seconds | None

    @classmethod
    def of(cls, opened: tabs.Opened) -> Self:
        """The tab as the API shows it."""
        tab, payment, opening = opened.tab, opened.payment, opened.state == "opening"
        return cls(
            id=tab.id,
            created=tab.created_at,
            space=tab.space_id,
            listener=tab.listener_id,
            cap=tab.cap,
            currency=tab.currency,
            state=opened.state,
            given=opened.given.minor,
            tips=opened.tips,
            charged=payment.minor if opened.state in ("closing", "settled") else None,
            payment=payment.id,
            url=payment.url if opening else None,
            client_secret=payment.client_secret if opening else None,
            closed_at=tab.closed_at,
        )
