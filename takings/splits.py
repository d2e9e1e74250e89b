"""A sum is divided by weights to the last minor unit, and growing it never shrinks a part.

Highest averages (Sainte-Laguë, Webster): each unit in turn goes to whoever has the greatest
``weight / (2 · units so far + 1)``, the earlier position winning a tie.  So the parts always sum to
the total, and a larger total only adds to them: a refund that grows never pays anybody back.
Largest remainder is not so: by 45/45/10 it makes 2/2/1 of 5, but 3/3/0 of 6.
"""

import heapq
from collections.abc import Sequence
from fractions import Fraction
from operator import add

from takings.errors import Invalid


class NegativeWeight(Invalid):
    """A weight is negative: {weight}.

    Weights are shares or amounts, zero or more.
    """


class NoWeights(Invalid):
    """There is nobody to divide {total} among: every weight is zero.

    Give at least one positive weight.
    """


class ReturnedTooMuch(Invalid):
    """{returned} of {paid} cannot have been returned.

    The sum of all refunds and disputes of a line lies between zero and what the line credited.
    """


def divide(total: int, weights: Sequence[int]) -> tuple[int, ...]:
    """One part for each weight, in order; they sum to the total, and each is monotone in it.

    A negative total is the mirror of the positive one.  O(n log n), whatever the total.
    """
    if total < 0:
        return tuple(-part for part in divide(-total, weights))
    if any(weight < 0 for weight in weights):
        raise NegativeWeight(weight=min(weights))
    whole = sum(weights)
    if not whole:
        if total:
            raise NoWeights(total=total)
        return (0,) * len(weights)
    if len(weights) == 1:
        return (total,)
    if len(weights) == 2:  # noqa: PLR2004 — for two, Webster is rounding, and half goes to the first
        second = (2 * total * weights[1] + whole - 1) // (2 * whole)
        return (total - second, second)
    return _by_highest_averages(total, weights, whole)


def _by_highest_averages(total: int, weights: Sequence[int], whole: int) -> tuple[int, ...]:
    """The parts of a non-negative total, begun just below the end and finished unit by unit.

    Unit k of a party stands at (2k - 1) / weight in one common queue, and the first ``total`` are
    handed out.  Cut the queue at (2·total - n) / whole, where n parties have a weight: each then
    has its exact share of total - n/2, rounded half up.  All roundings together gain at most n/2,
    so the units before the cut are within the total; they lose at most n/2, so at most n are left.
    """
    cut = 2 * total - sum(weight > 0 for weight in weights)
    parts = [max(0, (weight * cut + whole) // (2 * whole)) for weight in weights]
    queue = [
        (Fraction(2 * part + 1, weight), position)
        for position, (part, weight) in enumerate(zip(parts, weights, strict=True))
        if weight
    ]
    heapq.heapify(queue)
    for _ in range(total - sum(parts)):
        place, position = queue[0]
        parts[position] += 1
        heapq.heapreplace(queue, (place + Fraction(2, weights[position]), position))
    return tuple(parts)


def clawback(total: int, weights: Sequence[int], ranks: Sequence[int] = ()) -> tuple[int, ...]:
    """What each has given in all when ``total``, the sum until now, has come back.

    ``weights`` are the amounts credited at first.  Who is of a lower rank gives first; within one
    rank all give by weight.  What somebody still gives, or is given back when the sum has shrunk,
    is the difference to what they gave before: so when all has come back, each has given exactly
    what was credited, in whatever pieces and order.
    """
    whole = sum(weights)
    if not 0 <= total <= whole:
        raise ReturnedTooMuch(returned=total, paid=whole)
    places = list(ranks) or [0] * len(weights)
    given = (0,) * len(weights)
    for rank in sorted(set(places)):
        mine = [weight if its == rank else 0 for weight, its in zip(weights, places, strict=True)]
        part = min(total, sum(mine))
        total -= part
        given = tuple(map(add, given, divide(part, mine)))
    return given
