"""Money is a whole number of minor units of one currency; no float ever touches it.

Minor units are Stripe's: what its API calls ``amount``.  How many decimals a currency has there
and how many people are shown are two facts: 5 ISK is 500 to Stripe and "ISK 5" to a listener.  The
first stands in the table below, the second in CLDR (through Babel).

Source of the table: Stripe's documentation, "Supported currencies", sections "Supported presentment
currencies", "Zero-decimal currencies", "Three-decimal currencies" and "Special cases".
"""

import re
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from decimal import Decimal
from functools import total_ordering
from types import MappingProxyType
from typing import Final

from babel import Locale
from babel.numbers import get_currency_precision

from takings.errors import Invalid

LIMIT: Final = 2**63 - 1  # what a bigint holds on either side of zero, so that -x always exists

_CODES = {
    0: "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf",
    2: """
    aed afn all amd ang aoa ars aud awg azn bam bbd bdt bmd bnd bob brl bsd bwp byn bzd cad cdf chf
    cny cop crc cve czk dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gtq gyd hkd hnl htg huf idr
    ils inr isk jmd kes kgs khr kyd kzt lak lbp lkr lrd lsl mad mdl mkd mmk mnt mop mur mvr mwk mxn
    myr mzn nad ngn nio nok npr nzd pab pen pgk php pkr pln qar ron rsd rub sar sbd scr sek sgd shp
    sle sos srd std szl thb tjs top try ttd twd tzs uah ugx usd uyu uzs wst xcd xcg yer zar zmw
    """,
    3: "bhd jod kwd omr tnd",
}
DECIMALS: Final[Mapping[str, int]] = MappingProxyType(
    {code: decimals for decimals, codes in _CODES.items() for code in codes.split()}
)

# Two decimals on paper, the last two always 00: fractions can be neither charged nor paid out.
_ALWAYS_WHOLE = frozenset({"isk", "ugx"})
# Charged with two decimals, paid out in whole units only.
_PAID_OUT_WHOLE = frozenset({"huf", "twd"})

_DECIMAL = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?")
# "CHF 5", where Babel writes "CHF5": CLDR's currency spacing, which Babel leaves out.
_LETTER_THEN_DIGIT = re.compile(r"(?<=[^\W\d_])(?=\d)")


class UnknownCurrency(Invalid):
    """{currency!r} is not a currency that Stripe can charge.

    Use a three-letter ISO code in lower case, such as eur.
    """

    param = "currency"


class CurrencyMismatch(Invalid):
    """Amounts in {left} and {right} cannot be added or compared.

    Keep each currency apart; only Stripe exchanges money.
    """

    param = "currency"


class NotMinorUnits(Invalid):
    """{value!r} is not a whole number of minor units.

    Send 5.00 EUR as the integer 500; read decimal text with money.parse.
    """

    param = "amount"


class NotDecimal(Invalid):
    """{text!r} is not an amount in plain decimal digits.

    Write it as 5.00: digits, one point, no spaces, no thousands separators.
    """

    param = "amount"


class TooManyDecimals(Invalid):
    """{text!r} has more than the {exponent} decimals of {currency}.

    Round it yourself: a payment is never rounded silently.
    """

    param = "amount"


class AmountTooLarge(Invalid):
    """The amount is beyond {limit} minor units, the most that the books can hold.

    Check the amount: it is more than all the money there is.
    """

    param = "amount"


class NotChargeable(Invalid):
    """Stripe charges {currency} in steps of {step} minor units, and {minor} is not one of them.

    Send a multiple of {step}.
    """

    param = "amount"


@total_ordering
@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount, signed, that meets only its own currency."""

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.minor) is not int:  # True is an int to isinstance, and no money
            raise NotMinorUnits(value=self.minor)
        if not -LIMIT <= self.minor <= LIMIT:
            raise AmountTooLarge(limit=LIMIT)
        if self.currency not in DECIMALS:
            raise UnknownCurrency(currency=self.currency)

    def __add__(self, other: "Money") -> "Money":
        return Money(self.minor + self._same(other), self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.minor - self._same(other), self.currency)

    def __neg__(self) -> "Money":
        return Money(-self.minor, self.currency)

    def __abs__(self) -> "Money":
        return Money(abs(self.minor), self.currency)

    def __bool__(self) -> bool:
        return self.minor != 0

    def __lt__(self, other: "Money") -> bool:
        return self.minor < self._same(other)

    def __str__(self) -> str:
        """``5.00 EUR``, for logs and journals; people are shown ``money.format``."""
        return f"{decimal(self)} {self.currency.upper()}"

    def _same(self, other: object) -> int:
        """The other's minor units, if both are money of one currency."""
        if not isinstance(other, Money):
            raise TypeError(f"{other!r} is not Money")
        if other.currency != self.currency:
            raise CurrencyMismatch(left=self.currency, right=other.currency)
        return other.minor


def exponent(currency: str) -> int:
    """The decimals that Stripe's minor units stand for: eur 2, jpy 0, kwd 3, isk 2."""
    try:
        return DECIMALS[currency]
    except KeyError:
        raise UnknownCurrency(currency=currency) from None


def charge_step(currency: str) -> int:
    """The minor units that every charge is a multiple of: mostly 1, 100 for isk, 10 for kwd.

    Stripe takes three-decimal amounts only if the last digit is 0.
    """
    if currency in _ALWAYS_WHOLE:
        return 100
    return 10 if exponent(currency) == 3 else 1  # noqa: PLR2004 — the three of "three-decimal"


def payout_step(currency: str) -> int:
    """The minor units that every payout is a multiple of: as for charges, but 100 for huf, twd."""
    return 100 if currency in _PAID_OUT_WHOLE else charge_step(currency)


def check_charge(amount: Money) -> None:
    """Nothing happens if Stripe can charge this very amount; otherwise ``NotChargeable``."""
    step = charge_step(amount.currency)
    if amount.minor % step:
        raise NotChargeable(minor=amount.minor, currency=amount.currency, step=step)


def parse(text: str, currency: str) -> Money:
    """The money that plain decimal text in major units states exactly: ``parse("5.00", "eur")``."""
    places = exponent(currency)
    match = _DECIMAL.fullmatch(text) if isinstance(text, str) else None
    if not match:
        raise NotDecimal(text=text)
    sign, whole, fraction = match.group(1), match.group(2), match.group(3) or ""
    if len(fraction) > places:
        raise TooManyDecimals(text=text, currency=currency, exponent=places)
    digits = (whole + fraction.ljust(places, "0")).lstrip("0") or "0"
    if len(digits) > len(str(LIMIT)):  # before int(), which balks at thousands of digits
        raise AmountTooLarge(limit=LIMIT)
    return Money(int(sign + digits), currency)


def decimal(amount: Money) -> str:
    """Plain decimal text in major units, all of Stripe's decimals: what ``parse`` reads back."""
    places = exponent(amount.currency)
    digits = str(abs(amount.minor)).zfill(places + 1)
    sign = "-" if amount.minor < 0 else ""
    return f"{sign}{digits[:-places]}.{digits[-places:]}" if places else sign + digits


def format(amount: Money, locale: str = "en") -> str:  # noqa: A001 — read as money.format
    """The amount as people of that locale write it: ``€5.00``, ``5,00 €``, ``ISK 5``.

    CLDR says how many decimals are shown.  Where it shows fewer than Stripe counts and the amount
    has them, all are shown: a price is never rounded for the eye.
    """
    code = amount.currency.upper()
    places = exponent(amount.currency)
    shown = get_currency_precision(code)
    if amount.minor % 10 ** max(0, places - shown):
        shown = places
    where = Locale.parse(locale, sep="-" if "-" in locale else "_")
    pattern = copy(where.currency_formats["standard"])
    pattern.frac_prec = (shown, shown)
    number = Decimal(amount.minor).scaleb(-places)
    text = pattern.apply(number, where, currency=code, currency_digits=False)
    return _LETTER_THEN_DIGIT.sub("\N{NO-BREAK SPACE}", text)
