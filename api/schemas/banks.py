"""Hosts' accounts at Stripe and payouts to banks, as the API hears and shows them."""

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import Field

from api.schemas.common import Currency, Input, Minor, Output, OwnId, Seconds, Text, Url
from takings.money import Money
from takings.payouts import capabilities, onboarding, tables


class OnboardingInput(Input):
    """Where a host lives and is written to, and where Stripe sends them on afterwards."""

    country: Annotated[Text, Field(description="two letters, as in de")]
    email: Annotated[Text, Field(description="told to Stripe, and not kept here")]
    refresh_url: Annotated[Url, Field(description="where to, if the link has run out")]
    return_url: Annotated[Url, Field(description="where to, when they are done")]


class OnboardingLink(Output):
    """A page of Stripe's where a host hands in the papers; it works once, for minutes."""

    object: Literal["onboarding_link"] = "onboarding_link"
    host: str
    stripe_account: str
    url: str
    expires_at: Seconds

    @classmethod
    def of(cls, link: onboarding.Link) -> Self:
        """The link as the API shows it."""
        told = {"host": link.host, "stripe_account": link.account}
        return cls(**told, url=link.url, expires_at=link.expires_at)


Capability = Literal["none", "pending", "restricted", "active", "rejected", "unsupported", "closed"]


class HostAccount(Output):
    """A host's account at Stripe: only an active one can be sent money."""

    object: Literal["host_account"] = "host_account"
    host: str
    stripe_account: str | None
    capability: Capability
    due: Annotated[list[str], Field(description="what Stripe still wants, in Stripe's words")]

    @classmethod
    def of(cls, account: capabilities.Account) -> Self:
        """The account as the API shows it."""
        told = {"host": account.host, "stripe_account": account.id}
        return cls(**told, capability=account.capability, due=list(account.due))


class PlatformPayoutInput(Input):
    """The platform's own money to its bank: an amount, or all that is available and its own."""

    id: OwnId | None = None
    currency: Currency
    amount: Minor | None = None

    def money(self) -> Money | None:
        """The amount as the books know it; raises UnknownCurrency or AmountTooLarge."""
        return None if self.amount is None else Money(self.amount, self.currency)


class BankPayout(Output):
    """Money on its way from Stripe to a bank: a host's, or where no host is named, ours."""

    id: str
    object: Literal["bank_payout"] = "bank_payout"
    created: Seconds
    host: str | None
    amount: int
    currency: str
    status: Annotated[str, Field(description="asked, refused, or as Stripe says; paid: expected")]
    failure: str | None
    arrives_on: date | None
    stripe_payout: str | None

    @classmethod
    def of(cls, row: tables.BankPayout) -> Self:
        """The payout as the API shows it."""
        return cls(
            id=row.id,
            created=row.created_at,
            host=row.host_id,
            amount=row.minor,
            currency=row.currency,
            status=row.status,
            failure=row.failure,
            arrives_on=row.arrives_on,
            stripe_payout=row.stripe_id,
        )
