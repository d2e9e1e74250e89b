"""Dividing: the fast way against the definition, and the promises that the books rest on."""

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from takings.splits import NegativeWeight, NoWeights, ReturnedTooMuch, clawback, divide

weights = st.lists(st.integers(0, 10_000), min_size=1, max_size=8).filter(any)
credited = st.lists(st.integers(0, 60), min_size=1, max_size=6).filter(any)


def by_definition(total: int, weights: list[int]) -> tuple[int, ...]:
    """Highest averages as the textbook has it: unit after unit, ties to the earlier position."""
    parts = [0] * len(weights)
    for _ in range(total):
        best = 0
        for i in range(1, len(weights)):
            if weights[i] * (2 * parts[best] + 1) > weights[best] * (2 * parts[i] + 1):
                best = i
        parts[best] += 1
    return tuple(parts)


@given(st.integers(0, 400), weights)
def test_the_fast_division_is_the_textbooks(total: int, weights: list[int]) -> None:
    assert divide(total, weights) == by_definition(total, weights)


@given(st.integers(0, 60), st.lists(st.integers(0, 4), min_size=1, max_size=9).filter(any))
def test_the_fast_division_is_the_textbooks_where_ties_abound(
    total: int, weights: list[int]
) -> None:
    assert divide(total, weights) == by_definition(total, weights)


@given(st.integers(-(2**63), 2**63), st.lists(st.integers(0, 2**63), min_size=1).filter(any))
def test_the_parts_of_any_sum_make_the_sum_and_no_weight_gets_nothing(
    total: int, weights: list[int]
) -> None:
    parts = divide(total, weights)
    assert sum(parts) == total
    assert all(part == 0 for part, weight in zip(parts, weights, strict=True) if not weight)
    assert parts == tuple(-part for part in divide(-total, weights))


@given(st.integers(0, 2**40), st.integers(0, 1000), weights)
def test_a_larger_sum_never_makes_a_part_smaller(total: int, more: int, weights: list[int]) -> None:
    small, large = divide(total, weights), divide(total + more, weights)
    assert all(a <= b for a, b in zip(small, large, strict=True))


@given(st.integers(0, 2**40), st.integers(1, 50), weights)
def test_only_the_ratio_of_weights_counts(total: int, factor: int, weights: list[int]) -> None:
    assert divide(total, [weight * factor for weight in weights]) == divide(total, weights)


@given(st.integers(0, 10_000), weights)
def test_the_greater_weight_never_gets_the_smaller_part(total: int, weights: list[int]) -> None:
    ranked = sorted(zip(weights, divide(total, weights), strict=True))
    assume(len(set(weights)) > 1)
    assert all(a[1] <= b[1] for a, b in pairwise(ranked) if a[0] < b[0])


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (500, (6000, 4000), (300, 200)),  # Ada and Bob
        (5, (45, 45, 10), (2, 2, 1)),  # where largest remainder makes 3/3/0 of 6
        (6, (45, 45, 10), (3, 2, 1)),
        (1, (5000, 5000), (1, 0)),  # the tie goes to the earlier position
        (1, (1, 1, 1), (1, 0, 0)),
        (2, (1, 1, 1), (1, 1, 0)),
        (-1, (1, 1, 1), (-1, 0, 0)),
        (7, (0, 3, 0), (0, 7, 0)),
        (7, (0, 3), (0, 7)),
        (7, (3, 0), (7, 0)),
        (0, (0, 0, 0), (0, 0, 0)),
        (0, (), ()),
        (9, (1,), (9,)),
    ],
)
def test_known_divisions(total: int, weights: list[int], parts: tuple[int, ...]) -> None:
    assert divide(total, weights) == parts


def test_dividing_a_sum_of_eighteen_digits_among_a_thousand_does_not_count_units() -> None:
    weights = [pow(3, i, 9_973) for i in range(1000)]
    assert sum(divide(10**18 + 7, weights)) == 10**18 + 7


@pytest.mark.parametrize("weights", [(), (0,), (0, 0), (0, 0, 0)])
def test_a_sum_with_nobody_to_divide_it_among_is_refused(weights: list[int]) -> None:
    with pytest.raises(NoWeights, match="nobody to divide 5"):
        divide(5, weights)


@pytest.mark.parametrize("weights", [(-1,), (2, -1), (3, 3, -1)])
def test_a_negative_weight_is_refused_even_for_nothing(weights: list[int]) -> None:
    with pytest.raises(NegativeWeight):
        divide(0, weights)


@given(credited, st.data())
def test_a_full_refund_returns_every_share_exactly_in_whatever_pieces(
    paid: list[int], data: st.DataObject
) -> None:
    returned, taken = 0, [0] * len(paid)
    while returned < sum(paid):
        returned += data.draw(st.integers(1, sum(paid) - returned), label="piece")
        before, taken = taken, list(clawback(returned, paid))
        assert all(gone >= was for gone, was in zip(taken, before, strict=True))
        assert sum(taken) == returned
        assert all(gone <= share for gone, share in zip(taken, paid, strict=True))
    assert taken == paid


@given(credited, st.data())
def test_pieces_in_any_order_failed_and_repeated_end_at_the_same_shares(
    paid: list[int], data: st.DataObject
) -> None:
    """Each piece is booked, some fail and are given back; the order leaves no trace."""
    pieces = data.draw(st.lists(st.integers(1, 10), max_size=6))
    assume(sum(pieces) <= sum(paid))
    failed = data.draw(st.sets(st.sampled_from(range(len(pieces))))) if pieces else set()
    steps = [*pieces, *(-pieces[i] for i in failed)]
    ends = set()
    for _ in range(3):
        order = data.draw(st.permutations(steps))
        returned, taken = 0, clawback(0, paid)
        for step in order:
            returned += step
            if not 0 <= returned <= sum(paid):
                break  # a refund cannot fail before it was made
            taken = clawback(returned, paid)
        else:
            ends.add(taken)
    assert len(ends) <= 1
    assert ends <= {divide(sum(steps), paid)}


@given(credited, st.data())
def test_a_lower_rank_gives_all_it_has_before_a_higher_one_gives_anything(
    paid: list[int], data: st.DataObject
) -> None:
    ranks = [data.draw(st.integers(0, 2)) for _ in paid]
    total = data.draw(st.integers(0, sum(paid)))
    given = clawback(total, paid, ranks)
    assert sum(given) == total
    for rank in (0, 1):
        mine = [(g, p) for g, p, r in zip(given, paid, ranks, strict=True) if r <= rank]
        later = sum(g for g, r in zip(given, ranks, strict=True) if r > rank)
        assert not later or all(gave == had for gave, had in mine)


@pytest.mark.parametrize("returned", [-1, 547])
def test_more_than_was_paid_cannot_come_back(returned: int) -> None:
    with pytest.raises(ReturnedTooMuch, match="of 546 cannot"):
        clawback(returned, (300, 200, 46))
