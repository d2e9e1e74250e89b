"""Previews: many equal sales are what they are one by one, every sum adds up, boundaries show."""

import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from takings import money, splits
from takings.commission import FeeSchedule, Tier
from takings.money import Money, NotChargeable
from takings.payments import allotments, previews
from takings.payments.lines import Line
from takings.payments.previews import Offer
from takings.policies.presets import PRESETS
from takings.policies.rules import Policy, RegionNotPriced, Terms
from takings.spaces.agreements import Share

REGIONS = {"eea": FeeSchedule(150, 25), "international": FeeSchedule(325, 25)}
TWITTER = PRESETS["twitter-ticketed-spaces-2021"]
ADA = [Share("ada", 10_000)]

bps = st.integers(0, 9_999)


@st.composite
def policies(draw: st.DrawFn, currency: str) -> Policy:
    ends = [*sorted(draw(st.sets(st.integers(1, 30_000), max_size=3))), None]
    terms = Terms(
        fee=FeeSchedule(draw(st.integers(0, 2_000)), draw(st.integers(0, 100))),
        minimum=1,
        maximum=money.LIMIT,
        tiers=tuple(Tier(end, draw(bps)) for end in ends),
        commission_minimum=draw(st.sampled_from([0, 0, 7, 500])),
        fees=REGIONS,
    )
    bearer = draw(st.sampled_from(["listener", "host", "platform"]))
    store = {"web": 0, "ios": draw(bps)}
    return Policy("drawn", 1, "chance", {currency: terms}, bearer, store_fee=store)


@st.composite
def shares(draw: st.DrawFn) -> list[Share]:
    cuts = sorted(draw(st.sets(st.integers(1, 9_999), max_size=3)))
    weights = [high - low for low, high in zip([0, *cuts], [*cuts, 10_000], strict=True)]
    return [Share(f"host_{n}", weight) for n, weight in enumerate(weights)]


@st.composite
def questions(draw: st.DrawFn) -> tuple[Offer, Policy, list[Share], dict[str, int]]:
    currency = draw(st.sampled_from(["eur", "jpy", "kwd", "isk"]))
    price = draw(st.integers(1, 90)) * 100
    channel = draw(st.sampled_from(["web", "web", "ios"]))
    region = draw(st.sampled_from(["standard", *REGIONS]))
    kind = draw(st.sampled_from(["tip", "ticket"]))
    offer = Offer(kind, Money(price, currency), draw(st.integers(1, 40)), channel, region)
    among = draw(shares())
    counters = {share.host: draw(st.integers(0, 30_000)) for share in among}
    return offer, draw(policies(currency)), among, counters


Question = tuple[Offer, Policy, list[Share], dict[str, int]]


def one_by_one(question: Question) -> tuple[list[list[int]], dict[str, dict[int, tuple[int, int]]]]:
    """What each payee's commission is in each sale; and where each first passes each boundary."""
    offer, policy, among, counters = question
    currency = offer.price.currency
    left = offer.price.minor
    if offer.channel == "ios":
        left -= splits.divide(left, (10_000 - policy.store_fee["ios"], policy.store_fee["ios"]))[1]
    pairs = tuple((share.host, share.weight) for share in among)
    line = Line("", "", offer.kind, "", currency, left, 0, policy, pairs)
    grosses = splits.divide(left, [share.weight for share in among])
    now = {(host, currency): counter for host, counter in counters.items()}
    kept: list[list[int]] = []
    passed: dict[str, dict[int, tuple[int, int]]] = {host: {} for host in counters}
    for sale in range(1, offer.size + 1):
        before = dict(now)
        parts = {a.host: a.credited for a in allotments.divide(line, grosses, now) if a.host}
        kept.append([g - parts.get(s.host, 0) for s, g in zip(among, grosses, strict=True)])
        for (host, _), after in now.items():
            low = before[host, currency]
            for tier in policy.terms[currency].tiers:
                started = counters[host] < (tier.up_to or 0)
                if tier.up_to and started and low <= tier.up_to < after:
                    passed[host][tier.up_to] = (sale, tier.up_to - low)
    return kept, passed


@given(questions())
def test_many_sales_are_what_they_are_one_by_one(question: Question) -> None:
    kept, passed = one_by_one(question)
    found = previews.of(*question)
    assert [payee.first.commission.minor for payee in found.payees] == kept[0]
    for n, payee in enumerate(found.payees):
        assert payee.total.commission.minor == sum(sale[n] for sale in kept)
        told = {c.up_to.minor: (c.sale, c.below.minor) for c in payee.crossings}
        assert told == passed[payee.host]


@given(questions())
def test_every_sum_adds_up(question: Question) -> None:
    offer, policy, _, _ = question
    found = previews.of(*question)
    zero = Money(0, offer.price.currency)
    for name, many in (("first", 1), ("total", offer.size)):
        sums = getattr(found, name)
        parts = [getattr(payee, name) for payee in found.payees]
        for part in parts:
            assert part.net == part.gross - part.commission - part.card_fee
        nets = sum((part.net for part in parts), zero)
        assert sums.charged == sums.store_fee + sums.card_fee + sums.platform + nets
        grosses = sum((part.gross for part in parts), zero)
        assert grosses + sums.store_fee == Money(many * offer.price.minor, zero.currency)
        assert sums.charged == grosses + sums.store_fee + sums.fees_covered
        assert sums.commission == sum((part.commission for part in parts), zero)
        borne = sum((part.card_fee for part in parts), zero)
        assert borne == (sums.card_fee if policy.fee_bearer == "host" else zero)
        if offer.channel == "ios":
            assert not sums.card_fee
            assert not sums.fees_covered


def test_a_boundary_inside_a_sale_is_shown() -> None:
    offer = Offer("ticket", Money(10_00, "usd"), 10)
    found = previews.of(offer, TWITTER, ADA, {"ada": 49_954_00})
    (ada,) = found.payees
    (crossing,) = ada.crossings
    assert ada.counter == Money(49_954_00, "usd")
    assert (crossing.up_to, crossing.rate_bps) == (Money(50_000_00, "usd"), 2_000)
    assert (crossing.sale, crossing.below) == (5, Money(6_00, "usd"))
    # four at 3 %, one of which 6.00 are at 3 % and 4.00 at 20 %, five at 20 %
    assert ada.total.commission.minor == 4 * 30 + (18 + 80) + 5 * 200


def test_a_sale_that_ends_at_a_boundary_does_not_cross_it_and_the_next_one_does() -> None:
    offer = Offer("ticket", Money(10_00, "usd"), 2)
    (ada,) = previews.of(offer, TWITTER, ADA, {"ada": 49_980_00}).payees
    assert (ada.crossings, ada.total.commission.minor) == ((), 60)
    (ada,) = previews.of(replace(offer, size=3), TWITTER, ADA, {"ada": 49_980_00}).payees
    assert [(c.sale, c.below.minor) for c in ada.crossings] == [(3, 0)]
    assert ada.total.commission.minor == 60 + 200


def test_the_region_of_the_card_changes_its_fee_and_not_what_the_listener_pays() -> None:
    clubhouse = PRESETS["clubhouse-2021"]
    terms = {"eur": replace(clubhouse.terms["eur"], fees=REGIONS)}
    policy = replace(clubhouse, terms=terms)

    def paid(region: str) -> tuple[int, int, int]:
        offer = Offer("tip", Money(10_00, "eur"), card_region=region)
        sums = previews.of(offer, policy, ADA, {}).first
        return sums.charged.minor, sums.card_fee.minor, sums.platform.minor

    assert paid("standard") == (1061, 61, 0)
    assert paid("eea") == (1061, 41, 20)  # 1.5 % of 10.61 is 15.9, and 25
    assert paid("international") == (1061, 59, 2)
    with pytest.raises(RegionNotPriced, match="no card fee for uk cards in eur") as refused:
        paid("uk")
    assert "standard, eea, international" in refused.value.remedy


def test_what_cannot_be_previewed_says_why() -> None:
    def ask(minor: int, currency: str, **changed: object) -> previews.Preview:
        offer = replace(Offer("tip", Money(minor, currency)), **changed)
        return previews.of(offer, PRESETS["clubhouse-2021"], ADA, {})

    for size in (0, -1, previews.MOST + 1):
        with pytest.raises(previews.BadSize):
            ask(500, "eur", size=size)
    only = replace(PRESETS["clubhouse-2021"], store_fee={"web": 0})
    with pytest.raises(previews.ChannelNotPriced, match="clubhouse-2021 does not say"):
        previews.of(Offer("tip", Money(500, "eur"), channel="ios"), only, ADA, {})
    krona = replace(TWITTER, terms={"isk": PRESETS["clubhouse-2021"].terms["huf"]})
    with pytest.raises(NotChargeable):
        previews.of(Offer("tip", Money(20_050, "isk")), krona, ADA, {})
    much = replace(TWITTER, terms={"usd": replace(TWITTER.terms["usd"], maximum=money.LIMIT)})
    with pytest.raises(money.AmountTooLarge):
        previews.of(Offer("tip", Money(money.LIMIT, "usd"), 2), much, ADA, {})


def test_a_hundred_thousand_sales_among_a_hundred_payees_take_no_time() -> None:
    among = [Share(f"host_{n}", 100) for n in range(100)]
    counters = {share.host: 49_000_00 + n for n, share in enumerate(among)}
    start = time.perf_counter()
    found = previews.of(Offer("ticket", Money(999_00, "usd"), 100_000), TWITTER, among, counters)
    assert time.perf_counter() - start < 1
    assert all(payee.crossings for payee in found.payees)
