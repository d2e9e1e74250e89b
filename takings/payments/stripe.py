"""The one door to Stripe: everything that we ask of it or believe from it passes here.

What goes out: an ask, which is a row of ours (see ``asks.py``), under an idempotency key made from
that row.  What comes in: facts, as values of ours.  The SDK invents a key for every call, retries
nothing unless told, and accepts signatures from the future; all of that is closed here.
"""

import functools
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Literal, Self

import stamina
import stripe

from takings.errors import Conflict, Invalid, NotFound, Refused, TakingsError, Unavailable
from takings.money import exponent
from takings.payments import objects
from takings.payments.objects import CashLine, Object

Call = Literal[
    "payment_intents.create",
    "payment_intents.capture",
    "payment_intents.cancel",
    "checkout.sessions.create",
    "checkout.sessions.expire",
    "refunds.create",
    "payouts.create",
    "transfers.create",
    "transfers.reversals.create",
    "v2.core.accounts.create",
    "v2.core.account_links.create",
]

LIVE = ("sk_live_", "rk_live_")
PAGE = 100
TIMEOUT_S = 10.0
RETRIES = 2
CLOCK_BOUND = timedelta(minutes=5)
BODY_MAX = 1_000_000
NOTHING: Mapping[str, Any] = {}
REFUSALS, NOWHERE, BROKEN = (400, 403), 404, 500
LEFT = "account_invalid"
"""What Stripe says of an account that has left the platform, or never was on it."""

KEY_LIFE = timedelta(hours=23)
"""Stripe forgets an idempotency key after 24 hours; after that we look, and never ask again."""

API_VERSION: str = stripe.api_version
"""The version that the pinned SDK speaks; an event of another one is parked."""


class StripeAway(Unavailable):
    """Stripe does not answer.

    Nothing is lost: what was asked is written down and will be asked again under the same key.
    """


class StripeBusy(Unavailable):
    """Stripe allows no more requests for a moment.

    Nothing is lost: what was asked is written down and will be asked again under the same key.
    """


class StripeStuck(Unavailable):
    """Stripe failed on the key {key}, and will give the same answer as long as it knows the key.

    Whether it did what was asked, only Stripe's own list can tell.
    """


class KeyRefused(Unavailable):
    """Stripe does not accept the API key that the platform uses.

    Nothing is lost: what was asked is asked again when the key is right.
    """


class CardDeclined(Refused):
    """The card was declined: {reason}.

    Pay with another card, or ask the bank.
    """


class StripeRefused(Refused):
    """Stripe refused: {reason} ({stripe_code}).

    No money moved. Put right what it says, then ask anew under a new id.
    """


class SecretMissing(Invalid):
    """The signing secret of the {endpoint} webhook endpoint is empty.

    Set it before you start: without it anyone could tell us that they have paid.
    """


class CurrencyNotSettled(Invalid):
    """Money in {currency} would be converted: the platform's Stripe account settles in {settled}.

    Sell in a currency that settles as it is.
    """

    param = "currency"


class AskedOtherwise(Conflict):
    """Stripe knows the key {key} with other parameters.

    A key belongs to one row of ours: find out who changed what it asks.
    """


class Stripe:
    """Stripe's API as we use it; one per process, shared by all tasks of an event loop.

    ``settles`` are the currencies that the platform's account keeps as they are.
    """

    def __init__(
        self, api_key: str, *, base: str | None = None, settles: Collection[str] = ()
    ) -> None:
        for currency in settles:
            exponent(currency)  # an unknown one is refused here, at the start
        self._settles = frozenset(settles)
        self.live = api_key.startswith(LIVE)
        self._http = stripe.HTTPXClient(timeout=TIMEOUT_S)
        addresses: Any = {"api": base} if base else {}
        self._client = stripe.StripeClient(
            api_key,
            base_addresses=addresses,
            http_client=self._http,
            max_network_retries=RETRIES,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]

    def _method(self, path: str) -> Any:
        """The SDK's coroutine function of a path like ``checkout.sessions.create``."""
        root: Any = self._client if path.startswith("v2.") else self._client.v1
        return functools.reduce(getattr, f"{path}_async".split("."), root)

    def check_settles(self, currency: str) -> None:
        """Nothing happens if money in this currency stays what it is; none named means all."""
        if self._settles and currency not in self._settles:
            raise CurrencyNotSettled(currency=currency, settled=", ".join(sorted(self._settles)))

    async def ask(self, call: Call, params: Mapping[str, Any], key: str) -> Object:
        """Do what a row of ours asks, under its key: any repetition has the one effect.

        An ``id`` among the parameters names the object that the call changes.
        """
        given = dict(params)
        about = [given.pop("id")] if "id" in given else []
        options = {"idempotency_key": key}
        return await _answer(self._method(call), *about, given, options, key=key)

    async def find(
        self,
        call: Call,
        metadata: Mapping[str, str],
        since: datetime,
        params: Mapping[str, Any] = NOTHING,
    ) -> Object | None:
        """What an earlier ask made, known by the metadata that went with it; None if nothing.

        By its other parameters Stripe's list is a shorter one, where it can be.
        """
        kind = call.removesuffix(".create").replace(".", "/")
        narrow: dict[str, Any] = {"created": _since(since)}
        if "transfer_group" in params:
            narrow["transfer_group"] = params["transfer_group"]
        if call == "transfers.reversals.create":
            kind, narrow = f"transfers/{params['id']}/reversals", {}
        young = self._pages(kind, narrow)
        async for page in self._pages_v2(kind) if kind.startswith("v2/") else young:
            for found in page:
                if metadata.items() <= (found["metadata"] or {}).items():
                    return found
        return None

    async def fetch(
        self,
        kind: str,
        object_id: str,
        params: Mapping[str, Any] = NOTHING,
        *,
        account: str | None = None,
    ) -> Object:
        """An object as it is now; its kind as in Stripe's paths, ``checkout.sessions``.

        The platform's own, or of a connected ``account``; NotFound where there is none, or it is
        not the platform's to see.
        """
        options = {"stripe_account": account} if account else {}
        return await _answer(self._method(f"{kind}.retrieve"), object_id, dict(params), options)

    async def read(self, address: str) -> Object:
        """What stands at an address of Stripe's, as it came."""
        return await _answer(self._client.raw_request_async, "get", address)

    async def paid_intent(self, intent_id: str) -> Object:
        """A PaymentIntent as it is now, its charge shown whole: when it was paid."""
        return await self.fetch("payment_intents", intent_id, {"expand": ["latest_charge"]})

    async def refunds_of(self, intent_id: str) -> list[Object]:
        """All refunds of a payment, newest first."""
        params = {"payment_intent": intent_id}
        pages = self._pages("refunds", params)
        return [found async for page in pages for found in page]

    async def balance(self) -> Mapping[tuple[str, str], int]:
        """What Stripe says that we have, by (pending | available, currency)."""
        answer = await _answer(self._client.v1.balance.retrieve_async)
        return {
            (status, part["currency"]): part["amount"]
            for status in ("pending", "available")
            for part in answer[status]
        }

    async def cash_after(self, known: str) -> AsyncIterator[Sequence[CashLine]]:
        """All balance transactions that came after a known one, page by page, oldest first."""
        while True:
            params = {"expand": ["data.source"], "ending_before": known}
            answer = await self._page("balance_transactions", params)
            if answer["data"]:
                known = answer["data"][0]["id"]
                yield [objects.cash_line(found) for found in reversed(answer["data"])]
            if not answer["has_more"]:
                return

    async def cash_since(self, since: datetime) -> AsyncIterator[Sequence[CashLine]]:
        """All balance transactions since an instant, page by page, newest page first."""
        params = {"expand": ["data.source"], "created": _since(since)}
        async for page in self._pages("balance_transactions", params):
            yield [objects.cash_line(found) for found in page]

    async def undelivered(self, since: datetime) -> AsyncIterator[Sequence[Object]]:
        """Events since an instant that Stripe could not deliver, page by page."""
        params = {"delivery_success": False, "created": _since(since)}
        async for page in self._pages("events", params):
            yield page

    async def _pages(self, kind: str, params: Mapping[str, Any]) -> AsyncIterator[Sequence[Object]]:
        """All pages of a list of Stripe's, newest first."""
        after: dict[str, str] = {}
        while True:
            answer = await self._page(kind, {**params, **after})
            yield answer["data"]
            if not answer["has_more"]:
                return
            after = {"starting_after": answer["data"][-1]["id"]}

    async def _pages_v2(self, kind: str) -> AsyncIterator[Sequence[Object]]:
        """All pages of a list of Stripe's newer kind, which names the next page's address."""
        address: str | None = f"/{kind}"
        while address is not None:
            answer = await self.read(address)
            yield answer["data"]
            address = answer.get("next_page_url")

    async def _page(self, kind: str, params: Mapping[str, Any]) -> Object:
        """A page as it came: the SDK's objects would take longer to make than to book."""
        read = functools.partial(self._client.raw_request_async, limit=PAGE, **params)
        return await _answer(read, "get", f"/v1/{kind}")


def signed(text: str, header: str | None, secrets: Sequence[str]) -> bool:
    """Whether one of the secrets signed it; what cannot even be compared was not signed by any."""
    for secret in secrets:
        with suppress(stripe.SignatureVerificationError, TypeError, ValueError):
            if secret.strip() and stripe.WebhookSignature.verify_header(text, header, secret):
                return True
    return False


def _since(instant: datetime) -> dict[str, int]:
    return {"gte": int(instant.timestamp())}


async def _answer(call: Any, *args: Any, key: str | None = None) -> Object:
    """The answer as plain data; every error of the SDK becomes one of ours."""
    try:
        async for attempt in stamina.retry_context(on=stripe.RateLimitError, attempts=4):
            with attempt:
                answer = await call(*args)
                raw = isinstance(answer, stripe.StripeResponse)
                found: Object = answer.data if raw else answer.to_dict()
                return found
    except stripe.StripeError as error:
        about = args[0] if args and isinstance(args[0], str) else None
        raise _translated(error, about, key) from error
    raise AssertionError  # pragma: no cover - the loop returns or raises


def _translated(error: stripe.StripeError, about: str | None, key: str | None) -> TakingsError:
    """The error of ours for one of the SDK's."""
    code = error.code or (error.error.code if error.error else None)  # not all classes take it
    reason = (error.user_message or "no reason given").rstrip(". ")
    replayed = (error.headers or {}).get("Idempotent-Replayed")
    found: TakingsError = StripeAway()
    match error:
        case stripe.RateLimitError():
            found = StripeBusy()
        case stripe.CardError():
            found = CardDeclined(reason=reason, decline=code)
        case stripe.IdempotencyError():
            found = AskedOtherwise(key=key)
        case _ if error.http_status == NOWHERE or code == LEFT:
            found = NotFound(kind="Stripe object", id=about or getattr(error, "param", None))
        case stripe.AuthenticationError() | stripe.PermissionError():
            found = KeyRefused()  # what Stripe says here may hold a part of the key
        case _ if error.http_status in REFUSALS:  # the newer API has a class for each reason
            found = StripeRefused(reason=reason, stripe_code=code)
        case _ if error.http_status == BROKEN and replayed:
            found = StripeStuck(key=key)
    return found
