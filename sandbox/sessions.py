"""What a payment does to the checkout session that asked for it."""

from sandbox import events
from sandbox.state import State
from sandbox.tables import Row


def _of(state: State, intent: Row) -> Row | None:
    found = state.table("checkout.session").where("payment_intent", intent["id"])
    return found[-1] if found else None


def paid(state: State, intent: Row) -> None:
    """Complete and paid; a delayed method's session was complete before."""
    session = _of(state, intent)
    if session is None:
        return
    waited = session["status"] == "complete"
    _complete(session, "paid")
    charge = state.get("charge", intent["latest_charge"])
    if not waited:
        events.emit(state, "checkout.session.completed", session)
    elif not charge["id"].startswith("ch_"):
        events.emit(state, "checkout.session.async_payment_succeeded", session)


def authorised(state: State, intent: Row) -> None:
    """Complete, with the money authorised and not captured: unpaid."""
    _complete_unpaid(state, intent)


def processing(state: State, intent: Row) -> None:
    """Complete, with a debit under way: unpaid."""
    _complete_unpaid(state, intent)


def failed(state: State, intent: Row) -> None:
    """A delayed payment has failed; a declined card leaves the session open for another try."""
    session = _of(state, intent)
    if session is not None and session["status"] == "complete":
        events.emit(state, "checkout.session.async_payment_failed", session)


def _complete_unpaid(state: State, intent: Row) -> None:
    session = _of(state, intent)
    if session is not None:
        _complete(session, "unpaid")
        events.emit(state, "checkout.session.completed", session)


def _complete(session: Row, payment_status: str) -> None:
    session.update(
        status="complete",
        payment_status=payment_status,
        url=None,
        customer_details=session["customer_details"] or customer_details(session),
    )


def customer_details(session: Row) -> Row:
    """What the pay page asked for."""
    return {
        "address": None,
        "business_name": None,
        "email": session["customer_email"] or "listener@example.com",
        "individual_name": None,
        "name": None,
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }
