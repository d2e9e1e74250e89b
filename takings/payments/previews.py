"""Previews: what everybody would get of a sale, computed as the books would compute it.

The same ``allotments.divide`` that divides a line when it is earned divides it here, at the same
lifetime counters; only Stripe's fee is an estimate, the policy's.  An app store's part comes off
the price first: it is priced here, and never settled (``orders.ChannelNotSettled``).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final, Literal

from sqlmodel.ext.asyncio.session import AsyncSession

from takings import commission, money, splits
from takings.database import fetch
from takings.errors import Invalid, Refused
from takings.money import Money
from takings.payments import allotments, orders
from takings.payments.lines import Line
from takings.policies import policies
from takings.policies.rules import STANDARD, Channel, Policy
from takings.spaces import agreements, spaces, stages
from takings.spaces.agreements import Share

MOST: Final = 100_000
"""How many sales one preview adds up, at most."""


class BadSize(Invalid):
    """A preview cannot be of {size} sales: it is of 1 to {most}.

    Preview one sale, or as many as you expect.
    """

    param = "size"


class NobodyToDivideAmong(Invalid):
    """A preview needs a Space, or a policy and the shares.

    Name the Space; or, for one that is not there yet, a policy and who would share.
    """

    param = "shares"


class ChannelNotPriced(Refused):
    """The policy {policy} does not say what a store keeps of a sale through {channel}.

    Publish a version of it whose store_fee names the channel, or choose another one.
    """

    param = "channel"


@dataclass(frozen=True, slots=True)
class Offer:
    """So many equal tips or tickets, each paid by itself: through a channel, by cards of a region.

    ``price`` is that of one, without the card fee where the listener covers it.
    """

    kind: Literal["tip", "ticket"]
    price: Money
    size: int = 1
    channel: Channel = "web"
    card_region: str = STANDARD


@dataclass(frozen=True, slots=True)
class Question:
    """An offer, and among whom: those of a Space, or the shares given, by a policy.

    Shares given stand for the Space's agreement, and a policy for the Space's: a run of tickets may
    have its own.  ``counters`` is what payees would have earned before, where that is not what the
    books say.  Who shares need not be known yet.
    """

    offer: Offer
    space: str | None = None
    policy: str | None = None
    shares: tuple[Share, ...] = ()
    counters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sums:
    """Where the money of one sale goes, or of all: the listeners' is what the others sum to.

    ``charged`` = ``store_fee`` + ``card_fee`` + ``platform`` + the payees' ``net``.  ``platform``
    is commission and covered fees, less the card fee unless the hosts bear that.
    """

    charged: Money
    store_fee: Money
    card_fee: Money
    fees_covered: Money
    commission: Money
    platform: Money


@dataclass(frozen=True, slots=True)
class Part:
    """What one payee gets: ``net`` = ``gross`` − ``commission`` − ``card_fee``."""

    gross: Money
    commission: Money
    card_fee: Money
    net: Money


@dataclass(frozen=True, slots=True)
class Crossing:
    """Where a payee leaves a commission tier: in which sale, counted from 1.

    ``below`` of their share of that sale still pays the tier's rate, the rest ``rate_bps``.
    """

    up_to: Money
    sale: int
    below: Money
    rate_bps: int


@dataclass(frozen=True, slots=True)
class Payee:
    """What a payee gets of the first sale and in total, from their lifetime counter on."""

    host: str
    weight: int
    counter: Money
    first: Part
    total: Part
    crossings: tuple[Crossing, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """The answer: of the first sale and of all of them, for the platform and for each payee."""

    offer: Offer
    policy: Policy
    first: Sums
    total: Sums
    payees: tuple[Payee, ...]
    space: str | None = None
    agreement_version: int | None = None


COUNTERS = """
SELECT host_id, minor FROM lifetime_sales WHERE host_id = ANY($1::text[]) AND currency = $2
"""


ABSENT = "SELECT id FROM hosts WHERE id = ANY($1::text[]) AND capability <> 'active'"


async def ask(session: AsyncSession, question: Question) -> Preview:
    """What would each get, at today's policy, shares and lifetime counters.

    Raises NotFound, NobodyToDivideAmong, what is wrong with the shares, and as ``of`` does.
    """
    space = None if question.space is None else await spaces.get(session, question.space)
    shares, version = question.shares, None
    if shares:
        agreements.check(shares)
    elif space is not None:
        version, shares = await _agreed(session, space.id, question.offer)
    if question.policy is not None and shares:
        policy = await policies.latest(session, question.policy)
    elif space is not None:
        policy = await policies.get(session, space.policy, space.policy_version)
    else:
        raise NobodyToDivideAmong
    hosts, currency = [share.host for share in shares], question.offer.price.currency
    earned = {row.host_id: row.minor for row in await fetch(session, COUNTERS, hosts, currency)}
    waiting = [share.host for share in shares if share.claim is not None]
    parked = {row.id for row in await fetch(session, ABSENT, waiting)} if waiting else set()
    found = of(question.offer, policy, shares, earned | dict(question.counters), parked)
    return replace(found, space=question.space, agreement_version=version)


async def _agreed(session: AsyncSession, space: str, offer: Offer) -> tuple[int, tuple[Share, ...]]:
    """The agreement in force, or the newest before there is one; of a tip, who is on stage now."""
    versions = await agreements.every(session, space)
    version = next((one for one in versions if one.state == "in_force"), versions[0])
    here: tuple[Share, ...] = ()
    if version.tips == "stage" and offer.kind == "tip":
        log = await stages.log(session, space)
        on_stage = {one.host_id for one in log if one.left_at is None}
        here = tuple(share for share in version.shares if share.host in on_stage)
    return version.number, here or version.shares


def of(
    offer: Offer,
    policy: Policy,
    shares: Sequence[Share],
    counters: Mapping[str, int],
    parked: Collection[str] = (),
) -> Preview:
    """What would each get of an offer, from where their lifetime counters stand.

    Who is ``parked`` bears no card fee: the platform does.

    Raises BadSize, ChannelNotPriced, RegionNotPriced, NotChargeable, AmountTooLarge, and what the
    policy refuses.
    """
    if not 0 < offer.size <= MOST:
        raise BadSize(size=offer.size, most=MOST)
    policy.check(offer.price)
    line = _line(offer, policy, shares)
    fee = 0  # a store pays for its cards out of what it keeps
    if offer.channel == "web":
        money.check_charge(Money(offer.price.minor + line.fees_covered, line.currency))
        schedule = policy.card_fee(line.currency, offer.card_region)
        fee = schedule.fee(offer.price.minor + line.fees_covered)
    grosses = splits.divide(line.minor, [share.weight for share in shares])
    before = {(share.host, line.currency): counters.get(share.host, 0) for share in shares}
    kept, kept_of_all = _commissions(line, grosses, before, offer.size)
    parts = splits.divide(fee if policy.fee_bearer == "host" else 0, grosses)
    passed = [0 if who.host in parked else part for who, part in zip(shares, parts, strict=True)]
    fees = (fee, fee - sum(passed))
    return Preview(
        offer=offer,
        policy=policy,
        first=_sums(offer, line, fees, sum(kept), 1),
        total=_sums(offer, line, fees, sum(kept_of_all), offer.size),
        payees=tuple(
            Payee(
                host=share.host,
                weight=share.weight,
                counter=Money(before[share.host, line.currency], line.currency),
                first=_part(gross, once, part, 1, line.currency),
                total=_part(gross, in_all, part, offer.size, line.currency),
                crossings=_crossings(line, gross, before[share.host, line.currency], offer.size),
            )
            for share, gross, once, in_all, part in zip(
                shares, grosses, kept, kept_of_all, passed, strict=True
            )
        ),
    )


def _line(offer: Offer, policy: Policy, shares: Sequence[Share]) -> Line:
    """The line that one sale would be: after the store's part, with the covered card fee."""
    if offer.channel not in policy.store_fee:
        raise ChannelNotPriced(policy=policy.name, channel=offer.channel)
    web, price = offer.channel == "web", offer.price
    left = commission.after_store(price.minor, policy.store_fee[offer.channel])
    covered = orders.charge(policy, price).minor - price.minor if web else 0
    pairs = tuple((share.host, share.weight) for share in shares)
    return Line("", "", offer.kind, "", price.currency, left, covered, policy, pairs)


def _commissions(
    line: Line, grosses: Sequence[int], before: Mapping[tuple[str, str], int], size: int
) -> tuple[list[int], list[int]]:
    """What each payee pays the platform of the first of these equal sales, and of all of them.

    Only the counters tell equal sales apart, and only at a boundary: the sales up to the next one
    of any payee's are divided once and multiplied.
    """
    terms, counters = line.policy.terms_in(line.currency), dict(before)
    first: list[int] = []
    total = [0] * len(grosses)
    left = size
    while left:
        stays = [
            commission.alike(terms.tiers, counters[host, line.currency], gross)
            for (host, _), gross in zip(line.shares, grosses, strict=True)
        ]
        many = min([left, *filter(None, stays)])
        credited = {a.position: a.credited for a in allotments.divide(line, grosses, counters)}
        kept = [gross - credited.get(n, 0) for n, gross in enumerate(grosses, 1)]
        for n, (host, _) in enumerate(line.shares):
            counters[host, line.currency] += (many - 1) * grosses[n]
            total[n] += many * kept[n]
        first, left = first or kept, left - many
    return first, total


def _crossings(line: Line, gross: int, counter: int, size: int) -> tuple[Crossing, ...]:
    """Which of these sales is the first to pay the next tier's rate, for each that is reached."""
    return tuple(
        Crossing(
            up_to=Money(tier.up_to, line.currency),
            sale=(tier.up_to - counter) // gross + 1,
            below=Money((tier.up_to - counter) % gross, line.currency),
            rate_bps=beyond.rate_bps,
        )
        for tier, beyond in pairwise(line.policy.terms_in(line.currency).tiers)
        if tier.up_to is not None and counter < tier.up_to < counter + size * gross
    )


def _sums(offer: Offer, line: Line, fees: tuple[int, int], kept: int, many: int) -> Sums:
    """Where the money of so many sales goes, of which the platform keeps so much.

    ``fees`` is the card fee of one, and what the hosts do not bear of it.
    """
    fee, borne = fees
    price, covered = offer.price.minor, line.fees_covered
    each = (price + covered, price - line.minor, fee, covered, covered - borne)
    charged, store, card, fees_covered, rest = (Money(many * m, line.currency) for m in each)
    commissions = Money(kept, line.currency)
    return Sums(charged, store, card, fees_covered, commissions, commissions + rest)


def _part(gross: int, kept: int, fee: int, many: int, currency: str) -> Part:
    return Part(
        gross=Money(many * gross, currency),
        commission=Money(kept, currency),
        card_fee=Money(many * fee, currency),
        net=Money(many * (gross - fee) - kept, currency),
    )
