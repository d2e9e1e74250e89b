"""Payment intents: from a wish to be paid to money, by every road that Stripe knows."""

from functools import partial

from sandbox import charges, events, refunds, sessions
from sandbox.errors import StripeError, wrong_state
from sandbox.methods import Method, refuse_card, resolve
from sandbox.money import DAY
from sandbox.state import State
from sandbox.tables import Row

AUTHORISED_FOR = 7 * DAY
DEBIT_TAKES = 180  # seconds until a delayed test method has succeeded or failed
OPEN = {"requires_payment_method", "requires_confirmation", "requires_action"}


def confirm(
    state: State, intent: Row, method_id: str | None = None, *, off_session: bool = False
) -> Row:
    """One attempt to pay; a refusal of the bank is 402 and leaves the intent open."""
    require(intent, OPEN, "confirm")
    method_id = method_id or intent["payment_method"]
    if method_id is None:
        raise wrong_state(
            "You cannot confirm this PaymentIntent because it's missing a payment method.",
            "payment_intent_unexpected_state",
        )
    method = resolve(state, method_id)
    if method.row["customer"] not in {None, intent["customer"]}:
        raise StripeError(
            f"The provided PaymentMethod ({method_id}) belongs to another Customer: name that "
            "customer on the PaymentIntent.",
            param="payment_method",
        )
    if intent["customer"] and intent["setup_future_usage"]:
        state.table("payment_method").move(method.row, "customer", intent["customer"])
    if intent["status"] == "requires_action":  # the payer has been asked and has agreed
        method = Method(method.row, "succeeds", method.decline)
    intent.update(payment_method=method.row["id"], last_payment_error=None, next_action=None)
    if method.outcome == "declined":
        _decline(state, intent, method)
    elif method.outcome == "needs_action":
        _ask_payer(state, intent, method, off_session=off_session)
    elif method.outcome in {"succeeds_later", "fails_later"}:
        _process(state, intent, method)
    else:
        _authorise(state, intent, method)
    return intent


def require(intent: Row, statuses: set[str], verb: str) -> None:
    """The intent is in one of these statuses, or the verb is refused."""
    if intent["status"] not in statuses:
        message = (
            f"You cannot {verb} this PaymentIntent because it has a status of {intent['status']}."
        )
        raise StripeError(
            message, code="payment_intent_unexpected_state", payment_intent=dict(intent)
        )


def _decline(state: State, intent: Row, method: Method) -> None:
    charge = charges.create(state, intent, method, status="failed", captured=False)
    refusal = refuse_card(method.decline, charge=charge["id"], payment_method=method.row)
    _refuse(state, intent, charge, refusal)
    raise refusal


def _refuse(state: State, intent: Row, charge: Row | None, refusal: StripeError) -> None:
    """The attempt is over; the intent waits for another payment method."""
    error = {name: fact for name, fact in refusal.more.items() if name != "payment_intent"}
    intent.update(
        last_payment_error=refusal.facts | error,
        payment_method=None,
        processing=None,
        status="requires_payment_method",
    )
    if charge:
        events.emit(state, "charge.failed", charge)
    events.emit(state, "payment_intent.payment_failed", intent)
    sessions.failed(state, intent)
    refusal.more["payment_intent"] = dict(intent)


def _ask_payer(state: State, intent: Row, method: Method, *, off_session: bool) -> None:
    """The bank wants to see the payer: impossible when nobody is there."""
    if off_session:
        refusal = refuse_card("authentication_required", payment_method=method.row)
        refusal.facts["code"] = "authentication_required"
        _refuse(state, intent, None, refusal)
        raise refusal
    redirect = {"return_url": None, "url": f"{state.url}/pay/{intent['id']}"}
    intent.update(
        status="requires_action",
        next_action={"type": "redirect_to_url", "redirect_to_url": redirect},
    )
    events.emit(state, "payment_intent.requires_action", intent)


def _process(state: State, intent: Row, method: Method) -> None:
    """A debit: nobody knows for minutes."""
    charge = charges.create(state, intent, method, status="pending", captured=True)
    intent["status"] = "processing"
    events.emit(state, "charge.pending", charge)
    events.emit(state, "payment_intent.processing", intent)
    sessions.processing(state, intent)
    state.schedule(
        state.clock.now() + DEBIT_TAKES, partial(_processed, state, intent, charge, method)
    )


def _processed(state: State, intent: Row, charge: Row, method: Method) -> None:
    if method.outcome == "fails_later":
        charge.update(status="failed", amount_captured=0, captured=False)
        charge["failure_code"] = "generic_decline"
        refusal = StripeError("The debit failed.", status=402, kind="card_error")
        _refuse(state, intent, charge, refusal)
    else:
        charge.update(status="succeeded", paid=True)
        _succeed(state, intent, charge, method, "charge.succeeded")


def _authorise(state: State, intent: Row, method: Method) -> None:
    manual = intent["capture_method"] == "manual"
    charge = charges.create(state, intent, method, status="succeeded", captured=not manual)
    if not manual:
        _succeed(state, intent, charge, method, "charge.succeeded")
        return
    intent.update(status="requires_capture", amount_capturable=intent["amount"])
    events.emit(state, "charge.succeeded", charge)
    events.emit(state, "payment_intent.amount_capturable_updated", intent)
    sessions.authorised(state, intent)
    state.schedule(state.clock.now() + AUTHORISED_FOR, partial(_expire, state, intent, charge))


def _succeed(state: State, intent: Row, charge: Row, method: Method, told_by: str) -> None:
    """The money is ours: the events, and the balance transaction when its time has come."""
    intent.update(
        amount_capturable=0,
        amount_received=charge["amount_captured"],
        processing=None,
        status="succeeded",
    )
    if state.settings.transaction_delay is None:
        charges.settle(state, charge, method, told=False)
    events.emit(state, told_by, charge)
    events.emit(state, "payment_intent.succeeded", intent)
    sessions.paid(state, intent)
    charges.settle_in_time(state, charge, method)


def capture(state: State, intent: Row, amount: int | None) -> Row:
    """The authorised money is taken, all or part of it; the rest is let go."""
    require(intent, {"requires_capture"}, "capture")
    amount = intent["amount_capturable"] if amount is None else amount
    if not 1 <= amount <= intent["amount_capturable"]:
        raise StripeError(
            f"The amount could not be captured: {amount} of {intent['amount_capturable']}.",
            code="amount_too_large",
            param="amount_to_capture",
        )
    charge = state.get("charge", intent["latest_charge"])
    charge.update(captured=True, amount_captured=amount)
    rest = refunds.uncaptured(state, charge)
    method = resolve(state, charge["payment_method"])
    _succeed(state, intent, charge, method, "charge.captured")
    if rest is not None:
        refunds.tell(state, charge, rest)
    return intent


def cancel(state: State, intent: Row, reason: str | None) -> Row:
    """Nobody will pay any more; an authorisation is let go."""
    require(intent, OPEN | {"requires_capture"}, "cancel")
    held = intent["status"] == "requires_capture"
    intent.update(
        amount_capturable=0,
        canceled_at=state.clock.now(),
        cancellation_reason=reason,
        next_action=None,
        status="canceled",
    )
    if held:
        charge = state.get("charge", intent["latest_charge"])
        expired = "expired_uncaptured_charge" if reason == "automatic" else None
        refunds.release(state, charge, expired)
    events.emit(state, "payment_intent.canceled", intent)
    return intent


def _expire(state: State, intent: Row, charge: Row) -> None:
    if intent["status"] == "requires_capture":
        cancel(state, intent, "automatic")
        events.emit(state, "charge.expired", charge)
