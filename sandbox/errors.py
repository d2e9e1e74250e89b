"""Every refusal, in Stripe's own shape and with Stripe's own HTTP status."""

from typing import Any


class StripeError(Exception):
    """An answer that is not 200: ``{"error": {"type": …, "code": …, "message": …}}``."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.more = more
        facts = {"type": kind, "code": code, "message": message, "param": param}
        self.facts = {name: fact for name, fact in facts.items() if fact is not None}

    def body(self) -> dict[str, Any]:
        """The JSON that the caller receives."""
        return {"error": self.facts | self.more}


class ParameterError(StripeError):
    """The parameters were refused before anything ran: no idempotency key remembers it."""


def missing(kind: str, id_: str, param: str = "id", status: int = 404) -> StripeError:
    """No such object: 404 in the path, 400 where a parameter names it."""
    return StripeError(
        f"No such {kind}: '{id_}'", status=status, code="resource_missing", param=param
    )


def wrong_state(message: str, code: str) -> StripeError:
    """The object's status forbids it now."""
    return StripeError(message, code=code)


def insufficient(message: str) -> StripeError:
    """There is less in the balance than was asked for."""
    return StripeError(message, code="balance_insufficient")


def no_access() -> StripeError:
    """What Stripe says of an account that is not the platform's, whether it exists or not."""
    return StripeError(
        "The provided key does not have access to that account (or it does not exist).",
        status=403,
        code="account_invalid",
    )
