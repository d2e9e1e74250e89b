"""The sandbox as a test holds it: Stripe's other side, the payer, the bank and time itself."""

from collections.abc import Callable
from functools import partial

from sandbox import accounts, checkout, disputes, events, payments, payouts, refunds, webhooks
from sandbox.courier import AT_ONCE, Courier
from sandbox.errors import StripeError
from sandbox.faults import Faults
from sandbox.state import PLATFORM, Fee, Logged, Settings, State
from sandbox.tables import Row


class Sandbox:
    """A stand-in for Stripe with its controls; the same verbs as under ``/_sandbox/``."""

    def __init__(
        self, seed: int = 0, url: str = "http://127.0.0.1", at_once: int = AT_ONCE
    ) -> None:
        self.seed, self.url = seed, url
        self.courier = Courier(lambda: self.state, at_once)
        self.reset()

    def reset(self) -> None:
        """Nothing has ever happened; the endpoints are forgotten too."""
        self.state = State(self.seed, self.url)
        self.state.on_change = self.courier.wake

    # -- time ---------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """The sandbox's time, in seconds since the epoch."""
        return self.state.clock.now()

    def advance(self, seconds: int) -> int:
        """Time passes, and all that was due in it happens; the new time."""
        self.state.clock.advance(seconds)
        self.state.catch_up()
        self.courier.wake()
        return self.now

    def set_clock(self, moment: int) -> int:
        """It is that moment now, which has not passed yet."""
        return self.advance(moment - self.now)

    # -- payers, banks and Stripe's own decisions -----------------------------------------------

    def pay(
        self,
        payment_intent: str | None = None,
        *,
        checkout_session: str | None = None,
        payment_method: str = "pm_card_visa",
        at: int | None = None,
    ) -> Row | None:
        """The payer pays, now or when the clock reaches ``at`` (then nothing is returned)."""
        state = self.state
        state.catch_up()
        act: Callable[[], Row]
        if checkout_session:
            session = state.get("checkout.session", checkout_session)
            act = partial(checkout.pay, state, session, payment_method)
        else:
            intent = state.get("payment_intent", payment_intent or "")
            method = None if intent["status"] == "requires_action" else payment_method
            act = partial(payments.confirm, state, intent, method)
        if at is None or at <= self.now:
            return act()

        def attempt() -> None:
            try:
                act()
            except StripeError:  # refused, expired or paid by then: the events tell it
                return

        state.schedule(at, attempt)
        return None

    def dispute(
        self,
        charge: str | None = None,
        *,
        payment_intent: str | None = None,
        amount: int | None = None,
        inquiry: bool = False,
        taken: bool = True,
        reason: str = "fraudulent",
    ) -> Row:
        """The cardholder's bank disputes a charge; an ``inquiry`` takes no money.

        Without ``taken`` it takes the money later (``withdraw_dispute``).
        """
        row = self._charge(charge, payment_intent)
        return disputes.start(
            self.state, row, amount=amount, inquiry=inquiry, taken=taken, reason=reason
        )

    def _charge(self, charge: str | None, payment_intent: str | None) -> Row:
        if payment_intent:
            charge = self.state.get("payment_intent", payment_intent)["latest_charge"]
        return self.state.get("charge", charge or "")

    def withdraw_dispute(self, dispute: str) -> Row:
        """The money is taken; an inquiry becomes a dispute by it."""
        return disputes.withdraw(self.state, self.state.get("dispute", dispute))

    def close_dispute(self, dispute: str, status: str, *, fee_back: bool = False) -> Row:
        """The bank decides: won, lost, warning_closed or prevented."""
        row = self.state.get("dispute", dispute)
        return disputes.close(self.state, row, status, fee_back=fee_back)

    def fail_refund(self, refund: str, reason: str = "lost_or_stolen_card") -> Row:
        """The bank sends a refund back."""
        return refunds.fail(self.state, self.state.get("refund", refund), reason)

    def stall_refund(self, refund: str) -> Row:
        """A refund waits for its customer, and can be canceled."""
        return refunds.wait_for_customer(self.state, self.state.get("refund", refund))

    def capability(self, account: str, status: str = "active") -> Row:
        """Stripe decides about an account's stripe_transfers."""
        return accounts.set_capability(self.state, self.state.get("account", account), status)

    def close_account(self, account: str) -> Row:
        """A connected account is closed."""
        return accounts.shut(self.state, self.state.get("account", account))

    def deauthorize(self, account: str) -> Row:
        """A connected account's owner leaves the platform."""
        return accounts.deauthorize(self.state, self.state.get("account", account))

    def fail_payout(self, payout: str, account: str = PLATFORM) -> Row:
        """The bank sends a payout back."""
        return payouts.fail(self.state, account, self.state.get("payout", payout, account))

    def host_payout(self, account: str, currency: str) -> Row:
        """A connected account's own automatic payout of all it has available."""
        return payouts.send_home(self.state, account, currency)

    # -- settings and faults --------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        """What may be set: fees, and when balance transactions appear."""
        return self.state.settings

    @property
    def faults(self) -> Faults:
        """What goes wrong on demand."""
        return self.state.faults

    def fee(
        self,
        currency: str | None = None,
        *,
        basis_points: int = 290,
        fixed: int = 30,
        payment_intent: str | None = None,
        amount: int = 0,
    ) -> None:
        """The fee schedule of a currency, or the exact fee of one payment intent's charge."""
        if payment_intent:
            self.settings.fee_of[payment_intent] = amount
        elif currency:
            self.settings.fees[currency] = Fee(basis_points, fixed)
        else:
            raise StripeError("Name a currency or a payment_intent.", param="currency")

    # -- webhooks -------------------------------------------------------------------------------

    def webhook(
        self,
        url: str,
        secret: str,
        *,
        connect: bool = False,
        thin: bool = False,
        enabled_events: list[str] | None = None,
    ) -> Row:
        """Events go there from now on, signed with that secret."""
        return webhooks.register(
            self.state,
            url,
            secret=secret,
            connect=connect,
            thin=thin,
            enabled_events=enabled_events,
        )

    def hold(self, on: bool = True) -> None:
        """Nothing is delivered until it is let go, or until deliver() is called."""
        self.courier.held = on
        self.courier.wake()

    async def deliver(self, only: list[str] | None = None, *, attempts: int = 3) -> dict[str, int]:
        """All that is pending has been delivered; or just these events, one by one, in order."""
        self.state.catch_up()
        if only is None:
            return await self.courier.drain(attempts)
        counts = {"delivered": 0, "failed": 0}
        for id_ in only:
            for delivery in self._deliveries(id_):
                sent = await self.courier.carry(delivery)
                counts["delivered" if sent else "failed"] += 1
        return counts

    def replay(self) -> int:
        """Every event is delivered once more; how many."""
        rows = self._rows("event") + self._rows("v2.core.event")
        for row in sorted(rows, key=lambda row: row["number"]):
            for delivery in self._deliveries(row["id"]):
                webhooks.enqueue(self.state, delivery)
        return len(rows)

    def _deliveries(self, event: str) -> list[webhooks.Delivery]:
        for kind in ("event", "v2.core.event"):
            for (owner, table_kind), table in self.state.tables.items():
                row = table.get(event) if table_kind == kind else None
                if row is not None:
                    thin = kind != "event"
                    account = row["about"] if thin else owner
                    return webhooks.deliveries(self.state, row, account, thin=thin)
        raise StripeError(f"No such event: {event}", status=404)

    # -- what happened --------------------------------------------------------------------------

    @property
    def requests(self) -> list[Logged]:
        """Every request and its answer, oldest first."""
        return list(self.state.requests)

    def calls(self, method: str, path: str) -> list[Logged]:
        """The requests to one path, oldest first: to assert that there was one."""
        return [r for r in self.state.requests if (r.method, r.path) == (method, path)]

    @property
    def events(self) -> list[Row]:
        """Every snapshot event of every account, as the API shows it, oldest first."""
        rows = sorted(self._rows("event"), key=lambda row: row["number"])
        return [events.shown(row) for row in rows]

    @property
    def notifications(self) -> list[Row]:
        """Every thin v2 event, oldest first."""
        return [events.shown(row) for row in self._rows("v2.core.event")]

    def _rows(self, kind: str) -> list[Row]:
        tables = self.state.tables.items()
        return [row for (_, its), table in tables if its == kind for row in table.rows]

    def balance(self, currency: str, account: str = PLATFORM) -> dict[str, int]:
        """An account's money in one currency, in minor units."""
        self.state.catch_up()
        balance = self.state.balances[account][currency]
        return {"available": balance.available, "pending": balance.pending}

    @staticmethod
    def sign(payload: bytes, secret: str, moment: int | None = None) -> str:
        """A ``Stripe-Signature`` header for any payload."""
        return webhooks.sign(payload, secret, moment)
