"""Money: exact, of one currency, the same to Stripe, to a spreadsheet and to a person."""

import operator
import re
from collections.abc import Callable
from decimal import Decimal

import pytest
from babel.numbers import format_currency, get_currency_precision
from hypothesis import given
from hypothesis import strategies as st

from takings import money
from takings.money import DECIMALS, LIMIT, Money

currencies = st.sampled_from(sorted(DECIMALS))
minors = st.integers(-LIMIT, LIMIT)
cents = st.integers(-(10**12), 10**12)


@given(minors, currencies)
def test_every_amount_of_every_currency_is_read_back_from_its_decimal_text(
    minor: int, currency: str
) -> None:
    amount = Money(minor, currency)
    text = money.decimal(amount)
    assert money.parse(text, currency) == amount
    assert Decimal(text) == Decimal(minor).scaleb(-money.exponent(currency))


@given(minors, currencies, st.sampled_from(["en", "de", "fr", "ja", "pt-BR", "hi", "de_CH"]))
def test_no_amount_is_rounded_for_the_eye(minor: int, currency: str, locale: str) -> None:
    shown = re.sub(r"[^0-9]", "", money.format(Money(minor, currency), locale))
    exact = money.decimal(Money(abs(minor), currency))
    hidden = exact.replace(".", "").removeprefix(shown)
    assert exact.replace(".", "").startswith(shown)
    assert not hidden.strip("0")


@pytest.mark.parametrize("currency", sorted(DECIMALS))
def test_whole_amounts_look_as_cldr_says(currency: str) -> None:
    for locale in ("en", "de", "ja"):
        shown = money.format(money.parse("1234567", currency), locale)
        expected = format_currency(Decimal(1234567), currency.upper(), locale=locale)
        assert shown.replace("\xa0", "") == expected.replace("\xa0", "")


@pytest.mark.parametrize(
    ("minor", "currency", "locale", "text"),
    [
        (500, "eur", "en", "€5.00"),
        (500, "eur", "de", "5,00\xa0€"),
        (-546, "usd", "en", "-$5.46"),
        (500, "jpy", "en", "¥500"),
        (500, "isk", "en", "ISK\xa05"),  # 500 to Stripe
        (550, "isk", "en", "ISK\xa05.50"),  # cannot be charged, yet is not hidden
        (500, "ugx", "en", "UGX\xa05"),
        (500, "huf", "en", "HUF\xa05.00"),
        (500, "twd", "en", "NT$5.00"),
        (5120, "kwd", "en", "KWD\xa05.120"),
        (0, "usd", "en", "$0.00"),
    ],
)
def test_people_are_shown(minor: int, currency: str, locale: str, text: str) -> None:
    assert money.format(Money(minor, currency), locale) == text


def test_stripe_and_cldr_count_decimals_differently_and_both_are_kept() -> None:
    differing = {
        code for code in DECIMALS if get_currency_precision(code.upper()) != DECIMALS[code]
    }
    assert {"isk", "ugx"} <= differing
    assert all(get_currency_precision(code.upper()) <= DECIMALS[code] for code in DECIMALS)


@pytest.mark.parametrize(
    ("currency", "exponent", "charged_in", "paid_out_in"),
    [
        ("eur", 2, 1, 1),
        ("jpy", 0, 1, 1),
        ("kwd", 3, 10, 10),
        ("isk", 2, 100, 100),
        ("ugx", 2, 100, 100),
        ("huf", 2, 1, 100),
        ("twd", 2, 1, 100),
    ],
)
def test_stripes_minor_units(
    currency: str, exponent: int, charged_in: int, paid_out_in: int
) -> None:
    assert money.exponent(currency) == exponent
    assert money.charge_step(currency) == charged_in
    assert money.payout_step(currency) == paid_out_in


def test_the_table_has_stripes_currencies_once_each() -> None:
    listed = [code for codes in money._CODES.values() for code in codes.split()]  # noqa: SLF001
    assert len(listed) == len(set(listed)) == len(DECIMALS) > 130
    assert all(re.fullmatch("[a-z]{3}", code) for code in listed)


def test_a_fraction_of_a_whole_currency_cannot_be_charged() -> None:
    money.check_charge(Money(500, "isk"))
    money.check_charge(Money(501, "huf"))
    with pytest.raises(money.NotChargeable, match="isk in steps of 100 minor units, and 550"):
        money.check_charge(Money(550, "isk"))
    with pytest.raises(money.NotChargeable):
        money.check_charge(Money(5124, "kwd"))


@pytest.mark.parametrize(
    ("text", "currency", "minor"),
    [
        ("5.00", "eur", 500),
        ("5", "eur", 500),
        ("5.4", "eur", 540),
        ("-0.01", "eur", -1),
        ("-0.00", "eur", 0),
        ("007.00", "eur", 700),
        ("500", "jpy", 500),
        ("5.125", "kwd", 5125),
        ("5", "isk", 500),
        ("92233720368547758.07", "eur", LIMIT),
        ("0" * 9_000 + "1", "jpy", 1),
    ],
)
def test_plain_decimal_text_is_read_exactly(text: str, currency: str, minor: int) -> None:
    assert money.parse(text, currency) == Money(minor, currency)


JUNK = "|+5|--5|5.|.5|1,000.00|1_000|5,00|5e2|0x5|NaN|Infinity|€5|5.0.0|five| 5|5 |5\n"
OTHER_DIGITS = ["\u0665", "\uff15"]  # Arabic, full width
NO_TEXT = [5, 5.0, True, None, b"5", Decimal(5)]


@pytest.mark.parametrize("text", [*JUNK.split("|"), *OTHER_DIGITS, *NO_TEXT])
def test_junk_is_no_amount(text: str) -> None:
    with pytest.raises(money.NotDecimal):
        money.parse(text, "eur")


@pytest.mark.parametrize(("text", "currency"), [("5.001", "eur"), ("5.000", "eur"), ("5.0", "jpy")])
def test_more_decimals_than_the_currency_has_are_refused_not_rounded(
    text: str, currency: str
) -> None:
    with pytest.raises(money.TooManyDecimals):
        money.parse(text, currency)


@pytest.mark.parametrize("text", ["92233720368547758.08", "-92233720368547758.08", "9" * 9_000])
def test_more_than_a_bigint_is_refused(text: str) -> None:
    with pytest.raises(money.AmountTooLarge):
        money.parse(text, "eur")


@given(cents, cents, currencies)
def test_amounts_of_one_currency_add_subtract_and_compare_as_their_minor_units(
    a: int, b: int, currency: str
) -> None:
    left, right = Money(a, currency), Money(b, currency)
    assert left + right == Money(a + b, currency)
    assert left - right == Money(a - b, currency)
    assert -left == Money(-a, currency)
    assert abs(left) == Money(abs(a), currency)
    assert bool(left) is bool(a)
    for compare in (operator.lt, operator.le, operator.gt, operator.ge, operator.eq):
        assert compare(left, right) is compare(a, b)
    assert min(left, right).minor == min(a, b)


@pytest.mark.parametrize(
    "meet", [operator.add, operator.sub, operator.lt, operator.le, operator.gt, operator.ge]
)
def test_two_currencies_never_meet(meet: Callable[[Money, object], object]) -> None:
    with pytest.raises(money.CurrencyMismatch, match="eur and usd"):
        meet(Money(1, "eur"), Money(1, "usd"))
    with pytest.raises(TypeError):
        meet(Money(1, "eur"), 1)


def test_equal_amounts_of_two_currencies_are_not_equal() -> None:
    assert Money(1, "eur") != Money(1, "usd")
    assert len({Money(1, "eur"), Money(1, "usd"), Money(1, "eur")}) == 2


@pytest.mark.parametrize("minor", [True, False, 5.0, "5", None, Decimal(5)])
def test_only_whole_numbers_are_money(minor: int) -> None:
    with pytest.raises(money.NotMinorUnits, match="whole number of minor units"):
        Money(minor, "eur")


@pytest.mark.parametrize("minor", [LIMIT + 1, -LIMIT - 1, 10**4_000])
def test_money_that_no_bigint_holds_is_refused(minor: int) -> None:
    with pytest.raises(money.AmountTooLarge):
        Money(minor, "eur")


def test_a_sum_beyond_the_limit_is_refused() -> None:
    with pytest.raises(money.AmountTooLarge):
        Money(LIMIT, "eur") + Money(1, "eur")


@pytest.mark.parametrize("currency", ["EUR", "xxx", "", "eu", "euro", " eur"])
def test_an_unknown_currency_is_refused_everywhere(currency: str) -> None:
    for use in (lambda: Money(1, currency), lambda: money.parse("1", currency)):
        with pytest.raises(money.UnknownCurrency) as caught:
            use()
        assert caught.value.code == "unknown_currency"
        assert caught.value.param == "currency"
        assert "lower case" in caught.value.remedy


def test_money_is_a_value() -> None:
    amount = Money(546, "eur")
    with pytest.raises(AttributeError):
        amount.minor = 1  # type: ignore[misc]
    assert str(amount) == "5.46 EUR"
    assert repr(amount) == "Money(minor=546, currency='eur')"
