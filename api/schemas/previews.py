"""Previews, as the API hears and shows them; all amounts in the minor units of one currency."""

from typing import Annotated, Literal, Self

from pydantic import Field

from api.schemas.common import Currency, Input, Minor, Output, Text
from takings.money import Money
from takings.payments import previews
from takings.policies.rules import STANDARD, Channel
from takings.spaces import agreements


class PreviewShare(Input):
    """A payee of a preview, who need not be a host yet."""

    host: Text
    weight: Annotated[int, Field(strict=True, description="in basis points; 10000 in all")]
    counter: Annotated[
        int | None,
        Field(
            strict=True,
            ge=0,
            description="what they have earned in this currency before; unset: what the books say",
        ),
    ] = None


class PreviewInput(Input):
    """What is to be sold, and among whom it is divided.

    Either as in a Space, or with other ``shares`` there or another ``policy`` (a run of tickets may
    have its own); or, without a Space, by a policy and shares.
    """

    kind: Literal["tip", "ticket"] = "tip"
    price: Annotated[Minor, Field(description="of one, without the card fee a listener covers")]
    currency: Currency
    size: Annotated[
        int, Field(strict=True, description="how many of them, 1 to 100000, each paid by itself")
    ] = 1
    channel: Annotated[
        Channel, Field(description="through which it is sold; an app store keeps a part")
    ] = "web"
    card_region: Annotated[
        Text, Field(description="one that the policy's terms name under ``fees``")
    ] = STANDARD
    space: Text | None = None
    policy: Annotated[Text | None, Field(description="whose rules, in today's version")] = None
    shares: Annotated[list[PreviewShare], Field(max_length=100)] = Field(default=[])

    def question(self) -> previews.Question:
        """The question as the books know it; raises UnknownCurrency or AmountTooLarge."""
        price = Money(self.price, self.currency)
        about = (self.kind, price, self.size, self.channel, self.card_region)
        return previews.Question(
            offer=previews.Offer(*about),
            space=self.space,
            policy=self.policy,
            shares=tuple(agreements.Share(one.host, one.weight) for one in self.shares),
            counters={one.host: one.counter for one in self.shares if one.counter is not None},
        )


class PreviewSums(Output):
    """``charged`` = ``store_fee`` + ``card_fee`` + ``platform`` + the ``net`` of all payees.

    ``platform`` is ``commission`` + ``fees_covered``, less the card fee unless hosts bear it.
    """

    charged: Annotated[int, Field(description="what the listener pays")]
    store_fee: int
    card_fee: Annotated[int, Field(description="Stripe's, as the policy estimates it")]
    fees_covered: Annotated[int, Field(description="what the listener adds for the card fee")]
    commission: int
    platform: Annotated[int, Field(description="what is left to the platform; can be negative")]

    @classmethod
    def of(cls, sums: previews.Sums) -> Self:
        """The sums as the API shows them."""
        return cls(**{name: getattr(sums, name).minor for name in cls.model_fields})


class PreviewPart(Output):
    """``net`` = ``gross`` − ``commission`` − ``card_fee``, which is the payee's part of it."""

    gross: int
    commission: int
    card_fee: int
    net: int

    @classmethod
    def of(cls, part: previews.Part) -> Self:
        """The part as the API shows it."""
        return cls(
            gross=part.gross.minor,
            commission=part.commission.minor,
            card_fee=part.card_fee.minor,
            net=part.net.minor,
        )


class PreviewCrossing(Output):
    """Where a payee leaves a commission tier: in the sale of that number, counted from 1.

    ``below`` of their share of that sale still pays the tier's rate, the rest ``rate_bps``.
    """

    up_to: int
    sale: int
    below: int
    rate_bps: int

    @classmethod
    def of(cls, crossing: previews.Crossing) -> Self:
        """The crossing as the API shows it."""
        return cls(
            up_to=crossing.up_to.minor,
            sale=crossing.sale,
            below=crossing.below.minor,
            rate_bps=crossing.rate_bps,
        )


class PreviewPayee(Output):
    """What a payee gets of the first sale, and of all; ``counter`` is where it began."""

    host: str
    weight: int
    counter: int
    first: PreviewPart
    total: PreviewPart
    crossings: list[PreviewCrossing]

    @classmethod
    def of(cls, payee: previews.Payee) -> Self:
        """The payee as the API shows them."""
        return cls(
            host=payee.host,
            weight=payee.weight,
            counter=payee.counter.minor,
            first=PreviewPart.of(payee.first),
            total=PreviewPart.of(payee.total),
            crossings=[PreviewCrossing.of(one) for one in payee.crossings],
        )


class Preview(Output):
    """What would each get: of the first sale (``first``), and of all of them (``total``)."""

    object: Literal["preview"] = "preview"
    kind: Literal["tip", "ticket"]
    price: int
    currency: str
    size: int
    channel: Channel
    card_region: str
    card_fee_bearer: Literal["listener", "host", "platform"]
    policy: str
    policy_version: int
    space: str | None
    agreement_version: Annotated[
        int | None, Field(description="whose shares they are, where the request names none")
    ]
    first: PreviewSums
    total: PreviewSums
    payees: list[PreviewPayee]

    @classmethod
    def of(cls, found: previews.Preview) -> Self:
        """The preview as the API shows it."""
        offer, policy = found.offer, found.policy
        return cls(
            kind=offer.kind,
            price=offer.price.minor,
            currency=offer.price.currency,
            size=offer.size,
            channel=offer.channel,
            card_region=offer.card_region,
            card_fee_bearer=policy.fee_bearer,
            policy=policy.name,
            policy_version=policy.version,
            space=found.space,
            agreement_version=found.agreement_version,
            first=PreviewSums.of(found.first),
            total=PreviewSums.of(found.total),
            payees=[PreviewPayee.of(payee) for payee in found.payees],
        )
