"""Policies: the presets say what the design says; what is frozen into a line reads back equal."""

import copy
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from takings import money, records
from takings.commission import BadRate, BadTiers, FeeSchedule, Tier, cover
from takings.money import Money
from takings.payments import orders
from takings.policies.presets import PRESETS
from takings.policies.rules import (
    AboveMaximum,
    BadPolicy,
    BelowMinimum,
    CurrencyNotOffered,
    Policy,
    RollingReserve,
    Tax,
    Terms,
    Velocity,
)

CLUBHOUSE = PRESETS["clubhouse-2021"]
TWITTER = PRESETS["twitter-ticketed-spaces-2021"]
SMALL = replace(CLUBHOUSE, terms={"eur": CLUBHOUSE.terms["eur"]}).to_dict()

bps = st.integers(0, 9_999)
bearers = st.sampled_from(["listener", "host", "platform"])
days = st.integers(0, 400)


@st.composite
def terms(draw: st.DrawFn) -> Terms:
    minimum = draw(st.integers(1, 1000))
    maximum = draw(st.integers(minimum, money.LIMIT))
    ends = [*sorted(draw(st.sets(st.integers(1, 10**9), max_size=3))), None]
    return Terms(
        fee=FeeSchedule(rate_bps=draw(bps), fixed=draw(st.integers(0, 10**6))),
        minimum=minimum,
        maximum=maximum,
        suggested=tuple(draw(st.lists(st.integers(minimum, maximum), max_size=3))),
        tiers=tuple(Tier(up_to=end, rate_bps=draw(bps)) for end in ends),
        commission_minimum=draw(st.integers(0, 100)),
        payout_minimum=draw(st.integers(0, 100)),
        listener_maximum=draw(st.none() | st.integers(minimum, money.LIMIT)),
        room_maximum=draw(st.none() | st.integers(minimum, money.LIMIT)),
        fees=draw(
            st.dictionaries(
                st.sampled_from(["eea", "uk", "international"]),
                st.builds(FeeSchedule, rate_bps=bps, fixed=st.integers(0, 10**6)),
            )
        ),
    )


policies = st.builds(
    Policy,
    name=st.from_regex(records.ID, fullmatch=True),
    version=st.integers(1, 32_767),
    source=st.text(),
    terms=st.dictionaries(st.sampled_from(sorted(money.DECIMALS)), terms(), max_size=3),
    fee_bearer=bearers,
    refund_fee_bearer=bearers,
    dispute_fee_bearer=st.sampled_from(["host", "platform"]),
    release_days=days,
    refund_window_days=days,
    payout_schedule=st.sampled_from(["manual", "daily", "weekly", "monthly"]),
    store_fee=st.builds(lambda ios: {"web": 0, "ios": ios}, bps),
    rolling_reserve=st.none() | st.builds(RollingReserve, rate_bps=bps, days=st.integers(1, 400)),
    tax=st.none() | st.builds(Tax, country=st.just("DE"), rate_bps=bps),
    velocity=st.none()
    | st.builds(Velocity, tips=st.integers(1, 100), seconds=st.integers(1, 86_400)),
    run_maximum=st.none() | st.integers(1, 10**6),
)


@given(policies)
def test_any_policy_survives_being_written_as_json(policy: Policy) -> None:
    text = json.dumps(policy.to_dict())
    again = Policy.from_dict(json.loads(text))
    assert again == policy
    assert json.dumps(again.to_dict()) == text


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_being_written_as_json(name: str) -> None:
    policy = PRESETS[name]
    assert policy.name == name
    assert policy.source
    assert Policy.from_dict(json.loads(json.dumps(policy.to_dict()))) == policy


def test_there_are_six_presets() -> None:
    assert list(PRESETS) == [
        "clubhouse-2021",
        "twitter-ticketed-spaces-2021",
        "twitter-super-follows-2021",
        "facebook-stars-2021",
        "discord-2021",
        "spaces-2021",
    ]


def test_clubhouse_gives_the_host_everything_and_the_listener_the_card_fee() -> None:
    terms = CLUBHOUSE.terms_in("eur")
    assert terms.commission(500, 10**9) == 0
    assert terms.suggested == (500, 1000, 2000)
    assert cover(500, terms.fee) == 546
    assert CLUBHOUSE.fee_bearer == "listener"
    assert CLUBHOUSE.refund_fee_bearer == "listener"
    assert CLUBHOUSE.release_days == 0
    assert CLUBHOUSE.terms_in("jpy").suggested == (500, 1000, 2000)


@pytest.mark.parametrize("currency", sorted(CLUBHOUSE.terms))
def test_every_chip_can_be_charged_in_every_currency(currency: str) -> None:
    terms = CLUBHOUSE.terms_in(currency)
    for chip in (*terms.suggested, terms.minimum, terms.maximum):
        CLUBHOUSE.check(Money(chip, currency))
        money.check_charge(Money(chip, currency))
        assert terms.fee.fee(chip) < cover(chip, terms.fee)


@pytest.mark.parametrize("currency", ["isk", "kwd", "jpy", "eur"])
def test_who_covers_the_card_fee_pays_a_sum_that_stripe_takes(currency: str) -> None:
    some = Terms(fee=FeeSchedule(290, 30), minimum=1, maximum=1_000_000)
    policy, cost = replace(CLUBHOUSE, terms={currency: some}), Money(12_300, currency)
    charge = orders.charge(policy, cost)
    money.check_charge(charge)
    assert charge.minor - some.fee.fee(charge.minor) >= cost.minor


def test_twitter_takes_three_per_cent_to_fifty_thousand_dollars_then_twenty() -> None:
    terms = TWITTER.terms_in("usd")
    assert terms.commission(700, 0) == 21
    assert terms.commission(700, 50_000_00) == 140
    assert terms.commission(1000, 49_994_00) == 18 + 80
    assert (terms.minimum, terms.maximum) == (100, 99_900)
    assert TWITTER.store_fee == {"web": 0, "ios": 3000, "android": 3000}
    facts = TWITTER.eligibility
    assert (facts.followers_min, facts.age_min) == (1_000, 18)
    assert (facts.spaces_min, facts.spaces_within_days) == (3, 30)


def test_the_other_presets_carry_their_facts() -> None:
    follows = PRESETS["twitter-super-follows-2021"]
    assert follows.terms_in("usd").suggested == (299, 499, 999)
    assert follows.terms_in("usd").tiers == TWITTER.terms_in("usd").tiers
    assert follows.eligibility.followers_min == 10_000
    assert PRESETS["facebook-stars-2021"].terms_in("usd").minimum == 1
    assert PRESETS["discord-2021"].terms_in("usd").commission(1000, 0) == 100
    assert PRESETS["discord-2021"].run_maximum == 1_000
    assert PRESETS["spaces-2021"].eligibility.followers_min == 600
    with pytest.raises(CurrencyNotOffered, match="spaces-2021 has no terms in usd"):
        PRESETS["spaces-2021"].terms_in("usd")


def test_an_amount_outside_the_limits_is_refused_with_the_limit() -> None:
    CLUBHOUSE.check(Money(50, "eur"))
    with pytest.raises(BelowMinimum, match=r"0\.49 EUR is less than the minimum of 0\.50 EUR"):
        CLUBHOUSE.check(Money(49, "eur"))
    with pytest.raises(BelowMinimum):
        CLUBHOUSE.check(Money(-500, "eur"))
    with pytest.raises(AboveMaximum, match=r"500\.01 EUR is more than the maximum of 500\.00 EUR"):
        CLUBHOUSE.check(Money(50_001, "eur"))
    with pytest.raises(CurrencyNotOffered, match="has no terms in isk"):
        CLUBHOUSE.check(Money(500, "isk"))


def changed(path: str, value: object) -> dict[str, object]:
    plain = copy.deepcopy(SMALL)
    *way, last = path.split(".")
    inner = plain
    for step in way:
        inner = inner[step]
    inner[last] = value
    return plain


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("surprise", 1),
        ("terms.eur.surprise", 1),
        ("terms.eur.fee.surprise", 1),
        ("name", ""),
        ("name", "my/rules"),
        ("name", 5),
        ("version", 0),
        ("version", True),
        ("version", "1"),
        ("version", 32_768),
        ("fee_bearer", "somebody"),
        ("dispute_fee_bearer", "listener"),
        ("release_days", -1),
        ("release_days", 1.0),
        ("refund_window_days", -1),
        ("payout_schedule", "hourly"),
        ("run_maximum", 0),
        ("tax", {"country": "de", "rate_bps": 1900}),
        ("tax", {"country": "DE", "rate_bps": 10_001}),
        ("rolling_reserve", {"rate_bps": 10_001, "days": 1}),
        ("rolling_reserve", {"rate_bps": 100, "days": 0}),
        ("store_fee", {"ios": 3000}),
        ("store_fee.web", 1),
        ("store_fee.ios", 10_000),
        ("store_fee.fax", 1),
        ("terms.eur.minimum", 0),
        ("terms.eur.minimum", 50.0),
        ("terms.eur.maximum", 49),
        ("terms.eur.maximum", 2**63),
        ("terms.eur.suggested", [1]),
        ("terms.eur.commission_minimum", -1),
        ("terms.eur.payout_minimum", -1),
        ("terms.eur.listener_maximum", 49),
        ("terms.eur.room_maximum", 2**63),
        ("velocity", {"tips": 0, "seconds": 60}),
        ("velocity", {"tips": 1, "seconds": 86_401}),
        ("terms.eur.fee.rate_bps", True),
        ("terms.eur.fees", {"": {"rate_bps": 150, "fixed": 25}}),
        ("terms.eur.fees", {"standard": {"rate_bps": 150, "fixed": 25}}),
        ("terms.EUR", SMALL["terms"]["eur"]),
        ("terms", None),
    ],
)
def test_a_wrong_field_is_refused_by_name(path: str, value: object) -> None:
    with pytest.raises(BadPolicy) as caught:
        Policy.from_dict(changed(path, value))
    assert path.rpartition(".")[2] in caught.value.message


def test_a_policy_that_was_stored_before_there_were_caps_has_none() -> None:
    plain = copy.deepcopy(SMALL)
    del plain["velocity"]
    for cap in ("listener_maximum", "room_maximum"):
        del plain["terms"]["eur"][cap]
    assert Policy.from_dict(plain).to_dict() == SMALL
    for preset in PRESETS.values():
        assert preset.velocity is None
        assert {(t.listener_maximum, t.room_maximum) for t in preset.terms.values()} <= {
            (None, None)
        }


def test_a_missing_field_is_named() -> None:
    plain = copy.deepcopy(SMALL)
    del plain["fee_bearer"]
    with pytest.raises(BadPolicy, match="fee_bearer is wrong: Field required"):
        Policy.from_dict(plain)


def test_wrong_tiers_and_fees_are_refused_while_reading() -> None:
    with pytest.raises(BadTiers):
        Policy.from_dict(changed("terms.eur.tiers", [{"up_to": 5, "rate_bps": 0}]))
    with pytest.raises(BadRate):
        Policy.from_dict(changed("terms.eur.fee.rate_bps", 10_000))
