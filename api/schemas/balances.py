"""Balances and the trial balance, as the API shows them."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from api.schemas.common import Currency, Input, Instant, Output, Seconds, Text
from takings.ledger import balances


class BalanceQuestion(Input):
    """Which account's balance, in which currency, and as of when: now, or on one of two times."""

    account: Text
    currency: Currency
    happened_at: Instant | None = Field(default=None, description="as of effective time")
    posted_at: Instant | None = Field(default=None, description="as of recorded time")

    @model_validator(mode="after")
    def _one_time(self) -> Self:
        if self.happened_at and self.posted_at:
            raise ValueError("a balance is as of happened_at or as of posted_at, not both")
        return self


class Balance(Output):
    """What an account holds: + debit, − credit, as the books write it."""

    object: Literal["balance"] = "balance"
    account: str
    currency: str
    amount: int
    happened_at: Seconds | None
    posted_at: Seconds | None


class TrialLine(Output):
    """One line of the trial balance: what stands on the left, or on the right."""

    account: str
    currency: str
    debit: int
    credit: int


class TrialTotal(Output):
    """Both sides of one currency; they are equal, or the books are wrong."""

    currency: str
    debit: int
    credit: int


class TrialBalance(Output):
    """Every account that is not zero, by currency and name."""

    object: Literal["trial_balance"] = "trial_balance"
    lines: list[TrialLine]
    totals: list[TrialTotal]

    @classmethod
    def of(cls, lines: Sequence[balances.Line]) -> Self:
        """The trial balance as the API shows it."""
        left: Counter[str] = Counter()
        right: Counter[str] = Counter()
        shown = []
        for line in lines:
            currency, debit, credit = line.money.currency, line.debit.minor, line.credit.minor
            left[currency] += debit
            right[currency] += credit
            row = TrialLine(account=line.account, currency=currency, debit=debit, credit=credit)
            shown.append(row)
        totals = [TrialTotal(currency=c, debit=left[c], credit=right[c]) for c in sorted(left)]
        return cls(lines=shown, totals=totals)
