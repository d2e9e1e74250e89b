"""The platform's part, the store's part and the covered card fee, with their golden numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from takings.commission import (
    BadRate,
    BadTiers,
    FeeSchedule,
    NegativeAmount,
    Tier,
    after_store,
    alike,
    commission,
    cover,
    part,
)
from takings.policies.presets import PRESETS

CARD = FeeSchedule(rate_bps=290, fixed=30)
TWITTER = PRESETS["twitter-ticketed-spaces-2021"].terms_in("usd").tiers

amounts = st.integers(0, 10**12)
rates = st.integers(0, 10_000)
schedules = st.builds(FeeSchedule, rate_bps=st.integers(0, 9_999), fixed=st.integers(0, 10_000))


@st.composite
def tier_lists(draw: st.DrawFn) -> list[Tier]:
    bounds = sorted(draw(st.sets(st.integers(1, 100_000), max_size=4)))
    return [Tier(up_to=end, rate_bps=draw(rates)) for end in [*bounds, None]]


@pytest.mark.parametrize(("amount", "charge"), [(500, 546), (100, 134), (1000, 1061), (0, 31)])
def test_the_listener_covers_the_card_fee_of_a_known_tip(amount: int, charge: int) -> None:
    assert cover(amount, CARD) == charge


def test_covering_nothing_costs_nothing_where_there_is_no_fixed_fee() -> None:
    assert cover(0, FeeSchedule(rate_bps=9_999, fixed=0)) == 0


@given(amounts, schedules)
def test_the_covering_charge_leaves_the_amount_and_a_smaller_one_does_not(
    amount: int, schedule: FeeSchedule
) -> None:
    charge = cover(amount, schedule)
    assert charge >= 0
    assert charge - schedule.fee(charge) >= amount
    if charge:
        assert charge - 1 - schedule.fee(charge - 1) < amount


@given(st.integers(0, 3_000), schedules)
def test_no_charge_below_the_covering_one_would_do(amount: int, schedule: FeeSchedule) -> None:
    charge = cover(amount, schedule)
    below = range(max(0, charge - 2_000), charge)
    assert not any(c - schedule.fee(c) >= amount for c in below)


@given(amounts, schedules, st.sampled_from([10, 100]))
def test_a_covering_charge_in_steps_is_the_smallest_of_its_kind(
    amount: int, schedule: FeeSchedule, step: int
) -> None:
    charge = cover(amount, schedule, step=step)
    assert charge % step == 0
    assert charge - schedule.fee(charge) >= amount
    if charge:
        assert charge - step - schedule.fee(charge - step) < amount


@pytest.mark.parametrize(("charge", "fee"), [(546, 46), (1000, 59), (500, 45), (0, 30), (50, 31)])
def test_the_card_fee_is_estimated_half_up(charge: int, fee: int) -> None:
    assert CARD.fee(charge) == fee  # of 0.50 the rate is 1.45 cents; of 5.00 it is 14.5 cents


def test_a_ten_dollar_ticket_through_a_store() -> None:
    left = after_store(1000, 3000)
    assert left == 700
    assert left - commission(left, TWITTER, 0) == 679
    assert left - commission(left, TWITTER, 5_000_000) == 560
    assert after_store(1000, 1500) == 850
    assert after_store(1000, 0) == 1000


def test_a_share_that_crosses_the_boundary_pays_each_rate_on_its_slice() -> None:
    assert commission(1000, TWITTER, 4_999_400) == 18 + 80  # 6.00 at 3 %, 4.00 at 20 %
    assert commission(1000, TWITTER, 4_999_000) == 30
    assert commission(1000, TWITTER, 5_000_000) == 200


def test_a_share_may_run_through_every_tier() -> None:
    tiers = [Tier(100, 0), Tier(200, 1_000), Tier(None, 5_000)]
    assert commission(400, tiers, 0) == 0 + 10 + 100
    assert commission(400, tiers, 50) == 0 + 10 + 125


def test_one_half_goes_to_the_host() -> None:
    assert part(1, 5_000) == 0
    assert part(50, 300) == 1  # 1.5
    assert part(51, 300) == 2  # 1.53
    assert commission(5, [Tier(None, 1_000)], 0) == 0


def test_the_minimum_is_never_more_than_the_share() -> None:
    tiers = [Tier(None, 300)]
    assert commission(1000, tiers, 0, minimum=50) == 50
    assert commission(10_000, tiers, 0, minimum=50) == 300
    assert commission(20, tiers, 0, minimum=50) == 20
    assert commission(0, tiers, 0, minimum=50) == 0


@given(st.integers(0, 10**15), rates)
def test_a_part_is_the_exact_rate_to_within_one_half(total: int, rate: int) -> None:
    assert abs(part(total, rate) * 10_000 - total * rate) * 2 <= 10_000


@given(amounts, st.integers(0, 1000), tier_lists(), st.integers(0, 200_000), st.integers(0, 99))
def test_commission_grows_with_the_share_and_stays_within_it(
    share: int, more: int, tiers: list[Tier], counter: int, minimum: int
) -> None:
    taken = commission(share, tiers, counter, minimum=minimum)
    assert 0 <= taken <= share
    assert commission(share + more, tiers, counter, minimum=minimum) >= taken


@given(st.integers(0, 400_000), tier_lists(), st.integers(0, 200_000))
def test_commission_lies_between_the_lowest_and_the_highest_rate(
    share: int, tiers: list[Tier], counter: int
) -> None:
    taken = commission(share, tiers, counter)
    slack = len(tiers)  # one rounding each
    assert min(tier.rate_bps for tier in tiers) * share <= (taken + slack) * 10_000
    assert max(tier.rate_bps for tier in tiers) * share >= (taken - slack) * 10_000


@given(tier_lists(), st.integers(0, 1000), st.integers(0, 1000))
def test_a_share_cut_at_the_boundary_pays_the_same_as_a_whole_one(
    tiers: list[Tier], before: int, after: int
) -> None:
    boundary = tiers[0].up_to or 0
    counter = max(0, boundary - before)
    before = boundary - counter
    whole = commission(before + after, tiers, counter)
    assert whole == commission(before, tiers, counter) + commission(after, tiers, boundary)


@pytest.mark.parametrize(
    "ends", [[], [100], [100, 100, None], [200, 100, None], [None, 100], [None, None], [0, None]]
)
def test_tiers_that_do_not_rise_to_one_open_end_are_refused(ends: list[int | None]) -> None:
    with pytest.raises(BadTiers):
        commission(100, [Tier(end, 300) for end in ends], 0)


@pytest.mark.parametrize("rate", [-1, 10_001])
def test_a_rate_beyond_all_is_refused(rate: int) -> None:
    with pytest.raises(BadRate):
        Tier(None, rate)


@pytest.mark.parametrize("rate", [-1, 10_000])
def test_a_card_fee_that_eats_every_charge_is_refused(rate: int) -> None:
    with pytest.raises(BadRate):
        FeeSchedule(rate_bps=rate, fixed=0)


def test_negative_amounts_are_refused_by_name() -> None:
    with pytest.raises(NegativeAmount, match="share cannot be negative: -1"):
        commission(-1, TWITTER, 0)
    with pytest.raises(NegativeAmount, match="lifetime counter"):
        commission(1, TWITTER, -1)
    with pytest.raises(NegativeAmount, match="amount"):
        cover(-1, CARD)
    with pytest.raises(NegativeAmount, match="fixed fee"):
        FeeSchedule(rate_bps=290, fixed=-1)


@given(tier_lists(), st.integers(0, 120_000), st.integers(0, 20_000))
def test_alike_is_how_many_shares_pay_the_same(tiers: list[Tier], counter: int, share: int) -> None:
    first = commission(share, tiers, counter)
    many = alike(tiers, counter, share)
    for n in range(min(many or 50, 50)):
        assert commission(share, tiers, counter + n * share) == first
    ends = [tier.up_to for tier in tiers if tier.up_to and tier.up_to > counter]
    assert (many is None) == (not share or not ends)
    if many is not None:  # the next one begins beyond the tier, or would end there
        assert counter + (many + 1) * share > ends[0]
