"""Signatures: a webhook is believed if Stripe has signed its very bytes, just now."""

from collections.abc import Sequence
from datetime import datetime

import orjson

from takings.payments import objects, stripe
from takings.payments.objects import NotFromStripe, Notice
from takings.payments.stripe import BODY_MAX, CLOCK_BOUND


def verify(
    body: bytes,
    header: str | None,
    secrets: Sequence[str],
    *,
    thin: bool,
    live: bool,
    now: datetime,
) -> Notice:
    """The notice in a webhook that Stripe has signed, within five minutes of now either way.

    Several secrets are accepted while one replaces the other.  ``thin`` says whether the endpoint
    is the connected accounts' one, which also takes thin notifications; Stripe sends it events of
    both modes, which are stored and parked.  Elsewhere ``live`` must be the event's mode.  Raises
    NotFromStripe for everything else.
    """
    if len(body) > BODY_MAX:
        raise NotFromStripe(reason="the body is too large")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise NotFromStripe(reason="the body is not UTF-8") from error
    items = [item.partition("=") for item in (header or "").split(",")]
    signed_at = [value for name, _, value in items if name == "t"]
    if len(signed_at) != 1 or not stripe.signed(text, header, secrets):
        raise NotFromStripe(reason="no signature of ours fits")
    if abs(now.timestamp() - int(signed_at[0])) > CLOCK_BOUND.total_seconds():
        raise NotFromStripe(reason="it was signed too long ago, or in the future")
    try:
        notice = objects.notice(orjson.loads(body), body, thin=thin)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise NotFromStripe(reason="the body is not an event") from error
    if not thin and notice.live != live:
        raise NotFromStripe(reason="it is of the other mode, test or live")
    return notice
