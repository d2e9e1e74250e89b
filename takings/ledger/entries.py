"""What is written into the journal: an entry and its postings.

Signs: + debit, − credit; integer minor units; every entry sums to zero per currency.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from takings import records
from takings.errors import Invalid
from takings.money import Money


class Unbalanced(Invalid):
    """The postings of entry {key} leave {left}.

    Add the missing leg: per currency, debits and credits must sum to zero.
    """


class NoPostings(Invalid):
    """Entry {key} has fewer than two postings.

    An entry moves money from somewhere to somewhere else.
    """


class NoZone(Invalid):
    """Entry {key} happened at {happened_at}, which names no time zone.

    Give an aware datetime, in UTC if in doubt.
    """


@dataclass(frozen=True, slots=True)
class Posting:
    """One leg of an entry: an amount on an account, and the payment line it belongs to."""

    account: str
    money: Money
    line: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One event in the books.

    ``key`` is the reason why it may exist only once; ``subject`` is the payment, refund or payout
    that it is about; ``source`` is Stripe's object, if one tells of it.
    """

    key: str
    kind: str
    subject: str
    happened_at: datetime
    postings: tuple[Posting, ...]
    source: str | None = None
    narration: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    id: str = field(default_factory=lambda: records.new_id("je"), compare=False)

    def __post_init__(self) -> None:
        if self.happened_at.tzinfo is None:
            raise NoZone(key=self.key, happened_at=self.happened_at)
        if len(self.postings) < 2:  # noqa: PLR2004 - from somewhere, to somewhere else
            raise NoPostings(key=self.key)
        sums: Counter[str] = Counter()
        for posting in self.postings:
            sums[posting.money.currency] += posting.money.minor
        for currency, left in sums.items():
            if left:
                raise Unbalanced(key=self.key, left=Money(left, currency))


def moving(account: str, money: Money, line: str | None = None) -> tuple[Posting, ...]:
    """One posting, or none where there is nothing to move."""
    return (Posting(account, money, line),) if money else ()
